// Configurations that ask for what Curta does not have, or make no sense: what their owner is told.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import CurtaImport

@Suite struct HostileConfigurationTests {
  private func unsupported(_ name: String, _ fields: [String: Any]) throws -> [String] {
    var folder = try RecordedFolder(name)
    folder.config.merge(fields) { $1 }
    return try folder.unsupported()
  }

  /// One field changed: the one line of the error.
  @Test func everyUnsupportedFieldIsNamed() throws {
    let cases: [(String, String, Any, String)] = [
      ("llama", "model_type", "mixtral", "config.json: model_type = \"mixtral\" (supported: "),
      ("llama", "model_type", 7, "config.json: model_type = 7"),
      ("llama", "model_type", NSNull(), "config.json: no model_type"),
      ("llama", "hidden_act", "xielu", "config.json: hidden_act = \"xielu\""),
      ("llama", "quantization_config", ["bits": 4], "(supported: none: give the float checkpoint)"),
      ("llama", "sliding_window", 16, "config.json: sliding_window = 16 (supported: null)"),
      ("llama", "num_local_experts", 8, "num_local_experts = 8"),
      ("llama", "embedding_multiplier", 12.5, "embedding_multiplier = 12.5 (supported: 1)"),
      ("llama", "layer_types", ["sliding_attention", "full_attention"], "layer_types = a list"),
      ("llama", "alibi", true, "alibi = true (supported: false)"),
      ("llama", "clip_qkv", 8.5, "clip_qkv = 8.5 (supported: null)"),
      ("mistral", "attention_chunk_size", 64, "attention_chunk_size = 64"),
      ("qwen2", "layer_types", ["full_attention", "linear_attention"], "\"linear_attention\""),
      ("qwen3", "num_experts", 128, "num_experts = 128"),
      ("gemma2", "use_bidirectional_attention", true, "use_bidirectional_attention = true"),
      ("gemma3_text", "rope_parameters", ["rope_type": "default"], "for each kind of layer"),
      ("gpt2", "scale_attn_by_inverse_layer_idx", true, "scale_attn_by_inverse_layer_idx = true"),
      ("gpt2", "add_cross_attention", true, "add_cross_attention = true"),
      ("gpt2", "scale_attn_weights", false, "scale_attn_weights = false (supported: true)"),
      ("phi", "qk_layernorm", true, "qk_layernorm = true (supported: false)"),
      ("starcoder2", "norm_type", "rms_norm", "norm_type = \"rms_norm\""),
    ]
    for (name, field, value, text) in cases {
      let list = try unsupported(name, [field: value])
      #expect(list.count == 1, "\(name), \(field): \(list)")
      #expect(list.first?.contains(text) == true, "\(name), \(field): \(list)")
      #expect(list.allSatisfy { $0.contains("supported: ") }, "\(list)")
    }
  }

  @Test func everythingIsInOneError() throws {
    var folder = try RecordedFolder("gemma2")
    folder.config["hidden_activation"] = "xielu"
    folder.config["quantization_config"] = ["bits": 4]
    folder.config["rope_parameters"] = ["rope_type": "spiral"]
    folder.config["use_bidirectional_attention"] = true
    folder.add("model.layers.0.mlp.experts.0.down_proj.weight", [2])
    folder.add("model.layers.0.mlp.experts.1.down_proj.weight", [2])
    folder.add("model.layers.0.self_attn.q_proj.lora_A.weight", [2])
    folder.add("model.layers.0.self_attn.q_proj.bias", [24])
    folder.add("model.layers.1.self_attn.q_proj.bias", [24])
    folder.tensors["model.norm.weight"]?["dtype"] = "I16"
    folder.tensors["model.embed_tokens.weight"]?["dtype"] = "I16"
    let list = try folder.unsupported()
    for text in [
      "hidden_activation", "quantization_config", "rope_parameters.rope_type = \"spiral\"",
      "use_bidirectional_attention",
      "model.layers.*.mlp.experts.*.down_proj.weight (2 tensors): experts",
      "lora_A.weight: an adapter",
      "model.layers.*.self_attn.q_proj.bias (2 tensors): gemma2 has no such tensor",
      "model.embed_tokens.weight and 1 more: dtype I16 (supported: F32, F16, BF16)",
    ] {
      #expect(list.filter { $0.contains(text) }.count == 1, "\(text): \(list)")
    }
    #expect(list.count == 8)
  }

  /// What is unsupported comes first: it explains why something else makes no sense.
  @Test func unsupportedHidesMalformed() throws {
    var folder = try RecordedFolder("llama")
    folder.config["hidden_act"] = "xielu"
    folder.config["rope_parameters"] = ["rope_theta": -1]
    #expect(try folder.unsupported().count == 1)
    folder.config["hidden_act"] = "silu"
    #expect(try folder.malformed()?.field == "rope_parameters.rope_theta")
  }

