// GGUF models: equal to the same weights in other formats, and everything unsupported in one list.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

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
      return try DecoderWeights(Llama2C.load(url.path))
    }
    var file = GGUFFileBytes(source)
    #expect(try load(file).weights() == source)
    // The least that the metadata must say.
    for key in ["rope.freq_base", "rope.dimension_count", "vocab_size"] {
      file["llama.\(key)"] = nil
    }
    let checkpoint = try load(file)
    #expect(try checkpoint.weights() == source)
    #expect(try checkpoint.weights().isConsistent)
    #expect(checkpoint.floatBytes == 4 * source.parameterCount)
    #expect(checkpoint.tokenizer == .none)
    #expect(checkpoint.sourceFiles.map(\.name) == ["model.gguf"])
  }

  /// The order of rows does not change what the model says.
  @Test func pairingKeepsTheLogits() throws {
    let loaded = try load(GGUFFileBytes.tiny(vocabulary: 20)).weights()
    var interleaved = loaded
    interleaved.description.rotary[0].pairing = .interleaved
    interleaved.layers[0].query.weight = loaded.layers[0].query.weight.interleaved(2)
    interleaved.layers[0].key.weight = loaded.layers[0].key.weight.interleaved(1)
    let tokens = (0..<16).map { Int32($0 * 7 % 20) }
    func logits(_ weights: DecoderWeights) -> [Float] {
      var decoder = FloatDecoder(weights)
      var state = FloatDecoderState(weights.description)
      return decoder.forward(tokens: tokens, state: &state).values
    }
    let worst = zip(logits(interleaved), logits(loaded)).map { abs($0 - $1) }.max() ?? .infinity
    #expect(worst <= 1e-5)
  }

  @Test func orderAndTypesOfTensorsAreFree() throws {
    let weights = GGUFFileBytes.tinyWeights(vocabulary: 20, tiedHead: false)
    var file = GGUFFileBytes(weights, ropeBase: 500)
    file.tensors.reverse()
    let index = try #require(file.tensors.firstIndex { $0.name == "blk.0.ffn_up.weight" })
    // Multiples of 1/64 up to 1/2 are exact in half precision.
    let halves = weights.layers[0].up.weight.values.map { Float16(($0 * 32).rounded() / 64) }
    file.tensors[index].type = 1
    file.tensors[index].bytes = halves.flatMap { little($0.bitPattern) }
    let q8 = try #require(file.tensors.firstIndex { $0.name == "blk.0.attn_q.weight" })
    file.tensors[q8].type = 8
    file.tensors[q8].bytes = (0..<32).flatMap { row in
      little(Float16(0.5).bitPattern) + (0..<32).map { UInt8(bitPattern: Int8($0 - row)) }
    }
    let loaded = try load(file).weights()
    #expect(loaded.layers[0].up.weight.values == halves.map { Float($0) })
    // Rows 2 and 3 of the file are rows 1 and 9 of a head of 16.
    #expect(loaded.layers[0].query.weight[9, 5] == 1)
    #expect(loaded.layers[0].query.weight[1, 0] == -1)
    #expect(loaded.layers[0].query.weight[16 + 8, 17] == 0)
    #expect(loaded.layers[0].down == weights.layers[0].down)
    #expect(loaded.ends.head == weights.ends.head)
  }

  @Test func everythingUnsupportedIsListed() throws {
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file["general.type"] = .text("adapter")
    file["split.count"] = .u32(3)
    file["llama.rope.scaling.type"] = .text("spiral")
    file["llama.rope.scaling.factor"] = .f32(4)
    file["llama.rope.dimension_count"] = .u32(8)
    file["llama.expert_count"] = .u32(8)
    file["llama.attention.sliding_window"] = .u32(4096)
    file["llama.attention.head_count_kv"] = .i32s([1])
    file["llama.novelty"] = .bool(true)
    file["tokenizer.ggml.model"] = .text("rwkv")
    file["llama.logit_scale"] = .f32(2)
    file.add("blk.0.attn_norm.bias", [32], [Float](repeating: 1, count: 32))
    file.add("blk.0.ffn_gate_exps.weight", [32], [Float](repeating: 1, count: 32))
    file.add("blk.1.attn_norm.weight", [32], [Float](repeating: 1, count: 32))
    let index = try #require(file.tensors.firstIndex { $0.name == "token_embd.weight" })
    file.tensors[index].type = 39
    file.tensors[index].bytes = [UInt8](repeating: 0, count: 20 * 17)
    let list = unsupportedList { _ = try load(file) }
    for part in [
      "general.type", "split.count", "scaling.type", "dimension_count", "logit_scale",
      "expert_count", "sliding_window", "head_count_kv", "llama.novelty", "tokenizer.ggml.model",
      "experts (", "blk.*.attn_norm.weight", "blk.*.attn_norm.bias", "MXFP4",
    ] {
      #expect(list.filter { $0.contains(part) }.count == 1, "\(part)")
    }
    #expect(list.count == 14)
    #expect(list.allSatisfy { $0.contains("supported") || $0.contains("no such tensor") })
  }

  @Test func otherArchitecturesAreNamed() {
    var file = GGUFFileBytes.tiny(vocabulary: 20)
    file["general.architecture"] = .text("mamba")
    #expect(unsupportedList { _ = try load(file) }.first?.contains("\"mamba\"") == true)
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
    #expect(try load(file).weights() == GGUFFileBytes.tinyWeights(vocabulary: 20))
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
    #expect(malformation { _ = try load(file).weights() }?.reason == .notFinite)
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
    #expect(gguf.source.description == hf.source.description)
    // The folder has its norms in half precision, the GGUF file in float32.
    func rounded(_ norm: NormLayer?) -> NormLayer {
      NormLayer(norm!.weight.map { Float(Float16($0)) })
    }
    var ends = try gguf.source.ends()
    ends.finalNorm = rounded(ends.finalNorm)
    #expect(try ends == hf.source.ends())
    for index in 0..<gguf.source.description.layers {
      var layer = try gguf.source.layer(index)
      layer.attentionNorm = rounded(layer.attentionNorm)
      layer.feedForwardNorm = rounded(layer.feedForwardNorm)
      #expect(try layer == hf.source.layer(index))
    }
    #expect(gguf.bos == hf.bos)
    #expect(gguf.eos == hf.eos)
    #expect(gguf.addsBos == hf.addsBos)
    #expect(try tokenizerSection(of: gguf) == tokenizerSection(of: hf))
  }
}
