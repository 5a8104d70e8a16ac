// GPT-NeoX and Pythia: layer norms, q, k and v of each head side by side, a part of a head turns.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum GPTNeoX {
  static func folder(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    let fields = ShapeFields(
      keyValueHeads: nil, headWidth: nil, normEpsilon: ("layer_norm_eps", 1e-5),
      activation: ("hidden_act", "gelu"))
    var d = try config.description(
      fields, norm: .layer, parts: [.normBias, .upBias, .downBias])
    guard d.queryWidth == d.width else {
      throw .bad(
        .outOfRange, file: config.path, field: config.named("num_attention_heads"),
        "\(d.queryHeads) does not divide hidden_size \(d.width)")
    }
    if try config.flag("attention_bias", default: true) {
      d.parts.formUnion(Llama.attentionBiases)
    }
    if try config.flag("use_parallel_residual", default: true) { d.parts.insert(.parallel) }
    try config.tie(&d, absent: false)
    try config.setRotary(
      &d,
      RotaryDefaults(
        fraction: 0.25, baseField: "rotary_emb_base", fractionField: "rotary_pct",
        turnsParts: true))
    func third(_ index: Int) -> ModuleView {
      ModuleView("attention.query_key_value").part(
        FusedRows(part: index, of: 3, heads: d.queryHeads, headWidth: d.headWidth))
    }
    var plan = DecoderPlan(
      "gpt_neox", d, prefix: "gpt_neox.", layers: "layers.",
      [
        .embedding: "embed_in", .finalNorm: "final_layer_norm",
        .head: tensors.has("embed_out.weight") ? "embed_out" : "lm_head",
        .attentionNorm: "input_layernorm", .query: third(0), .key: third(1), .value: third(2),
        .output: "attention.dense", .feedForwardNorm: "post_attention_layernorm",
        .up: "mlp.dense_h_to_4h", .down: "mlp.dense_4h_to_h",
      ])
    plan.ignoredInLayer = [
      "attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq",
    ]
    return plan
  }
}

// MARK: - GGUF

extension GPTNeoX {
  /// llama.cpp's files have all of q, then all of k, then all of v. They do not say which GELU it
  /// is; llama.cpp takes the tanh form for all of them.
  static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors, norm: .layer, parts: [])
    d.activation = .geluTanh
    d.parts.formUnion(metadata.biases(tensors))
    if try metadata.flag("use_parallel_residual", default: true) { d.parts.insert(.parallel) }
    try metadata.setRotary(&d, tensors)
    return metadata.plan(d, metadata.fusedAttention(d))
  }
}
