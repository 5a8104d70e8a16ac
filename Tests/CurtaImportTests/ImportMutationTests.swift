// Damaged configurations, safetensors and GGUF files: any error will do, a crash will not.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

/// A slice of what `Tools/fuzz config safetensors gguf` does with libFuzzer.
@Suite struct ImportMutationTests {
  /// CURTA_IMPORT_MUTATIONS files of each kind; CURTA_SEED replays them.
  private static let count =
    ProcessInfo.processInfo.environment["CURTA_IMPORT_MUTATIONS"].flatMap { Int($0) } ?? 600

  private static let values = [
    "0", "1", "-1", "2", "1.5", "1e308", "true", "null", "[]", "{}", "\"\"", "16777216", "65536",
    "9223372036854775807", "9223372036854775808", "[1,2]", "\"yarn\"", "\"longrope\"",
    "{\"type\":\"linear\",\"factor\":2}", "[\"sliding_attention\",\"full_attention\"]",
  ].map { Array($0.utf8) }

  /// Values become other values, members are repeated, bytes change.
  private func mutate(_ text: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var text = text
    for _ in 0...random.below(2) where !text.isEmpty {
      let colons = text.indices.filter { text[$0] == UInt8(ascii: ":") }
      if random.chance(6) || colons.isEmpty {
        text[random.below(text.count)] = UInt8(random.below(256))
      } else {
        let start = random.element(colons) + 1
        var end = start
        while end < text.count, text[end] != UInt8(ascii: ","), text[end] != UInt8(ascii: "}") {
          end += 1
        }
        text.replaceSubrange(start..<end, with: random.element(Self.values))
      }
    }
    return text
  }

  private struct Tally {
    var read = 0
    var malformed = 0
    var unsupported = 0

    mutating func load(_ path: String, _ context: Comment) throws {
      do {
        let checkpoint = try loadCheckpoint(path)
        #expect(try checkpoint.weights().isConsistent, context)
        read += 1
      } catch ImportError.malformed(let found) {
        #expect(found.field != nil || found.offset != nil || !found.detail.isEmpty, context)
        malformed += 1
      } catch ImportError.unsupported(let list) {
        #expect(!list.isEmpty, context)
        unsupported += 1
      }
    }

    func report(_ kind: String) {
      print(
        "\(kind) mutations: \(read + malformed + unsupported) files, \(malformed) malformed, "
          + "\(unsupported) unsupported, \(read) read, 0 crashes")
    }
  }

  @Test func damagedFoldersNeverCrash() throws {
    let seed = SeededRandom.announcedSeed("import mutations")
    var random = SeededRandom(seed)
    var (configs, weights) = (Tally(), Tally())
    let names = TinyModels.recordedNames
    try withScratch { folder in
      func write(_ name: String, _ bytes: [UInt8]) {
        FileManager.default.createFile(atPath: folder.path + "/" + name, contents: Data(bytes))
      }
      for round in 0..<Self.count {
        let source = TinyModels.recorded.appendingPathComponent(names[round % names.count])
        let config = [UInt8](try Data(contentsOf: source.appendingPathComponent("config.json")))
        let file = [UInt8](
          try Data(contentsOf: source.appendingPathComponent("model.safetensors")))
        write("model.safetensors", file)
        write("config.json", mutate(config, &random))
        try configs.load(folder.path, "seed \(seed), config, round \(round)")

        let length = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = mutate(Array(file[8..<8 + length]), &random)
        write("config.json", config)
        write("model.safetensors", little(UInt64(header.count)) + header + file[(8 + length)...])
        try weights.load(folder.path, "seed \(seed), header, round \(round)")
      }
    }
    configs.report("config.json")
    weights.report("safetensors")
    #expect(configs.malformed > 0 && configs.unsupported > 0 && weights.malformed > 0)
  }

  @Test func damagedGGUFArchitecturesNeverCrash() throws {
    let seed = SeededRandom.announcedSeed("GGUF architecture mutations")
    var random = SeededRandom(seed)
    var tally = Tally()
    let sources = try ["gemma3_text", "gpt2", "gpt_neox", "llama", "phi3-longrope"].map {
      [UInt8](try Data(contentsOf: TinyModels.recorded.appendingPathComponent("\($0).gguf")))
    }
    try withScratch { folder in
      let path = folder.appendingPathComponent("model.gguf").path
      for round in 0..<Self.count {
        var bytes = sources[round % sources.count]
        for _ in 0...random.below(2) {
          let at = random.below(3000)
          let value = random.element([0, 1, 2, 3, 7, 255, 1 << 16, 1 << 31, 1 << 40, UInt64.max])
          for i in 0..<random.element([1, 4, 8]) {
            bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i))
          }
        }
        FileManager.default.createFile(atPath: path, contents: Data(bytes))
        try tally.load(path, "seed \(seed), round \(round)")
      }
    }
    tally.report("GGUF architecture")
  }
}
