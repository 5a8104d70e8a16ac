// One character of UTF-8 at a time, without trusting the bytes.
// SPDX-License-Identifier: Apache-2.0

/// Reading and checking of UTF-8 as in table 3-7 of the Unicode standard.
enum Utf8 {
  /// What `scalar` returns as value where the bytes are not well-formed.
  static let invalid: UInt32 = 0xFFFF_FFFF

  /// The character at `text[0]`, `count` ≥ 1.
  ///
  /// - Returns: the scalar value and its length in bytes (1…4), or `invalid` and length 1 where
  ///   no well-formed sequence starts.
  static func scalar(
    _ text: UnsafePointer<UInt8>, _ count: Int
  ) -> (value: UInt32, length: Int) {
    let lead = text[0]
    if lead < 0x80 { return (UInt32(lead), 1) }
    let length = sequenceLength(lead)
    guard length > 1, length <= count else { return (invalid, 1) }
    var value = UInt32(lead) & (0x7F >> UInt32(length))
    var i = 1
    while i < length {
      let byte = text[i]
      guard isContinuation(byte, at: i, after: lead) else { return (invalid, 1) }
      value = value << 6 | UInt32(byte & 0x3F)
      i &+= 1
    }
    return (value, length)
  }

  /// Bytes of the sequence that `lead` starts; 0 where it starts none.
  static func sequenceLength(_ lead: UInt8) -> Int {
    if lead < 0x80 { return 1 }
    if lead < 0xC2 { return 0 }
    if lead < 0xE0 { return 2 }
    if lead < 0xF0 { return 3 }
    return lead < 0xF5 ? 4 : 0
  }

  /// Whether `byte` may stand at position `index` ≥ 1 of a sequence that `lead` starts.
  static func isContinuation(_ byte: UInt8, at index: Int, after lead: UInt8) -> Bool {
    guard byte & 0xC0 == 0x80 else { return false }
    guard index == 1 else { return true }
    switch lead {
    case 0xE0: return byte >= 0xA0  // shorter forms exist
    case 0xED: return byte < 0xA0  // surrogates
    case 0xF0: return byte >= 0x90  // shorter forms exist
    case 0xF4: return byte < 0x90  // above U+10FFFF
    default: return true
    }
  }

  /// Gives the bytes of a scalar value, at most 0x10FFFF, to `put` and returns how many there are.
  static func encode(_ value: UInt32, _ put: (Int, UInt8) -> Void) -> Int {
    if value < 0x80 {
      put(0, UInt8(truncatingIfNeeded: value))
      return 1
    }
    let length = value < 0x800 ? 2 : value < 0x1_0000 ? 3 : 4
    let lead: UInt32 = length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0
    var shift = UInt32(6 &* (length &- 1))
    put(0, UInt8(truncatingIfNeeded: lead | value >> shift))
    for i in 1..<length {
      shift &-= 6
      put(i, UInt8(truncatingIfNeeded: 0x80 | (value >> shift & 0x3F)))
    }
    return length
  }
}
