// Llama and those that differ from it in nothing but numbers: SmolLM, TinyLlama, Mistral.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum Llama {
  /// The names of Llama, which most others have taken over.
  static let folderModules: [DecoderModule: ModuleView] = [
    .embedding: "embed_tokens", .finalNorm: "norm", .head: "lm_head",
    .attentionNorm: "input_layernorm", .query: "self_attn.q_proj", .key: "self_attn.k_proj",
    .value: "self_attn.v_proj", .output: "self_attn.o_proj",
    .feedForwardNorm: "post_attention_layernorm", .gate: "mlp.gate_proj", .up: "mlp.up_proj",
    .down: "mlp.down_proj", .queryNorm: "self_attn.q_norm", .keyNorm: "self_attn.k_norm",
  ]
  /// Tables of frequencies, which older exports carry along.
  static let ignored: Set<String> = ["self_attn.rotary_emb.inv_freq"]

  /// A plan of those names.
  static func plan(
    _ architecture: String, _ description: DecoderDescription,
    _ changes: [DecoderModule: ModuleView] = [:]
  ) -> DecoderPlan {
    var plan = DecoderPlan(
      architecture, description, prefix: "model.", layers: "layers.",
      folderModules.merging(changes) { $1 })
    plan.ignoredInLayer = ignored
    return plan
  }

  /// Biases of all four of attention's layers, and of all three of the feed-forward network's.
  static let attentionBiases: DecoderParts = [.queryBias, .keyBias, .valueBias, .outputBias]
  static let feedForwardBiases: DecoderParts = [.gateBias, .upBias, .downBias]

  static func folder(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try config.description()
    if try config.flag("attention_bias", default: false) { d.parts.formUnion(attentionBiases) }
    if try config.flag("mlp_bias", default: false) { d.parts.formUnion(feedForwardBiases) }
    try config.tie(&d, absent: false)
    try config.setRotary(&d)
    return plan("llama", d)
  }

  static func mistral(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = ShapeFields()
    if !config.has("num_key_value_heads") { fields.keyValueHeads?.absent = 8 }
    fields.contextLength.absent = 4096 * 32
    var d = try config.description(fields)
    try config.tie(&d, absent: false)
    try config.setRotary(&d)
    // Only where the field is absent is there a window that nobody has asked for.
    let hasField = config.has("sliding_window")
    let window =
      config.value("sliding_window") == nil && hasField
      ? nil : try config.size("sliding_window", limit: ConfigurationReader.sizeLimit, default: 4096)
    d.setWindow(window, [Bool](repeating: true, count: d.layers))
    return plan("mistral", d)
  }
}

// MARK: - GGUF

extension Llama {
  /// llama.cpp keeps the rows of q and k in the order that turns neighbours together; they are put
  /// back into the order of Hugging Face, so that both sources of a model give the same weights.
  static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors)
    d.parts.formUnion(metadata.biases(tensors))
    try metadata.setRotary(&d, tensors)
    if let table = d.rotary.first, 2 * table.frequencies.count != d.headWidth {
      metadata.report(
        "\(metadata.key("rope.dimension_count")) = \(2 * table.frequencies.count) "
          + "(supported: the width of a head, \(d.headWidth))")
    }
    return metadata.plan(
      d,
      [
        .query: ModuleView("attn_q").interleaved(heads: d.queryHeads),
        .key: ModuleView("attn_k").interleaved(heads: d.keyValueHeads),
      ])
  }
}
