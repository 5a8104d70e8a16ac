// GGUF models: equal to the same weights in other formats, and everything unsupported in one list.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

extension DecoderWeights {
  /// The same model with elements i and i + half of a head as pairs: written from that definition,
  /// pair by pair.
  fileprivate var halfSplit: DecoderWeights {
    func reordered(_ matrix: Matrix, _ heads: Int) -> Matrix {
      var result = matrix
      let (width, columns) = (matrix.rows / heads, matrix.columns)
      for head in 0..<heads {
        for pair in 0..<width / 2 {
          for column in 0..<columns {
            let first = head * width
            result.values[(first + pair) * columns + column] = matrix[first + 2 * pair, column]
            result.values[(first + pair + width / 2) * columns + column] =
              matrix[first + 2 * pair + 1, column]
          }
        }
      }
      return result
    }
    var result = self
    result.description.ropePairing = .halfSplit
    for index in layers.indices {
      result.layers[index].query = reordered(layers[index].query, description.queryHeads)
      result.layers[index].key = reordered(layers[index].key, description.keyValueHeads)
    }
    return result
  }
}

@Suite struct GGUFDecoderTests {
  private func load(_ file: GGUFFileBytes, tokenizer: String? = nil) throws -> Checkpoint {
    try withGGUF(file.bytes) { try loadCheckpoint($0, tokenizer: tokenizer) }
  }

  @Test(arguments: [true, false])
  func equalsLlama2C(_ tiedHead: Bool) throws {
    var tiny = TinyCheckpoint()
    tiny.tiedHead = tiedHead
    let source = try withScratch { folder in
      let url = folder.appendingPathComponent("model.bin")
      try Data(tiny.bytes).write(to: url)
      return try Llama2C.load(url.path)
    }
    var file = GGUFFileBytes(source)
    let expected = source.halfSplit
    #expect(try load(file).weights == expected)
    // The least that the metadata must say.
    for key in ["rope.freq_base", "rope.dimension_count", "vocab_size"] {
      file["llama.\(key)"] = nil
    }
    let checkpoint = try load(file)
    #expect(checkpoint.weights == expected)
    #expect(checkpoint.weights.isConsistent)
    #expect(checkpoint.tokenizer == .none)
    #expect(checkpoint.sourceFiles.map(\.name) == ["model.gguf"])
  }

  /// The order of rows does not change what the model says.
  @Test func pairingKeepsTheLogits() throws {
    let weights = GGUFFileBytes.tinyWeights(vocabulary: 20)
    let loaded = try load(GGUFFileBytes(weights)).weights
    let tokens = (0..<16).map { Int32($0 * 7 % 20) }
    func logits(_ weights: DecoderWeights) -> [Float] {
      var decoder = FloatDecoder(weights)
      var state = FloatDecoderState(weights.description)
      return decoder.forward(tokens: tokens, state: &state).values
    }
    let worst = zip(logits(weights), logits(loaded)).map { abs($0 - $1) }.max() ?? .infinity
    #expect(worst <= 1e-5)
  }

  @Test func orderAndTypesOfTensorsAreFree() throws {
    let weights = GGUFFileBytes.tinyWeights(vocabulary: 20, tiedHead: false)
    var file = GGUFFileBytes(weights)
    file.tensors.reverse()
    let index = try #require(file.tensors.firstIndex { $0.name == "blk.0.ffn_up.weight" })
    // Multiples of 1/64 up to 1/2 are exact in half precision.
    let halves = weights.layers[0].up.values.map { Float16(($0 * 32).rounded() / 64) }
    file.tensors[index].type = 1
    file.tensors[index].bytes = halves.flatMap { little($0.bitPattern) }
    let q8 = try #require(file.tensors.firstIndex { $0.name == "blk.0.attn_q.weight" })
    file.tensors[q8].type = 8
    file.tensors[q8].bytes = (0..<32).flatMap { row in
      little(Float16(0.5).bitPattern) + (0..<32).map { UInt8(bitPattern: Int8($0 - row)) }
    }
    let loaded = try load(file).weights
    #expect(loaded.layers[0].up.values == halves.map { Float($0) })
    // Rows 2 and 3 of the file are rows 1 and 9 of a head of 16.
    #expect(loaded.layers[0].query[9, 5] == 1)
    #expect(loaded.layers[0].query[1, 0] == -1)
    #expect(loaded.layers[0].query[16 + 8, 17] == 0)
    #expect(loaded.layers[0].down == weights.layers[0].down)
    #expect(loaded.head == weights.head)
  }