  @Test func nonsenseIsNamed() throws {
    let cases: [(String, String, Any, Malformation.Reason)] = [
      ("qwen2", "num_attention_heads", 1 << 20, .outOfRange),
      ("qwen3", "head_dim", 1 << 20, .outOfRange), ("qwen3", "head_dim", 7, .outOfRange),
      ("gemma2", "query_pre_attn_scalar", 0, .outOfRange),
      ("gemma2", "attn_logit_softcapping", -1, .outOfRange),
      ("gemma2", "layer_types", ["full_attention"], .outOfRange),
      ("gemma2", "sliding_window", 0, .outOfRange),
      ("gemma2", "tie_word_embeddings", 1, .wrongType),
      ("gpt2", "n_head", 4, .outOfRange), ("gpt2", "n_inner", 21, .wrongShape),
      ("gpt2", "n_positions", 31, .wrongShape), ("gpt2", "n_layer", 3, .missingTensor),
      ("gpt_neox", "num_attention_heads", 3, .outOfRange),
      ("gpt_neox", "attention_bias", "no", .wrongType),
      ("phi", "layer_norm_eps", "x", .outOfRange),
      ("phi3-longrope", "num_key_value_heads", 4, .wrongShape),
      ("starcoder2", "vocab_size", 31, .wrongShape),
      ("mistral", "sliding_window", "x", .outOfRange),
      ("mistral", "num_hidden_layers", 5000, .outOfRange),
    ]
    for (name, field, value, reason) in cases {
      var folder = try RecordedFolder(name)
      folder.config[field] = value
      let found = try folder.malformed()
      #expect(found?.reason == reason, "\(name), \(field): \(String(describing: found))")
      #expect(found?.advice.isEmpty == false)
    }
  }

  @Test func missingTensorsAreNamed() throws {
    for (name, tensor) in [
      ("llama", "model.norm.weight"), ("gpt2", "transformer.wpe.weight"),
      ("gpt2", "transformer.h.1.ln_2.bias"), ("phi", "lm_head.bias"),
      ("qwen2", "model.layers.1.self_attn.k_proj.bias"),
      ("qwen3", "model.layers.0.self_attn.q_norm.weight"),
      ("gemma2", "model.layers.2.post_feedforward_layernorm.weight"),
    ] {
      // Its bytes become those of a tensor that is left out.
      var folder = try RecordedFolder(name)
      let layer =
        name == "gpt2"
        ? "transformer.h.0.attn.bias" : "model.layers.0.self_attn.rotary_emb.inv_freq"
      folder.rename { $0 == tensor ? layer : $0 }
      let found = try folder.malformed()
      #expect(found?.reason == .missingTensor, "\(name): \(String(describing: found))")
      #expect(found?.field == tensor)
    }
  }

  @Test func contextMayBeChosen() throws {
    try withScratch { folder in
      try RecordedFolder("gpt2").write(folder)
      #expect(try loadCheckpoint(folder.path, context: 8).source.description.contextLength == 8)
      #expect(try loadCheckpoint(folder.path, context: 8).weights().isConsistent)
      let list = unsupportedList { _ = try loadCheckpoint(folder.path, context: 33) }
      #expect(list.count == 1)
      #expect(list.first?.contains("32 learned positions") == true)
    }
    try withScratch { folder in
      try RecordedFolder("mistral").write(folder)
      let d = try loadCheckpoint(folder.path, context: 5).source.description
      // A window of the whole context is none.
      #expect(d.attention.allSatisfy { $0.window == nil })
    }
  }

  /// The same source gives the same values however often it is asked.
  @Test func readingTwiceGivesTheSame() throws {
    let path = TinyModels.recorded.appendingPathComponent("gemma3_text").path
    let source = try loadCheckpoint(path).source
    #expect(try source.ends() == source.ends())
    #expect(try source.layer(2) == source.layer(2))
    #expect(try source.layer(0) != source.layer(1))
  }

  /// 3.3 GB of a file that is all hole: opened and read at its end, nobody has it in memory.
  @Test func largeModelsAreNotRead() throws {
    try withScratch { folder in
      let (width, inner, layers, vocabulary) = (512, 2048, 400, 32000)
      var config = FolderBytes.config
      config.merge([
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "vocab_size": vocabulary, "num_attention_heads": 8, "num_key_value_heads": 8,
      ]) { $1 }
      var tensors: [(String, [Int])] = [
        ("model.embed_tokens.weight", [vocabulary, width]), ("model.norm.weight", [width]),
      ]
      for layer in 0..<layers {
        tensors += [
          ("input_layernorm", [width]), ("post_attention_layernorm", [width]),
          ("self_attn.q_proj", [width, width]), ("self_attn.k_proj", [width, width]),
          ("self_attn.v_proj", [width, width]), ("self_attn.o_proj", [width, width]),
          ("mlp.gate_proj", [inner, width]), ("mlp.up_proj", [inner, width]),
          ("mlp.down_proj", [width, inner]),
        ].map { ("model.layers.\(layer).\($0.0).weight", $0.1) }
      }
      var header: [String: Any] = [:]
      var end = 0
      for (name, shape) in tensors {
        let start = end
        end += 2 * shape.reduce(1, *)
        header[name] = ["dtype": "F16", "shape": shape, "data_offsets": [start, end]]
      }
      try FolderBytes.write(folder, config: config)
      let text = try JSONSerialization.data(withJSONObject: header)
      let url = folder.appendingPathComponent("model.safetensors")
      try (Data(little(UInt64(text.count))) + text).write(to: url)
      try #require(truncate(url.path, 8 + text.count + end) == 0)

      let before = residentBytes()
      let source = try loadCheckpoint(folder.path).source
      #expect(source.parameterCount == end / 2)
      #expect(try source.layer(layers - 1).down.weight.values.count == width * inner)
      let grown = residentBytes() - before
      print("a model of \(end) bytes: opened and one layer read with \(grown) bytes more")
      #expect(grown < 400 << 20)
    }
  }

  private func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * 4096
  }
}
