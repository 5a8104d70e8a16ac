// What a zstd frame says of itself, checked before any decoder sees it.
// SPDX-License-Identifier: Apache-2.0

extension Section {
  /// Checks the frame header of a `zstd` section: RFC 8878 section 3.1.1.1, with Curta's rules.
  ///
  /// Whether the frame ends where the section ends is for the decoder to say: it must consume
  /// exactly the stored bytes and give exactly `size` bytes.
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
      if !singleSegment {
        let window = try stored.u8(at)
        let log = UInt64(window >> 3) + 10
        let base: UInt64 = 1 << log
        guard base + (base / 8) * UInt64(window & 7) <= Limits.window else { throw bad }
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
    } catch {
      throw bad
    }
  }
}
