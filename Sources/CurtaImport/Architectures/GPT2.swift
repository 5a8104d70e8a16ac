// GPT-2: layer norms, learned positions, q, k and v in one matrix, all matrices transposed.
// minGPT and nanoGPT ("mingpt" here): the same with ordinary matrices.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum GPT2 {
  private static let fields = ShapeFields(
    width: ("n_embd", nil), layers: ("n_layer", nil), heads: ("n_head", nil), keyValueHeads: nil,
    headWidth: nil, contextLength: ("n_positions", 1024),
    normEpsilon: ("layer_norm_epsilon", 1e-5), activation: ("activation_function", "gelu_new"))

  static func folder(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    try plan("gpt2", config, tensors, isTransposed: true, isTied: true)
  }

  /// config.json of a minGPT checkpoint: "model_type": "mingpt", and n_embd, n_layer, n_head,
  /// vocab_size and block_size, as minGPT's own configuration has them.
  static func minGPT(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    try plan("mingpt", config, tensors, isTransposed: false, isTied: false)
  }

  private static func plan(
    _ name: String, _ config: ConfigurationReader, _ tensors: TensorCatalog, isTransposed: Bool,
    isTied: Bool
  ) throws(ImportError) -> DecoderPlan {
    var fields = fields
    let width = try config.size("n_embd", limit: ConfigurationReader.sizeLimit)
    fields.feedForwardWidth = ("n_inner", 4 * width)
    if name == "mingpt" { fields.contextLength = ("block_size", nil) }
    var d = try config.description(
      fields, norm: .layer, parts: [.normBias, .positions, .outputBias, .upBias, .downBias])
    guard d.queryWidth == d.width else {
      throw .bad(
        .outOfRange, file: config.path, field: config.named("n_head"),
        "\(d.queryHeads) does not divide n_embd \(d.width)")
    }
    try config.tie(&d, absent: isTied)
    let attention = ["h.0.attn.c_attn.bias", "transformer.h.0.attn.c_attn.bias"]
    if attention.contains(where: tensors.has) {
      d.parts.formUnion([.queryBias, .keyBias, .valueBias])
    }
    func linear(_ name: String) -> ModuleView {
      isTransposed ? ModuleView(name).transposed() : ModuleView(name)
    }
    func third(_ index: Int) -> ModuleView {
      linear("attn.c_attn").part(FusedRows(part: index, of: [d.width, d.width, d.width]))
    }
    var plan = DecoderPlan(
      name, d, prefix: "transformer.", layers: "h.",
      [
        .embedding: "wte", .positions: "wpe", .finalNorm: "ln_f", .head: "lm_head",
        .attentionNorm: "ln_1", .query: third(0), .key: third(1), .value: third(2),
        .output: linear("attn.c_proj"), .feedForwardNorm: "ln_2", .up: linear("mlp.c_fc"),
        .down: linear("mlp.c_proj"),
      ])
    plan.positions = config.statedContext
    if d.contextLength > plan.positions {
      config.report(
        "a context of \(d.contextLength) (supported: up to \(plan.positions) learned positions)")
    }
    // Masks.
    plan.ignoredInLayer = ["attn.bias", "attn.masked_bias"]
    return plan
  }
}

// MARK: - GGUF

extension GPT2 {
  /// llama.cpp's files have ordinary matrices.
  static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors, norm: .layer, parts: [.positions])
    d.activation = .geluTanh
    d.parts.formUnion(metadata.biases(tensors))
    let plan = metadata.plan(d, metadata.fusedAttention(d))
    if d.contextLength > plan.positions {
      metadata.report(
        "a context of \(d.contextLength) (supported: up to \(plan.positions) learned positions)")
    }
    return plan
  }
}
