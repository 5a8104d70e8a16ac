// The LZ4 block decoder and the check of zstd frames, on right and hostile bytes.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaFormat

@Suite struct LZ4Tests {
  /// The decoded bytes, or nil when the block is refused.
  private func decode(_ block: [UInt8], _ size: Int) -> [UInt8]? {
    let out = GuardedBytes(count: size, fill: 0xEE)
    let accepted = withView(block) { decodeLZ4Block($0, to: out.base, size: size) }
    #expect(out.canariesAreWhole)
    return accepted ? Array(UnsafeRawBufferPointer(start: out.base, count: size)) : nil
  }

  @Test(
    arguments: [
      ([0x00], []),
      ([0x30, 0x61, 0x62, 0x63], Array("abc".utf8)),
      ([0x1F, 0x61, 0x01, 0x00, 0x00, 0x10, 0x61], [UInt8](repeating: 0x61, count: 21)),
      ([0x20, 0x61, 0x62, 0x02, 0x00, 0x10, 0x21], Array("ababab!".utf8)),
      ([0xF0, 0x00] + [UInt8](repeating: 7, count: 15), [UInt8](repeating: 7, count: 15)),
    ] as [([UInt8], [UInt8])])
  func blocksByHand(_ block: [UInt8], _ bytes: [UInt8]) {
    #expect(decode(block, bytes.count) == bytes)
    #expect(decode(block, bytes.count + 1) == nil)
    if !bytes.isEmpty { #expect(decode(block, bytes.count - 1) == nil) }
  }

  @Test(
    arguments: [
      ([], 0), ([], 4), ([0x10], 1), ([0x01], 0), ([0x11, 0x61], 1), ([0x11, 0x61, 0x01], 5),
      ([0xF0], 20), ([0xF0, 0xFF], 270), ([0xF0] + [UInt8](repeating: 0xFF, count: 4000), 1 << 16),
      ([0x1F, 0x61, 0x01, 0x00] + [UInt8](repeating: 0xFF, count: 4000), 1 << 16),
      ([0x11, 0x61, 0x00, 0x00, 0x10, 0x61], 7), ([0x11, 0x61, 0x02, 0x00, 0x10, 0x61], 7),
      ([0x01, 0x01, 0x00, 0x10, 0x61], 6), ([0x11, 0x61, 0xFF, 0xFF, 0x10, 0x61], 7),
      ([0x30, 0x61, 0x62, 0x63, 0x00], 3), ([0x31, 0x61, 0x62, 0x63], 3),
    ] as [([UInt8], Int)])
  func hostileBlocks(_ block: [UInt8], _ size: Int) {
    #expect(decode(block, size) == nil)
  }

  @Test func blocksOfLiblz4() {
    var random = SeededRandom.announced("LZ4")
    for round in 0..<300 {
      var bytes: [UInt8] = []
      let size = 1 + random.below(round < 290 ? 700 : 200_000)
      while bytes.count < size {
        switch random.below(3) {
        case 0: bytes += random.bytes(1 + random.below(40))
        case 1: bytes += [UInt8](repeating: UInt8(random.below(256)), count: random.below(600))
        default:
          let start = random.below(max(bytes.count, 1))
          bytes += bytes[start..<min(bytes.count, start + random.below(300))]
        }
      }
      let block = Library.lz4(bytes)
      #expect(decode(block, bytes.count) == bytes)
      #expect(decode(lz4Literals(bytes), bytes.count) == bytes)
      #expect(decode(block + [0], bytes.count) == nil)
      // Every cut and many flips: a status or other bytes, never a write outside.
      for _ in 0..<20 {
        #expect(decode(Array(block.prefix(random.below(block.count))), bytes.count) == nil)
        var flipped = block
        flipped[random.below(block.count)] ^= 1 << UInt8(random.below(8))
        _ = decode(flipped, bytes.count)
        _ = decode(random.bytes(1 + random.below(60)), random.below(200))
      }
    }
  }
}

@Suite struct ZstdFrameTests {
  /// Whether the frame passes for a section of `size` bytes.
  private func passes(_ frame: [UInt8], size: Int) -> Bool {
    // A directory entry that says so; only its sizes matter.
    var entry: [UInt8] = []
    for word: UInt64 in [5, 0, 1, 1] { entry.append(word, width: 4) }
    for word in [UInt64(0), UInt64(frame.count), UInt64(size), 0] { entry.append(word, width: 8) }
    return withView(entry) { entry in
      withView(frame) { stored in
        (try? Section(entry, at: 0).checkZstdFrame(stored)) != nil
      }
    }
  }

