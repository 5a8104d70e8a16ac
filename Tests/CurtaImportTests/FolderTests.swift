// Hugging Face folders: what is read, what is refused, and shards.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct FolderTests {
  @Test func everythingIsRead() throws {
    try withScratch { folder in
      try FolderBytes.write(folder, tensors: FolderBytes.tensors)
      try Data(#"{"do_sample":true,"temperature":0.7,"top_k":40,"eos_token_id":3}"#.utf8)
        .write(to: folder.appendingPathComponent("generation_config.json"))
      let checkpoint = try loadCheckpoint(folder.path)
      let weights = try checkpoint.weights()
      #expect(weights.isConsistent)
      #expect(
        weights.description
          == DecoderDescription(
            vocabularySize: 5, width: 4, feedForwardWidth: 6, layers: 1, queryHeads: 2,
            keyValueHeads: 1, headWidth: 2, contextLength: 16, normEpsilon: 1e-6,
            parts: [.gate, .tiedHead],
            rotary: [RotaryTable(base: 500, width: 2, pairing: .halfSplit)]))
      let layer = weights.layers[0]
      #expect(
        [
          weights.ends.embedding[0, 0], layer.attentionNorm.weight[0], layer.query.weight[0, 0],
          layer.key.weight[0, 0], layer.value.weight[0, 0], layer.output.weight[0, 0],
          layer.feedForwardNorm?.weight[0], layer.gate?.weight[0, 0], layer.up.weight[0, 0],
          layer.down.weight[0, 0], weights.ends.finalNorm.weight[0],
        ] == [0.5, 1, 0.25, 0.125, -1, -2, 3, 4, 5, 6, 7])
      #expect(checkpoint.bos == 1)
      #expect(checkpoint.eos == [3])
      #expect(checkpoint.defaults.temperature == 0.7)
      #expect(checkpoint.defaults.topK == 40)
      #expect(checkpoint.tokenizer == .none)
      #expect(checkpoint.floatBytes == 4 * (20 + 4 + 16 + 8 + 8 + 16 + 4 + 24 * 3 + 4))
      #expect(
        checkpoint.sourceFiles.map(\.name)
          == ["config.json", "generation_config.json", "model.safetensors"])
    }
  }

  @Test func everythingUnsupportedIsListed() throws {
    try withScratch { folder in
      var config = FolderBytes.config
      config["rope_scaling"] = ["rope_type": "spiral", "factor": 8.0]
      config["num_local_experts"] = 4
      config["hidden_act"] = "xielu"
      config["quantization_config"] = ["bits": 4]
      config["sliding_window"] = 8
      var tensors = FolderBytes.tensors
      tensors[2].dataType = "I32"
      tensors.append(TensorBytes("model.layers.0.mlp.experts.0.up_proj.weight", [4], value: 0))
      try FolderBytes.write(folder, config: config, tensors: tensors)
      let list = unsupportedList { _ = try loadCheckpoint(folder.path) }
      #expect(list.count == 7)
      for field in [
        "rope_scaling.rope_type = \"spiral\"", "num_local_experts", "hidden_act",
        "quantization_config", "sliding_window = 8", "dtype I32", "experts (",
      ] {
        #expect(list.contains { $0.contains(field) && $0.contains("supported:") })
      }
    }
  }

  @Test func unsupportedTensorsAreListed() throws {
    try withScratch { folder in
      var tensors = FolderBytes.tensors
      tensors[2].dataType = "I32"
      tensors[7].dataType = "U32"
      tensors.append(TensorBytes("model.layers.0.self_attn.q_proj.bias", [4], value: 0))
      tensors.append(TensorBytes("model.layers.0.self_attn.rotary_emb.inv_freq", [1], value: 0))
      try FolderBytes.write(folder, tensors: tensors)
      let list = unsupportedList { _ = try loadCheckpoint(folder.path) }
      #expect(list.count == 3)
    }
  }

  @Test func badConfigurationsAreRefused() throws {
    let changes: [(String, Any, Malformation.Reason)] = [
      ("hidden_size", -4, .outOfRange), ("hidden_size", 4.5, .outOfRange),
      ("hidden_size", 1 << 40, .outOfRange), ("num_key_value_heads", 3, .outOfRange),
      ("num_attention_heads", 3, .outOfRange), ("head_dim", 3, .outOfRange),
      ("num_attention_heads", 8, .outOfRange),
      ("vocab_size", NSNull(), .missingField), ("eos_token_id", 5, .outOfRange),
      ("rms_norm_eps", 0, .outOfRange), ("tie_word_embeddings", "yes", .wrongType),
      ("tie_word_embeddings", false, .missingTensor), ("vocab_size", 6, .wrongShape),
      ("num_hidden_layers", 2, .missingTensor), ("intermediate_size", 4, .wrongShape),
    ]
    for (field, value, reason) in changes {
      try withScratch { folder in
        var config = FolderBytes.config
        config[field] = value
        try FolderBytes.write(folder, config: config, tensors: FolderBytes.tensors)
        let found = malformation { _ = try loadCheckpoint(folder.path) }
        #expect(found?.reason == reason, "\(field) = \(value)")
      }
    }
  }

  @Test func headIsTiedSeparateOrAlone() throws {
    let head = TensorBytes("lm_head.weight", [5, 4], value: 0.5)
    let other = TensorBytes("lm_head.weight", [5, 4], value: 0.75)
    func load(_ tensors: [TensorBytes], tied: Bool) throws -> DecoderWeights {
      try withScratch { folder in
        var config = FolderBytes.config
        config["tie_word_embeddings"] = tied
        try FolderBytes.write(folder, config: config, tensors: tensors)
        return try loadCheckpoint(folder.path).weights()
      }
    }
    #expect(try load(FolderBytes.tensors + [head], tied: true).ends.head == nil)
    #expect(try load(FolderBytes.tensors + [other], tied: false).ends.head?.values[0] == 0.75)
    #expect(
      try load(FolderBytes.tensors.dropFirst() + [head], tied: true).ends.embedding[0, 0] == 0.5)
    let contradiction = malformation { _ = try load(FolderBytes.tensors + [other], tied: true) }
    #expect(contradiction?.reason == .contradiction)
  }

  @Test func notFiniteWeightsAreRefused() throws {
    try withScratch { folder in
      var tensors = FolderBytes.tensors
      tensors[4] = TensorBytes(tensors[4].name, [2, 4], value: .nan)
      try FolderBytes.write(folder, tensors: tensors)
      // The value is only seen when its layer is read.
      let source = try loadCheckpoint(folder.path).source
      _ = try source.ends()
      let found = malformation { _ = try source.layer(0) }
      #expect(found?.reason == .notFinite)
      #expect(found?.field == tensors[4].name)
    }
  }
}

