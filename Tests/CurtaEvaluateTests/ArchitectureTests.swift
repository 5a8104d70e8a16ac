// The integer program of every architecture against its float forward pass, at tiny random size.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaEvaluate

/// The recorded models (`Tests/CurtaImportTests/Reference/make_architectures.py`), and the largest
/// mean KL divergence of w8 that each may have, in nats. Random weights of width 16 to 32 are worse
/// than a trained model: a code is a larger part of a sum of few.
private let bounds: [String: Double] = [
  "gemma": 0.006, "gemma2": 0.001, "gemma3_text": 0.001, "gpt2": 0.003, "gpt_neox": 0.001,
  "llama": 0.014, "mistral": 0.004, "phi": 0.001, "phi3-longrope": 0.015, "qwen2": 0.006,
  "qwen3": 0.005, "starcoder2": 0.002,
]

@Suite struct ArchitectureTests {
  static let folder = Repository.root
    .appendingPathComponent("Tests/CurtaImportTests/Reference/architectures")
  static let names: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).filter {
      FileManager.default.fileExists(atPath: folder.path + "/\($0)/config.json")
    }.sorted()

  @Test(arguments: names)
  func integersFollowFloats(name: String) throws {
    try withTemporaryFolder { temporary in
      let source = ArchitectureTests.folder.path + "/" + name
      let checkpoint = try loadCheckpoint(source)
      let weights = try DecoderWeights(checkpoint.source)
      let path = temporary.appendingPathComponent("tiny.curta").path
      let recipe = Recipe.w8
      _ = try Conversion(source: source, recipe: recipe).run(to: path)

      let vocabulary = weights.description.vocabularySize
      var random = SeededRandom(11)
      let tokens = (0..<min(48, weights.description.contextLength)).map { _ in
        Int32(random.below(vocabulary))
      }
      var decoder = FloatDecoder(weights)
      var state = FloatDecoderState(weights.description)
      let expected = decoder.forward(tokens: tokens, state: &state)

      var options = HostOptions()
      options.chunk = 7
      options.outputs = 7
      let session = try HostSession(path, options)
      var divergence = 0.0
      var largest: Float = 0
      for start in stride(from: 0, to: tokens.count, by: 7) {
        let part = tokens[start..<min(start + 7, tokens.count)]
        try session.step(part, outputs: part.count)
        for row in 0..<part.count {
          let logits = session.logits(row).map { Float($0) * 0x1p-16 }
          let reference = expected.row(start + row)
          divergence += klDivergence(reference, logits)
          for (a, b) in zip(reference, logits) { largest = max(largest, abs(a - b)) }
        }
      }
      divergence /= Double(tokens.count)
      print("MEASURED kl.\(name) \(divergence)")
      print("MEASURED logit.\(name) \(largest)")
      let bound = try #require(bounds[name], "no bound is stated for \(name)")
      #expect(divergence < bound)

      // The same codes in float arithmetic: the integers add next to nothing to their error.
      let file = try FileMapping(path)
      let model = try withExtendedLifetime(file) {
        try DequantizedModel(CurtaFile(file.bytes), like: weights.description)
      }
      var simulation = FloatDecoder(
        model.weights, transform: FakeQuantization.transform(model.spreading))
      var other = FloatDecoderState(model.weights.description)
      let simulated = simulation.forward(tokens: tokens, state: &other)
      var reached = 0.0
      for row in 0..<tokens.count { reached += klDivergence(expected.row(row), simulated.row(row)) }
      reached /= Double(tokens.count)
      #expect(divergence < 1.5 * reached + 1e-6)
    }
  }
}