  @Test func framesOfLibzstdPass() {
    var random = SeededRandom.announced("zstd")
    for size in [1, 2, 255, 256, 257, 1000, 65_535, 65_536, 70_000, 131_072, 131_073, 400_000] {
      for kind in 0..<3 {
        let bytes: [UInt8] =
          kind == 0
          ? random.bytes(size)
          : (0..<size).map { kind == 1 ? 9 : UInt8(truncatingIfNeeded: $0 / 7 % 50) }
        for level: Int32 in [1, 3, 9] {
          let frame = Library.zstd(bytes, level: level)
          #expect(passes(frame, size: size), "\(size) bytes of kind \(kind), level \(level)")
          #expect(!passes(frame, size: size + 1) && !passes(frame + [0], size: size))
          #expect(!passes(Array(frame.dropLast()), size: size))
        }
        #expect(passes(zstdRaw(bytes), size: size))
      }
    }
  }

  private static let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
  private static let block: [UInt8] = [0x21, 0, 0, 1, 2, 3, 4]  // raw, last, 4 bytes

  @Test(
    arguments: [
      // descriptor, window, content size, block
      ([0x20, 4], true), ([0x00, 0x58], false), ([0x40, 0x00], false),
      ([0xA0, 4, 0, 0, 0], true), ([0xE0, 4, 0, 0, 0, 0, 0, 0, 0], true),
      ([0xE0, 4, 0, 0, 0, 0, 0, 0, 0x80], false), ([0x60, 4, 0], false),
      ([0x80, 0x00, 4, 0, 0, 0], true), ([0x80, 0x50, 4, 0, 0, 0], true),
      ([0x80, 0x51, 4, 0, 0, 0], false), ([0x80, 0x58, 4, 0, 0, 0], false),
      ([0x80, 0xFF, 4, 0, 0, 0], false), ([0x28, 4], false), ([0x21, 9, 4], false),
      ([0x22, 9, 9, 4], false), ([0x23, 9, 9, 9, 9, 4], false), ([0x30, 4], true),
      ([0x20, 5], false), ([], false),
    ] as [([UInt8], Bool)])
  func headers(_ header: [UInt8], _ accepted: Bool) {
    let frame = ZstdFrameTests.magic + header + ZstdFrameTests.block
    #expect(passes(frame, size: 4) == accepted)
    for cut in 0..<frame.count { #expect(!passes(Array(frame.prefix(cut)), size: 4)) }
  }

  @Test func blocks() {
    let header = ZstdFrameTests.magic + [0x20, 4]
    func frame(_ blocks: [UInt8]) -> Bool { passes(header + blocks, size: 4) }
    #expect(frame([0x23, 0, 0, 9]))  // a run of four
    #expect(frame([0x10, 0, 0, 1, 2, 0x11, 0, 0, 3, 4]))  // two blocks of two
    #expect(frame([0x20, 0, 0, 1, 2, 3, 4, 0x01, 0, 0]))  // the last one empty
    #expect(!frame([0x20, 0, 0, 1, 2, 3, 4]))  // no last block
    #expect(!frame([0x27, 0, 0, 1, 2, 3, 4]))  // reserved type
    #expect(!frame([0x29, 0, 0, 1, 2, 3, 4, 5]))  // larger than the content
    #expect(!frame(ZstdFrameTests.block + [0]))
    #expect(!frame(ZstdFrameTests.block + header + ZstdFrameTests.block))  // a second frame
    #expect(!frame(ZstdFrameTests.block + [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]))  // skippable
    let summed = ZstdFrameTests.magic + [0x24, 4] + ZstdFrameTests.block
    #expect(passes(summed + [1, 2, 3, 4], size: 4) && !passes(summed, size: 4))
    #expect(!passes([0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0] + header, size: 4))
  }
}
