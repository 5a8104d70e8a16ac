// The fields of config.json that change what some model computes. What nobody reads must be neutral.
// SPDX-License-Identifier: Apache-2.0

extension ConfigurationReader {
  /// A field, what it must be where the architecture does not read it, and that in words.
  private struct Meaning {
    var field: String
    var supported: String
    var isNeutral: @Sendable (StrictJSON) -> Bool
  }

  private static func meaning(
    _ fields: [String], _ supported: String, _ isNeutral: @escaping @Sendable (StrictJSON) -> Bool
  ) -> [Meaning] {
    fields.map { Meaning(field: $0, supported: supported, isNeutral: isNeutral) }
  }

  /// Of all model types together, as `transformers` has them.
  private static let meanings: [Meaning] =
    meaning(["quantization_config"], "none: give the float checkpoint") { _ in false }
    + meaning(
      [
        "attention_bias", "mlp_bias", "use_bias", "use_qkv_bias", "add_cross_attention",
        "scale_attn_by_inverse_layer_idx", "use_bidirectional_attention", "alibi",
        "is_encoder_decoder", "qk_layernorm", "use_qk_norm", "use_parallel_residual",
        "parallel_attn", "new_decoder_architecture", "use_double_wide_mlp",
        "normalize_before_residual", "use_mla",
      ], "false"
    ) { $0.bool == false }
    + meaning(["scale_attn_weights"], "true") { $0.bool == true }
    + meaning(
      [
        "embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale",
        "partial_rotary_factor", "rotary_pct", "scale_emb", "scale_depth", "dim_model_base",
        "mup_width_multiplier",
      ], "1"
    ) { $0.double == 1 }
    + meaning(
      [
        "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
        "num_experts_per_tok",
      ], "none: one feed-forward network"
    ) { $0.integer == 0 || $0.integer == 1 }
    + meaning(
      [
        "attention_multiplier", "query_pre_attn_scalar", "attn_logit_softcapping",
        "final_logit_softcapping", "sliding_window", "attention_chunk_size", "clip_qkv",
        "kv_lora_rank", "q_lora_rank", "no_rope_layers", "embedding_size", "word_embed_proj_dim",
        "block_types", "conv_kernel", "ssm_cfg", "attn_layer_period", "mlp_layer_types",
        "num_kv_shared_layers", "hidden_size_per_layer_input", "per_layer_config",
      ], "null"
    ) { $0 == .array([]) }
    + meaning(["layer_types"], "full_attention for all layers") {
      $0.array?.allSatisfy { $0.text == "full_attention" } ?? false
    }

  /// Reports every field with a meaning that the architecture has not read.
  func reportUnread() {
    for meaning in Self.meanings where !seen.contains(meaning.field) {
      guard let value = peek(meaning.field), !meaning.isNeutral(value) else { continue }
      report(meaning.field, value, supported: meaning.supported)
    }
  }
}
