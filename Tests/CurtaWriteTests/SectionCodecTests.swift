// Stored forms: what the libraries decode them to, and the rules for frames and choices.
// SPDX-License-Identifier: Apache-2.0

import CLZ4
import CZstd
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaWrite

/// The decoded bytes of a stored form, by the libraries.
func decode(_ codec: Codec, _ bytes: [UInt8], size: Int) -> [UInt8]? {
  var decoded = [UInt8](repeating: 0, count: size)
  switch codec {
  case .stored: return bytes
  case .zstd:
    return ZSTD_decompress(&decoded, size, bytes, bytes.count) == size ? decoded : nil
  case .lz4:
    let count = bytes.withUnsafeBytes { source in
      decoded.withUnsafeMutableBytes { target in
        LZ4_decompress_safe(
          source.baseAddress, target.baseAddress, Int32(source.count), Int32(target.count))
      }
    }
    return count == Int32(size) ? decoded : nil
  }
}

@Suite struct SectionCodecTests {
  private let codecs: [Codec] = [.stored, .zstd, .lz4]

  @Test func everyCodecDecodesToTheSameBytes() throws {
    var generator = SeededRandom.announced("codecs")
    for size in [1, 2, 31, 1000, 70_000, 1 << 20, (1 << 20) + 1, 3_000_000] {
      let bytes = (0..<size).map { _ in UInt8.random(in: 0..<8, using: &generator) }
      for codec in codecs {
        let form = try SectionCodec.encode(bytes, .forced(codec))
        #expect(form.codec == codec)
        #expect(decode(form.codec, form.bytes, size: size) == bytes)
        if codec == .zstd { expectSpecified(form.bytes, size: size) }
      }
    }
  }

  /// RFC 8878 section 3.1.1.1: one frame, content size, no dictionary, window at most 2^20.
  private func expectSpecified(_ frame: [UInt8], size: Int) {
    #expect(Array(frame[0..<4]) == [0x28, 0xB5, 0x2F, 0xFD])
    let descriptor = frame[4]
    #expect(descriptor & 0b0000_0111 == 0)  // no checksum, no dictionary
    let isSingleSegment = descriptor & 0b0010_0000 != 0
    if !isSingleSegment {
      let (exponent, mantissa) = (Int(frame[5] >> 3), Int(frame[5] & 7))
      let base = 1 << (10 + exponent)
      #expect(base + base / 8 * mantissa <= 1 << 20)
    }
    #expect(ZSTD_getFrameContentSize(frame, frame.count) == UInt64(size))
    #expect(ZSTD_findFrameCompressedSize(frame, frame.count) == frame.count)
  }

  @Test func smallSavingsAreNotTaken() throws {
    var generator = SeededRandom.announced("savings")
    let random = (0..<4096).map { _ in UInt8.random(in: 0...255, using: &generator) }
    #expect(try SectionCodec.encode(random, .auto).codec == .stored)
    let low = (0..<4096).map { _ in UInt8.random(in: 0..<16, using: &generator) }
    let form = try SectionCodec.encode(low, .auto)
    #expect(form.codec == .zstd)
    #expect(form.bytes.count < 2200)
    // 1 % of zeros saves less than 1/32.
    let almost = random + [UInt8](repeating: 0, count: 41)
    #expect(try SectionCodec.encode(almost, .auto).codec == .stored)
  }

  @Test func autoTakesTheSmallest() throws {
    var generator = SeededRandom.announced("auto")
    for alphabet in [2, 20, 200] {
      let bytes = (0..<5000).map { _ in
        UInt8(Int.random(in: 0..<alphabet, using: &generator))
      }
      let sizes = try codecs.map { try SectionCodec.encode(bytes, .forced($0)).bytes.count }
      let best = try SectionCodec.encode(bytes, .auto)
      if best.codec != .stored { #expect(best.bytes.count == sizes.min()) }
    }
  }

  /// Codes without an order are no larger than by zstd's thorough search, texts as small as by it.
  @Test func zstdTakesMatchesOnlyWhereTheyPay() throws {
    var generator = SeededRandom.announced("matches")
    let codes = (0..<300_000).map { _ in
      UInt8((0..<4).reduce(0) { sum, _ in sum + Int.random(in: 0..<5, using: &generator) })
    }
    let text = (0..<3000).flatMap { Array("line \($0 % 700), ".utf8) }
    for (bytes, hasMatches) in [(codes, false), (text, true)] {
      var frame = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
      let size = ZSTD_compress(&frame, frame.count, bytes, bytes.count, 19)
      let form = try SectionCodec.encode(bytes, .forced(.zstd)).bytes
      #expect(form.count <= size + 16 && (!hasMatches || form.count * 4 < bytes.count))
      expectSpecified(form, size: bytes.count)
    }
  }

  /// A million zeros shrink more than 1024 times with zstd, never so with lz4.
  @Test func ratiosOverTheLimitAreNotWritten() throws {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    #expect(try SectionCodec.encode(zeros, .forced(.zstd)).codec == .stored)
    #expect(try SectionCodec.encode(zeros, .forced(.lz4)).codec == .lz4)
    let form = try SectionCodec.encode(zeros, .auto)
    #expect(form.codec == .lz4)
    #expect(zeros.count <= 1024 * form.bytes.count)
  }
}
