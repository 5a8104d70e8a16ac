// What a zstd frame says of itself, checked before any decoder sees it.
// SPDX-License-Identifier: Apache-2.0

extension Section {
  /// Checks the frame of a `zstd` section as far as it can be without decoding it: its header
  /// (RFC 8878 section 3.1.1.1, with Curta's rules), the headers of its blocks, and that it ends
  /// where the section ends.
  public func checkZstdFrame(_ stored: ByteView) throws(CurtaError) {
    let bad = CurtaError(.badFrame, section: kind, at: offset)
    do throws(CurtaError) {
      guard try stored.u32(0) == 0xFD2F_B528 else { throw bad }
      let descriptor = try stored.u8(4)
      let singleSegment = descriptor & 0x20 != 0
      let contentFlag = descriptor >> 6
      // Reserved bit, dictionary id flag.
      guard descriptor & 0x08 == 0, descriptor & 0x03 == 0 else { throw bad }
      var at = 5
      var largestBlock: UInt64 = 1 << 17
      if !singleSegment {
        let window = try stored.u8(at)
        let log = UInt64(window >> 3) + 10
        let base: UInt64 = 1 << log
        let windowSize = base + (base / 8) * UInt64(window & 7)
        guard windowSize <= Limits.window else { throw bad }
        largestBlock = min(largestBlock, windowSize)
        at += 1
      }
      let content: UInt64
      switch contentFlag {
      case 0:
        guard singleSegment else { throw bad }
        content = UInt64(try stored.u8(at))
      case 1: content = UInt64(try stored.u16(at)) + 256
      case 2: content = UInt64(try stored.u32(at))
      default: content = try stored.u64(at)
      }
      guard content == size else { throw bad }
      if singleSegment { largestBlock = min(largestBlock, content) }
      at += contentFlag == 0 ? 1 : 1 << Int(contentFlag)
      var isLast = false
      while !isLast {
        let header = UInt32(try stored.u16(at)) | UInt32(try stored.u8(at + 2)) << 16
        isLast = header & 1 == 1
        let type = header >> 1 & 3  // raw, run of one byte, compressed, reserved
        let length = header >> 3
        guard type != 3, UInt64(length) <= largestBlock else { throw bad }
        at += 3 + (type == 1 ? 1 : Int(length))
        guard at <= stored.count else { throw bad }
      }
      if descriptor & 0x04 != 0 { at += 4 }  // checksum of the content
      guard at == stored.count else { throw bad }
    } catch {
      throw bad
    }
  }
}
