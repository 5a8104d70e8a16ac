// Phi 1, 1.5 and 2 (one layer norm for both blocks, biases everywhere), and Phi 3 (fused matrices).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum Phi {
  static func folder(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    let fields = ShapeFields(
      headWidth: nil, normEpsilon: ("layer_norm_eps", 1e-5),
      activation: ("hidden_act", "gelu_new"))
    var d = try config.description(
      fields, norm: .layer,
      parts: [.normBias, .upBias, .downBias, .headBias, .parallel, .sharedNorm])
    d.parts.formUnion(Llama.attentionBiases)
    try config.tie(&d, absent: false)
    try config.setRotary(&d, RotaryDefaults(fraction: 0.5, turnsParts: true))
    return Llama.plan(
      "phi", d,
      [
        .finalNorm: "final_layernorm", .output: "self_attn.dense", .up: "mlp.fc1",
        .down: "mlp.fc2",
      ])
  }

  static func phi3(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = ShapeFields()
    fields.contextLength.absent = 4096
    fields.normEpsilon.absent = 1e-5
    var d = try config.description(fields)
    try config.tie(&d, absent: false)
    try config.setRotary(&d, RotaryDefaults(turnsParts: true, readsYarnAsLong: true))
    if config.value("sliding_window") != nil {
      let window = try config.size("sliding_window", limit: ConfigurationReader.sizeLimit)
      d.setWindow(window, [Bool](repeating: true, count: d.layers))
    }
    return Llama.plan("phi3", d, fusedModules(d, "self_attn.qkv_proj", "mlp.gate_up_proj"))
  }

  /// q, k and v below each other in one matrix, gate and up in another.
  static func fusedModules(
    _ d: DecoderDescription, _ attention: String, _ feedForward: String
  ) -> [DecoderModule: ModuleView] {
    let heads = [d.queryWidth, d.keyValueWidth, d.keyValueWidth]
    let halves = [d.feedForwardWidth, d.feedForwardWidth]
    func part(_ name: String, _ index: Int, _ sizes: [Int]) -> ModuleView {
      ModuleView(name).part(FusedRows(part: index, of: sizes))
    }
    return [
      .query: part(attention, 0, heads), .key: part(attention, 1, heads),
      .value: part(attention, 2, heads), .gate: part(feedForward, 0, halves),
      .up: part(feedForward, 1, halves),
    ]
  }
}

// MARK: - GGUF

extension Phi {
  /// Older files have q, k and v in one matrix, newer ones do not.
  static func gguf2(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors, norm: .layer, parts: [.parallel, .sharedNorm])
    d.activation = .geluTanh
    d.parts.formUnion(metadata.biases(tensors))
    try metadata.setRotary(&d, tensors)
    let isFused = tensors.has("blk.0.attn_qkv.weight")
    return metadata.plan(d, isFused ? metadata.fusedAttention(d) : [:])
  }

  static func gguf3(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors)
    try metadata.setRotary(&d, tensors)
    d.setWindow(try metadata.window(), [Bool](repeating: true, count: d.layers))
    return metadata.plan(d, fusedModules(d, "attn_qkv", "ffn_up"))
  }
}
