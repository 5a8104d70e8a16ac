// Real checkpoints in ../shared: llama2.c's golden story, numpy's logits, a known perplexity.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

enum Shared {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  static let models = root.deletingLastPathComponent().appendingPathComponent("shared/models").path
  static let isPresent: Bool = {
    let isPresent = FileManager.default.fileExists(atPath: models)
    if !isPresent { print("SKIPPED: ../shared missing, real checkpoints are not tested") }
    return isPresent
  }()
  static let message: Comment = "SKIPPED: ../shared missing"
}

@Suite struct RealModelTests {
  static let golden =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    + "One day, she saw a big, red ball."

  /// Pieces of a llama2.c tokenizer: int32 longest, then float32 score, int32 length, bytes.
  private func pieces(_ path: String) throws -> [String] {
    let data = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    var pieces: [String] = []
    var at = 4
    while at < data.count {
      let length = (0..<4).reduce(0) { $0 | Int(data[at + 4 + $1]) << (8 * $1) }
      pieces.append(String(decoding: data[(at + 8)..<(at + 8 + length)], as: UTF8.self))
      at += 8 + length
    }
    return pieces
  }

  private func greedy(_ path: String, count: Int) throws -> [Int32] {
    var decoder = FloatDecoder(try loadCheckpoint(path).weights())
    return decoder.greedy([1], count: count, stop: [1, 2])
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func stories260KTellsTheGoldenStory() throws {
    let folder = Shared.models + "/stories260k"
    let tokens = try greedy(folder + "/stories260K.bin", count: 100)
    let pieces = try pieces(folder + "/tok512.bin")
    var text = ""
    for token in tokens {
      let piece = pieces[Int(token)]
      if piece.hasPrefix("<0x"), piece.count == 6,
        let byte = UInt8(piece.dropFirst(3).prefix(2), radix: 16)
      {
        text.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        text += piece
      }
    }
    // After the begin token llama2.c drops the space of the first piece.
    if text.hasPrefix(" ") { text.removeFirst() }
    #expect(text.hasPrefix(RealModelTests.golden), "\(text)")
    #expect(try greedy(folder + "/hf", count: 100) == tokens)
  }

  @Test(
    .enabled(if: Shared.isPresent, Shared.message),
    arguments: [
      "stories260k/stories260K.bin", "stories260k/hf", "curta-stories", "curta-sort",
      "tinystories-656k",
    ])
  func logitsEqualNumpy(_ name: String) throws {
    let path = Shared.models + "/" + name
    let weights = try loadCheckpoint(path).weights()
    let tokens = (0..<24).map { Int32($0 * 7 % weights.description.vocabularySize) }
    let expected = try withScratch { try numpyLogits(model: path, tokens: tokens, scratch: $0) }
    var decoder = FloatDecoder(weights)
    var state = FloatDecoderState(weights.description)
    let logits = decoder.forward(tokens: tokens, state: &state)
    try #require(logits.values.count == expected.count)
    let worst = zip(logits.values, expected).map { abs(Double($0) - $1) }.max() ?? .infinity
    #expect(worst <= 1e-4)
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func foldersSayHowToRunThem() throws {
    let stories = try loadCheckpoint(Shared.models + "/curta-stories")
    #expect(stories.bos == 0)
    #expect(stories.eos == [0])
    #expect(stories.addsBos)
    #expect(stories.defaults.temperature == 0.7)
    #expect(stories.defaults.topK == 40)
    #expect(stories.floatBytes == 606_240 * 4)
    #expect(
      stories.tokenizer == .huggingFace(json: Shared.models + "/curta-stories/tokenizer.json"))
    let sort = try loadCheckpoint(Shared.models + "/curta-sort")
    #expect(sort.bos == nil)
    #expect(sort.eos == [6])
    #expect(!sort.addsBos)
    #expect(sort.defaults.temperature == 0)
    let bin = try loadCheckpoint(Shared.models + "/stories260k/stories260K.bin")
    #expect(
      bin.tokenizer
        == .llama2c(path: Shared.models + "/stories260k/tok512.bin", vocabularySize: 512))
  }

  /// The order of pairs is one for all sources, so the weights are the same, bit for bit.
  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func binAndFolderHaveTheSameWeights() throws {
    let folder = Shared.models + "/stories260k"
    let bin = try loadCheckpoint(folder + "/stories260K.bin")
    let hf = try loadCheckpoint(folder + "/hf")
    #expect(bin.source.description == hf.source.description)
    #expect(try bin.weights() == hf.weights())
    #expect(bin.floatBytes == hf.floatBytes)
  }

  /// minGPT's sorter of six digits, by a config.json that its owner has to write.
  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func minGPTSorts() throws {
    try withScratch { folder in
      let config: [String: Any] = [
        "model_type": "mingpt", "n_layer": 3, "n_head": 3, "n_embd": 48, "vocab_size": 3,
        "block_size": 11,
      ]
      try FolderBytes.write(folder, config: config)
      try FileManager.default.copyItem(
        at: URL(fileURLWithPath: Shared.models + "/gpt-nano-sort/gpt-nano-sort.safetensors"),
        to: folder.appendingPathComponent("model.safetensors"))
      let weights = try loadCheckpoint(folder.path).weights()
      #expect(weights.isConsistent)
      var decoder = FloatDecoder(weights)
      var sorted = 0
      for number in 0..<729 {
        var rest = number
        let digits = (0..<6).map { _ in
          defer { rest /= 3 }
          return Int32(rest % 3)
        }
        if decoder.greedy(digits, count: 6) == digits.sorted() { sorted += 1 }
      }
      #expect(sorted == 729)
    }
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func mixtureOfExpertsIsRefused() {
    let list = unsupportedList { _ = try loadCheckpoint(Shared.models + "/stories-moe") }
    #expect(list.contains { $0.contains("model_type = \"mixtral\"") }, "\(list)")
    #expect(
      list.contains { $0.contains("num_local_experts = 4 (supported: none: one feed-forward") })
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func halfPrecisionFolderIsClose() throws {
    let source = URL(fileURLWithPath: Shared.models + "/curta-stories")
    let full = try loadCheckpoint(source.path).weights()
    let half = try withScratch { folder in
      for (from, to) in [
        ("config.json", "config.json"), ("model_f16.safetensors", "model.safetensors"),
      ] {
        try FileManager.default.copyItem(
          at: source.appendingPathComponent(from), to: folder.appendingPathComponent(to))
      }
      return try loadCheckpoint(folder.path).weights()
    }
    #expect(half.ends.embedding.values == full.ends.embedding.values.map { Float(Float16($0)) })
    #expect(
      half.layers[4].down.weight.values
        == full.layers[4].down.weight.values.map { Float(Float16($0)) })
  }
}

/// Logits by the reference of the tensor tests, float64 [tokens][vocabulary].
private func numpyLogits(model: String, tokens: [Int32], scratch: URL) throws -> [Double] {
  let script = Shared.root.appendingPathComponent("Tests/CurtaTensorTests/Reference/decoder.py")
    .path
  let out = scratch.appendingPathComponent("logits.f64")
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = ["python3", script, model, out.path] + tokens.map(String.init)
  try process.run()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw CocoaError(.fileReadUnknown) }
  return try Data(contentsOf: out).withUnsafeBytes { Array($0.bindMemory(to: Double.self)) }
}