  @Test func everythingUnsupportedIsListed() throws {
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file["general.type"] = .text("adapter")
    file["split.count"] = .u32(3)
    file["llama.rope.scaling.type"] = .text("yarn")
    file["llama.rope.scaling.factor"] = .f32(4)
    file["llama.rope.dimension_count"] = .u32(8)
    file["llama.expert_count"] = .u32(8)
    file["llama.attention.sliding_window"] = .u32(4096)
    file["llama.attention.head_count_kv"] = .i32s([1])
    file["llama.novelty"] = .bool(true)
    file["tokenizer.ggml.model"] = .text("bert")
    file.add("rope_freqs.weight", [8], [Float](repeating: 1, count: 8))
    file.add("blk.0.attn_q.bias", [32], [Float](repeating: 1, count: 32))
    file.add("blk.0.ffn_gate_exps.weight", [32], [Float](repeating: 1, count: 32))
    file.add("blk.1.attn_norm.weight", [32], [Float](repeating: 1, count: 32))
    let index = try #require(file.tensors.firstIndex { $0.name == "token_embd.weight" })
    file.tensors[index].type = 39
    file.tensors[index].bytes = [UInt8](repeating: 0, count: 20 * 17)
    let list = unsupportedList { _ = try load(file) }
    for part in [
      "general.type", "split.count", "scaling.type", "scaling.factor", "dimension_count",
      "expert_count", "sliding_window", "head_count_kv", "llama.novelty", "tokenizer.ggml.model",
      "rope_freqs", "a bias", "experts (", "blk.*.attn_norm", "MXFP4",
    ] {
      #expect(list.filter { $0.contains(part) }.count == 1, "\(part)")
    }
    #expect(list.count == 15)
    #expect(list.allSatisfy { $0.contains("supported") || $0.contains("plain Llama") })
  }

  @Test func otherArchitecturesAreNamed() {
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file["general.architecture"] = .text("qwen2")
    #expect(unsupportedList { _ = try load(file) }.first?.contains("\"qwen2\"") == true)
    file["general.architecture"] = nil
    #expect(malformation { _ = try load(file) }?.field == "general.architecture")
  }

  @Test func neutralValuesAreFine() throws {
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file["llama.rope.scaling.type"] = .text("none")
    file["llama.rope.scaling.factor"] = .f32(4)
    file["llama.expert_count"] = .u32(0)
    file["llama.attention.key_length"] = .u32(16)
    file["llama.attention.value_length"] = .u32(16)
    file["llama.use_parallel_residual"] = .bool(false)
    file["llama.tensor_data_layout"] = .text("Meta AI original pth")
    #expect(try load(file).weights == GGUFFileBytes.tinyWeights(vocabulary: 20).halfSplit)
  }

  @Test func badModelsAreRefused() {
    typealias Value = GGUFFileBytes.Value
    let changes: [(String, Value?, Malformation.Reason)] = [
      ("embedding_length", .u32(0), .outOfRange), ("embedding_length", .u32(64), .wrongShape),
      ("embedding_length", nil, .missingField), ("block_count", .u32(2), .missingTensor),
      ("block_count", .u32(1 << 20), .outOfRange), ("block_count", .text("1"), .wrongType),
      ("feed_forward_length", .u32(65), .wrongShape), ("context_length", nil, .missingField),
      ("attention.head_count", .f32(2), .wrongType), ("vocab_size", .u32(21), .contradiction),
      ("attention.layer_norm_rms_epsilon", .f32(0), .outOfRange),
      ("attention.layer_norm_rms_epsilon", .f32(.nan), .outOfRange),
      ("rope.freq_base", .f32(-1), .outOfRange), ("rope.freq_base", .f32(.infinity), .outOfRange),
    ]
    for (key, value, reason) in changes {
      var file = GGUFFileBytes.tiny(vocabulary: 20)
      file["llama.rope.dimension_count"] = nil
      file["llama.\(key)"] = value
      let found = malformation { _ = try load(file) }
      #expect(found?.reason == reason, "\(key)")
      #expect(found?.file.hasSuffix("model.gguf") == true)
    }
    for name in ["token_embd.weight", "blk.0.attn_k.weight", "output_norm.weight"] {
      var file = GGUFFileBytes.tiny(vocabulary: 20)
      file.tensors.removeAll { $0.name == name }
      #expect(malformation { _ = try load(file) }?.field == name)
    }
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file.tensors[3].bytes.replaceSubrange(8..<12, with: little(Float.nan.bitPattern))
    #expect(malformation { _ = try load(file) }?.reason == .notFinite)
  }

  /// CURTA_SMOLLM2 names the folder that `../shared/models/smollm2-135m/make.py` filled.
  private static let smollm2: String? = {
    let folder = ProcessInfo.processInfo.environment["CURTA_SMOLLM2"]
    if folder == nil { print("SKIPPED: CURTA_SMOLLM2 is not set, the real GGUF is not read") }
    return folder
  }()

  @Test(.enabled(if: smollm2 != nil, "SKIPPED: CURTA_SMOLLM2 is not set"))
  func realFileEqualsItsFolder() throws {
    let folder = try #require(Self.smollm2)
    let gguf = try loadCheckpoint(folder + "/smollm2-135m-f16.gguf")
    let hf = try loadCheckpoint(folder + "/hf")
    #expect(gguf.weights.description == hf.weights.description)
    // The folder has its norms in half precision, the GGUF file in float32.
    func rounded(_ values: [Float]) -> [Float] { values.map { Float(Float16($0)) } }
    var weights = gguf.weights
    weights.finalNorm = rounded(weights.finalNorm)
    for index in weights.layers.indices {
      weights.layers[index].attentionNorm = rounded(weights.layers[index].attentionNorm)
      weights.layers[index].feedForwardNorm = rounded(weights.layers[index].feedForwardNorm)
    }
    #expect(weights == hf.weights)
    #expect(gguf.bos == hf.bos)
    #expect(gguf.eos == hf.eos)
    #expect(gguf.addsBos == hf.addsBos)
    #expect(try tokenizerSection(of: gguf) == tokenizerSection(of: hf))
  }
}
