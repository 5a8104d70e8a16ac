// GGUF files in llama.cpp's conventions: the same weights as the folders they were made from.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct GGUFArchitectureTests {
  private static let recorded: [String] = {
    let folder = TinyModels.recorded.path
    let all = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return all.filter { $0.hasSuffix(".gguf") }.map { String($0.dropLast(5)) }.sorted()
  }()

  /// Files of the `gguf` package, made by make_gguf.py.
  @Test(arguments: recorded)
  func weightsEqualTheFolder(_ name: String) throws {
    let path = TinyModels.recorded.path + "/" + name
    try Self.compare(path + ".gguf", path)
  }

  @Test func somethingIsRecorded() { #expect(Self.recorded.count >= 5) }

  /// Compares a GGUF file with the folder of the same model.
  static func compare(_ path: String, _ folder: String) throws {
    let name = URL(fileURLWithPath: folder).lastPathComponent
    // The recorded names are those of the folders they were made from.
    let gguf = try loadCheckpoint(path)
    let hf = try loadCheckpoint(folder)
    #expect(try gguf.source.ends() == hf.source.ends(), "\(name)")
    try #require(gguf.source.description.layers == hf.source.description.layers, "\(name)")
    for layer in 0..<hf.source.description.layers {
      #expect(try gguf.source.layer(layer) == hf.source.layer(layer), "\(name), layer \(layer)")
    }
    #expect(gguf.source.parameterCount == hf.source.parameterCount, "\(name)")

    var (found, expected) = (gguf.source.description, hf.source.description)
    #expect(close(found.rotary, expected.rotary), "\(name): rotary tables")
    found.rotary = expected.rotary
    #expect(abs(found.normEpsilon - expected.normEpsilon) < 1e-9, "\(name)")
    found.normEpsilon = expected.normEpsilon
    if name.hasPrefix("gemma2") || name.hasPrefix("gemma3") {
      // GGUF does not have Gemma's own scale of the scores.
      #expect(found.scoreScale == 1 / Double(found.headWidth).squareRoot(), "\(name)")
      found.scoreScale = expected.scoreScale
    }
    // GGUF does not say which GELU; llama.cpp takes the tanh form.
    if name == "gpt_neox" { expected.activation = .geluTanh }
    // llama.cpp's converter writes no window for these.
    if name == "mistral" || name == "qwen2" || name == "starcoder2" {
      for layer in expected.attention.indices { expected.attention[layer].window = nil }
    }
    #expect(abs(found.scoreScale / expected.scoreScale - 1) < 1e-6, "\(name)")
    found.scoreScale = expected.scoreScale
    #expect(found == expected, "\(name)")
  }

  private static func close(_ a: [RotaryTable], _ b: [RotaryTable]) -> Bool {
    a.count == b.count
      && zip(a, b).allSatisfy { a, b in
        a.pairing == b.pairing && a.frequencies.count == b.frequencies.count
          && zip(a.frequencies, b.frequencies).allSatisfy { abs($0 / $1 - 1) < 1e-6 }
      }
  }
}
