// Whether bytes are text that may be shown: UTF-8 without NUL.
// SPDX-License-Identifier: Apache-2.0

extension ByteView {
  /// Valid UTF-8 (no overlong form, no surrogate, at most U+10FFFF) without NUL.
  public var isText: Bool {
    var i = 0
    @inline(__always) func byte(_ at: Int) -> UInt8 {
      at < count ? base.load(fromByteOffset: at, as: UInt8.self) : 0
    }
    while i < count {
      let first = byte(i)
      var low: UInt8 = 0x80
      var high: UInt8 = 0xBF
      let length: Int
      switch first {
      case 0x01...0x7F: length = 1
      case 0xC2...0xDF: length = 2
      case 0xE0...0xEF:
        length = 3
        if first == 0xE0 { low = 0xA0 }
        if first == 0xED { high = 0x9F }
      case 0xF0...0xF4:
        length = 4
        if first == 0xF0 { low = 0x90 }
        if first == 0xF4 { high = 0x8F }
      default: return false
      }
      if length > 1 {
        guard byte(i + 1) >= low, byte(i + 1) <= high else { return false }
        if length > 2 { guard byte(i + 2) & 0xC0 == 0x80 else { return false } }
        if length > 3 { guard byte(i + 3) & 0xC0 == 0x80 else { return false } }
      }
      i += length
    }
    return true
  }
}
