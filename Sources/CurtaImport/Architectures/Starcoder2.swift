// StarCoder 2: the layout of Mistral with layer norms, biases and two feed-forward matrices.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum Starcoder2 {
  private static let biases = Llama.attentionBiases.union([.upBias, .downBias])

  static func folder(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = ShapeFields()
    if !config.has("num_key_value_heads") { fields.keyValueHeads?.absent = 2 }
    fields.contextLength.absent = 4096
    fields.normEpsilon = ("norm_epsilon", 1e-5)
    fields.activation.absent = "gelu_pytorch_tanh"
    var d = try config.description(fields, norm: .layer, parts: [.normBias])
    config.require("norm_type", "\"layer_norm\"") { $0.text == "layer_norm" }
    config.require("mlp_type", "\"default\"") { $0.text == "default" }
    if try config.flag("use_bias", default: true) { d.parts.formUnion(biases) }
    try config.tie(&d, absent: true)
    try config.setRotary(&d)
    if config.value("sliding_window") != nil {
      let window = try config.size("sliding_window", limit: ConfigurationReader.sizeLimit)
      d.setWindow(window, [Bool](repeating: true, count: d.layers))
    }
    return Llama.plan("starcoder2", d, [.up: "mlp.c_fc", .down: "mlp.c_proj"])
  }

  static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors, norm: .layer, parts: [])
    d.activation = .geluTanh
    d.parts.formUnion(metadata.biases(tensors))
    try metadata.setRotary(&d, tensors)
    return metadata.plan(d)
  }
}
