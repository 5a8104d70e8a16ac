// Qwen 2 (biases of q, k and v) and Qwen 3 (norms of the heads of q and k).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum Qwen {
  static func qwen2(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = ShapeFields()
    fields.headWidth = nil
    var d = try describe(config, fields)
    d.parts.formUnion([.queryBias, .keyBias, .valueBias])
    return Llama.plan("qwen2", d)
  }

  static func qwen3(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = ShapeFields()
    fields.headWidth?.absent = 128
    var d = try describe(config, fields)
    d.parts.insert(.headNorms)
    if try config.flag("attention_bias", default: false) {
      d.parts.formUnion(Llama.attentionBiases)
    }
    return Llama.plan("qwen3", d)
  }

  private static func describe(
    _ config: ConfigurationReader, _ given: ShapeFields
  ) throws(ImportError) -> DecoderDescription {
    var fields = given
    // null stands for as many as there are query heads.
    if !config.has("num_key_value_heads") { fields.keyValueHeads?.absent = 32 }
    fields.contextLength.absent = 32768
    var d = try config.description(fields)
    try config.tie(&d, absent: false)
    try config.setRotary(&d)
    let uses = try config.flag("use_sliding_window", default: false)
    let hasNone = config.has("sliding_window") && config.value("sliding_window") == nil
    let window = try config.size(
      "sliding_window", limit: ConfigurationReader.sizeLimit, default: 4096)
    let first = config.value("max_window_layers")?.integer ?? 28
    let slides = try config.slidingLayers(d.layers) { uses && !hasNone && $0 >= first }
    d.setWindow(uses && !hasNone ? window : nil, slides)
    return d
  }
}

// MARK: - GGUF

extension Qwen {
  /// Either of the two; the biases are where the file has them.
  static func gguf2(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    try gguf(metadata, tensors, parts: [.gate])
  }

  static func gguf3(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    try gguf(metadata, tensors, parts: [.gate, .headNorms])
  }

  private static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog, parts: DecoderParts
  ) throws(ImportError) -> DecoderPlan {
    var d = try metadata.description(tensors, parts: parts)
    d.parts.formUnion(metadata.biases(tensors))
    try metadata.setRotary(&d, tensors)
    return metadata.plan(d)
  }
}