@Suite struct ShardTests {
  /// Writes two shards; `map` gets the honest map to tamper with.
  private func load(
    _ tamper: (inout [String: String]) -> Void
  ) throws -> DecoderWeights {
    try withScratch { folder in
      try FolderBytes.write(folder)
      let parts = [FolderBytes.tensors.prefix(4), FolderBytes.tensors.dropFirst(4)]
      var map: [String: String] = [:]
      for (index, part) in parts.enumerated() {
        let name = "model-\(index).safetensors"
        try safetensorsBytes(Array(part)).write(to: folder.appendingPathComponent(name))
        for tensor in part { map[tensor.name] = name }
      }
      tamper(&map)
      try JSONSerialization.data(withJSONObject: ["metadata": [:], "weight_map": map])
        .write(to: folder.appendingPathComponent("model.safetensors.index.json"))
      return try loadCheckpoint(folder.path).weights()
    }
  }

  @Test func shardsAreJoined() throws {
    let weights = try load { _ in }
    #expect(weights.isConsistent)
    #expect(weights.ends.finalNorm.weight == [7, 7, 7, 7])
  }

  @Test(arguments: ["../model-0.safetensors", "/etc/passwd", "a/b", "..", ".", ""])
  func namesStayInTheFolder(_ name: String) {
    let found = malformation { _ = try load { $0["model.norm.weight"] = name } }
    #expect(found?.reason == .unsafeName)
  }

  @Test func indexAndShardsMustAgree() {
    let moved = malformation {
      _ = try load { $0["model.norm.weight"] = "model-0.safetensors" }
    }
    #expect(moved?.reason == .contradiction)
    let dropped = malformation { _ = try load { $0["model.norm.weight"] = nil } }
    #expect(dropped?.reason == .contradiction)
    let invented = malformation { _ = try load { $0["extra"] = "model-0.safetensors" } }
    #expect(invented?.reason == .missingTensor)
  }
}
