// The same model under other names: base models, old configurations, parts of larger models.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import CurtaImport

@Suite struct FolderLayoutTests {
  private func error(
    of name: String, _ change: (inout RecordedFolder) throws -> Void
  ) throws -> Float {
    var folder = try RecordedFolder(name)
    try change(&folder)
    return try folder.worstError()
  }

  @Test(arguments: ["llama", "gpt2", "qwen2", "gemma2"])
  func baseModelsHaveNoPrefix(_ name: String) throws {
    let error = try error(of: name) { folder in
      folder.rename { $0.replacing("transformer.", with: "").replacing("model.", with: "") }
    }
    #expect(error < 1e-4)
  }

  @Test func tablesAndMasksAreLeftOut() throws {
    #expect(
      try error(of: "gpt2") {
        $0.add("transformer.h.0.attn.bias", [1, 1, 32, 32])
        $0.add("transformer.h.1.attn.masked_bias", [1])
      } < 1e-4)
    #expect(
      try error(of: "gpt_neox") {
        $0.add("gpt_neox.layers.0.attention.bias", [1, 1, 8, 8])
        $0.add("gpt_neox.layers.1.attention.rotary_emb.inv_freq", [1])
      } < 1e-4)
    #expect(
      try error(of: "llama") { $0.add("model.layers.1.self_attn.rotary_emb.inv_freq", [3]) } < 1e-4)
    // Where they do not belong they are as unknown as any other.
    var folder = try RecordedFolder("llama")
    folder.add("model.layers.1.attn.bias", [3])
    folder.add("model.layers.x.self_attn.rotary_emb.inv_freq", [3])
    #expect(try folder.unsupported().count == 2)
  }

  @Test func tiedHeadAloneIsTheEmbedding() throws {
    #expect(
      try error(of: "llama") { folder in
        folder.rename { $0 == "model.embed_tokens.weight" ? "lm_head.weight" : $0 }
      } < 1e-4)
  }

  @Test(arguments: ["embed_out", "lm_head"])
  func headOfGPTNeoXHasTwoNames(_ name: String) throws {
    #expect(
      try error(of: "gpt_neox") { folder in
        folder.rename { $0 == "embed_out.weight" ? name + ".weight" : $0 }
      } < 1e-4)
  }

  /// As the files of 2023 to 2025 have it: no rope_parameters, no layer_types.
  @Test func olderConfigurations() throws {
    func older(_ name: String, _ fields: [String: Any]) throws -> Float {
      try error(of: name) { folder in
        for field in ["rope_parameters", "layer_types", "dtype"] { folder.config[field] = nil }
        folder.config.merge(fields) { $1 }
      }
    }
    #expect(try older("llama", ["rope_theta": 10000.0, "rope_scaling": NSNull()]) < 1e-4)
    #expect(try older("mistral", ["rope_theta": 10000.0, "torch_dtype": "bfloat16"]) < 1e-4)
    #expect(try older("qwen2", ["rope_theta": 10000, "max_window_layers": 1]) < 1e-4)
    #expect(try older("qwen3", ["rope_theta": 10000, "rope_scaling": NSNull()]) < 1e-4)
    #expect(
      try older("gemma2", ["hidden_act": "gelu_pytorch_tanh", "cache_implementation": "x"]) < 1e-4)
    #expect(try older("gemma", ["hidden_act": "gelu", "hidden_activation": NSNull()]) < 1e-4)
    #expect(try older("gpt_neox", ["rotary_pct": 0.25, "rotary_emb_base": 10000]) < 1e-4)
    #expect(try older("phi", ["partial_rotary_factor": 0.5, "rope_theta": 10000.0]) < 1e-4)
    let long: [String: Any] = [
      "type": "su", "short_factor": [1.0, 1.2], "long_factor": [1.5, 4.0],
    ]
    #expect(try older("phi3-longrope", ["rope_scaling": long, "rope_theta": 10000.0]) < 1e-4)
    // What `transformers` takes for an absent field.
    #expect(try error(of: "gemma2") { $0.config["hidden_activation"] = nil } < 1e-4)
    #expect(try error(of: "gpt2") { $0.config["layer_norm_epsilon"] = nil } < 1e-4)
  }

  /// google/gemma-3-4b-it: text_config inside, "language_model." in front, images beside.
  @Test(arguments: ["language_model.model.", "model.language_model."])
  func textPartOfGemma3(_ prefix: String) throws {
    let error = try error(of: "gemma3_text") { folder in
      var text = folder.config
      text["rope_parameters"] = nil
      text["rope_scaling"] = ["factor": 8.0, "rope_type": "linear"] as [String: Any]
      text["tie_word_embeddings"] = nil
      text["hidden_activation"] = nil
      folder.config = [
        "model_type": "gemma3", "text_config": text, "eos_token_id": [1, 2],
        "vision_config": ["hidden_size": 1152, "layer_types": ["x"]] as [String: Any],
      ]
      folder.rename { $0.replacing("model.", with: prefix) }
      folder.add("vision_tower.vision_model.post_layernorm.bias", [4])
      folder.add("multi_modal_projector.mm_soft_emb_norm.weight", [4])
    }
    #expect(error < 1e-4)
  }

  /// Every field that the fixtures are there to test makes a difference to their logits.
  @Test func wrongConfigurationsShow() throws {
    let changes: [(String, String, Any)] = [
      ("mistral", "sliding_window", 6), ("mistral", "sliding_window", NSNull()),
      ("qwen2", "sliding_window", 8), ("qwen2", "use_sliding_window", false),
      ("gemma2", "query_pre_attn_scalar", 10), ("gemma2", "attn_logit_softcapping", NSNull()),
      ("gemma2", "final_logit_softcapping", 3.1), ("gemma2", "sliding_window", 7),
      ("gemma3_text", "layer_types", [String](repeating: "full_attention", count: 4)),
      ("gemma", "hidden_act", "relu"), ("gpt2", "activation_function", "gelu"),
      ("gpt_neox", "hidden_act", "gelu_new"), ("gpt_neox", "use_parallel_residual", false),
      ("phi", "rope_parameters", ["partial_rotary_factor": 1.0]),
      ("phi3-longrope", "original_max_position_embeddings", 17),
      ("llama", "rope_parameters", ["rope_theta": 9000.0]), ("llama", "rms_norm_eps", 1e-3),
      ("starcoder2", "sliding_window", 9), ("starcoder2", "norm_epsilon", 1e-3),
    ]
    for (name, field, value) in changes {
      let error = try error(of: name) { $0.config[field] = value }
      #expect(error > 2e-4, "\(name), \(field) = \(value): \(error)")
    }
  }
}
