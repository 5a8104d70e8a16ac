// Damaged GGUF files: any error will do, a crash will not.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct GGUFMutationTests {
  private static let interesting: [UInt64] = [
    0, 1, 2, 3, 4, 5, 8, 9, 16, 31, 32, 33, 255, 256, 1 << 16, 1 << 20, 1 << 31 - 1, 1 << 31,
    1 << 32 - 1, 1 << 40, 1 << 61, 1 << 62, 1 << 63 - 1, 1 << 63, .max,
  ]

  /// CURTA_GGUF_MUTATIONS files (10 000 take about half a minute); CURTA_SEED replays them.
  private static let count =
    ProcessInfo.processInfo.environment["CURTA_GGUF_MUTATIONS"].flatMap { Int($0) } ?? 10_000

  /// Small sources: two without a tokenizer and with quantized tensors, one of byte-level BPE and
  /// one of scored BPE.
  private func sources() -> [[UInt8]] {
    var plain = GGUFFileBytes.tiny(vocabulary: 3, tiedHead: false)
    for (index, type) in [(1, UInt32(2)), (2, 3), (3, 6), (4, 7), (5, 8), (6, 20), (7, 30)] {
      guard let known = GGUFTensorType(rawValue: type) else { continue }
      let elements = plain.tensors[index].dimensions.reduce(1, *)
      let bytes = Int(elements) / known.blockElements * known.blockBytes
      plain.tensors[index].type = type
      plain.tensors[index].bytes = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 & 0x3B) }
    }
    var scored = TokenizerTables(kind: .scoredBPE, tokens: [[], [], []])
    scored.tokens += (0..<256).map { [UInt8($0)] } + ["a", "b", "ab"].map { Array($0.utf8) }
    let pieces = GGUFFileBytes.scored(scored, scores: scored.tokens.indices.map { -Float($0) })
    return [plain, plain, GGUFFileBytes.byteLevel, pieces].map(\.bytes)
  }

  private func mutate(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var bytes = bytes
    // The header of the first 1200 bytes is hit more often than the rest.
    for _ in 0...random.below(3) where !bytes.isEmpty {
      let at = random.below(random.chance(4) ? bytes.count : min(bytes.count, 1200))
      switch random.below(8) {
      case 0, 1: bytes[at] ^= 1 << UInt8(random.below(8))
      case 2: bytes[at] = UInt8(random.below(256))
      case 3: bytes.removeLast(min(bytes.count, 1 + random.below(64)))
      case 4: bytes.insert(contentsOf: random.bytes(1 + random.below(8)), at: at)
      case 5: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(8)))
      default:
        let value = random.element(Self.interesting)
        for i in 0..<random.element([4, 8]) where at + i < bytes.count {
          bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i))
        }
      }
    }
    return bytes
  }

  @Test func damagedFilesNeverCrash() throws {
    let seed = SeededRandom.announcedSeed("GGUF mutations")
    var random = SeededRandom(seed)
    let sources = sources()
    var (read, malformed, unsupported) = (0, 0, 0)
    var anonymous = 0
    try withScratch { folder in
      let path = folder.appendingPathComponent("model.gguf").path
      for source in sources {
        FileManager.default.createFile(atPath: path, contents: Data(source))
        _ = try tokenizerSection(of: loadCheckpoint(path))
      }
      for round in 0..<Self.count {
        let bytes = mutate(sources[round % sources.count], &random)
        FileManager.default.createFile(atPath: path, contents: Data(bytes))
        do {
          let checkpoint = try loadCheckpoint(path)
          _ = try tokenizerSection(of: checkpoint)
          #expect(try checkpoint.weights().isConsistent, "seed \(seed), round \(round)")
          read += 1
        } catch ImportError.malformed(let found) {
          malformed += 1
          if found.field == nil && found.offset == nil { anonymous += 1 }
        } catch ImportError.unsupported {
          unsupported += 1
        }
      }
    }
    #expect(anonymous == 0)
    print(
      "GGUF mutations: \(Self.count) files, \(malformed) malformed, \(unsupported) unsupported, "
        + "\(read) read, 0 crashes")
  }
}
