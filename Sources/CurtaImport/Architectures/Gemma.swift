// Gemma 1, 2 and 3: norms of 1 + w, a scaled embedding, and from 2 on norms behind every block.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

enum Gemma {
  /// Scales the embedding by √width. A head that is the embedding gets the scale back from the
  /// final norm, so that the logits stay what they are.
  ///
  /// - Parameter plus: 1 where the file has the w of 1 + w.
  static func scale(_ plan: inout DecoderPlan, plus: Float) {
    let norms: [DecoderModule] = [
      .finalNorm, .attentionNorm, .attentionPostNorm, .feedForwardNorm, .feedForwardPostNorm,
      .queryNorm, .keyNorm,
    ]
    for norm in norms { plan.modules[norm]?.plus = plus }
    let scale = Float(plan.description.width).squareRoot()
    plan.modules[.embedding]?.times = scale
    if plan.description.tiedHead { plan.modules[.finalNorm]?.times = 1 / scale }
  }

  private static func fields(_ heads: Int?, _ context: Int) -> ShapeFields {
    var fields = ShapeFields()
    fields.keyValueHeads?.absent = heads
    fields.headWidth?.absent = 256
    fields.contextLength.absent = context
    return fields
  }

  // MARK: - Gemma 1

  static func gemma(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = fields(16, 8192)
    fields.activation.absent = "gelu_pytorch_tanh"
    var d = try config.description(fields)
    // Its makers wrote "gelu" and meant the tanh form; `hidden_activation` says what counts.
    if d.activation == .geluErf { d.activation = .geluTanh }
    config.require("hidden_activation", "\"gelu_pytorch_tanh\"") {
      $0.text == "gelu_pytorch_tanh" || $0.text == "gelu"
    }
    if try config.flag("attention_bias", default: false) {
      d.parts.formUnion(Llama.attentionBiases)
    }
    try config.tie(&d, absent: true)
    try config.setRotary(&d)
    var plan = Llama.plan("gemma", d)
    scale(&plan, plus: 1)
    return plan
  }

  // MARK: - Gemma 2

  static let postNormModules: [DecoderModule: ModuleView] = [
    .attentionPostNorm: "post_attention_layernorm",
    .feedForwardNorm: "pre_feedforward_layernorm",
    .feedForwardPostNorm: "post_feedforward_layernorm",
  ]

  static func gemma2(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = fields(4, 8192)
    fields.heads.absent = 8
    fields.activation = ("hidden_activation", "gelu_pytorch_tanh")
    var d = try describe(config, fields, caps: (score: 50, logit: 30), window: 4096) {
      $0 % 2 == 0
    }
    try config.setRotary(&d)
    var plan = Llama.plan("gemma2", d, postNormModules)
    scale(&plan, plus: 1)
    return plan
  }

  /// What Gemma 2 and 3 have in common.
  private static func describe(
    _ config: ConfigurationReader, _ fields: ShapeFields, caps: (score: Double?, logit: Double?),
    window: Int, slides: (Int) -> Bool
  ) throws(ImportError) -> DecoderDescription {
    var d = try config.description(fields, parts: [.gate, .postNorms])
    if try config.flag("attention_bias", default: false) {
      d.parts.formUnion(Llama.attentionBiases)
    }
    // Named by the older files, and read by nobody.
    _ = config.value("hidden_act")
    try config.tie(&d, absent: true)
    d.scoreScale = 1 / (try config.positive("query_pre_attn_scalar", default: 256)).squareRoot()
    func cap(_ field: String, _ absent: Double?) throws(ImportError) -> Double? {
      try config.has(field) ? config.positive(field) : absent
    }
    d.scoreCap = try cap("attn_logit_softcapping", caps.score)
    d.logitCap = try cap("final_logit_softcapping", caps.logit)
    let isWithout = config.has("sliding_window") && config.value("sliding_window") == nil
    let window = try config.size(
      "sliding_window", limit: ConfigurationReader.sizeLimit, default: window)
    d.setWindow(isWithout ? nil : window, try config.slidingLayers(d.layers, absent: slides))
    return d
  }

  // MARK: - Gemma 3

  static func gemma3Text(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var fields = fields(4, 131_072)
    fields.vocabularySize.absent = 262_208
    fields.width.absent = 2304
    fields.feedForwardWidth.absent = 9216
    fields.layers.absent = 26
    fields.heads.absent = 8
    fields.activation = ("hidden_activation", "gelu_pytorch_tanh")
    let pattern = try config.size("sliding_window_pattern", limit: 1 << 16, default: 6)
    let slides: (Int) -> Bool = { ($0 + 1) % pattern != 0 }
    var d = try describe(
      config, fields, caps: (score: nil, logit: nil), window: 4096, slides: slides)
    d.parts.insert(.headNorms)
    try setRotary(&d, config, sliding: config.slidingLayers(d.layers, absent: slides))
    var plan = Llama.plan("gemma3_text", d, postNormModules)
    scale(&plan, plus: 1)
    return plan
  }

  /// Two tables: layers that see everything, and layers that see a window.
  private static func setRotary(
    _ d: inout DecoderDescription, _ config: ConfigurationReader, sliding: [Bool]
  ) throws(ImportError) {
    // Newer files have an object for each kind of layer.
    let nested = try config.object("rope_parameters")
    config.require("rope_parameters", "an object for each kind of layer") {
      $0["full_attention"] != nil || $0["sliding_attention"] != nil
    }
    let scaling = try config.object("rope_scaling")
    let full = try config.rotary(
      nested?.object("full_attention") ?? scaling, d, RotaryDefaults(base: 1_000_000))
    let local = try config.rotary(
      nested?.object("sliding_attention"), d, RotaryDefaults(baseField: "rope_local_base_freq"))
    if let problem = d.setRotary([full, local]) { config.report("config.json: " + problem) }
    for (layer, isSliding) in sliding.enumerated() {
      d.attention[layer].rotary = isSliding ? 1 : 0
    }
  }

  /// The text part of a model that sees images as well.
  static func gemma3(
    _ config: ConfigurationReader, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    guard let text = try config.part("text_config") else {
      return try gemma3Text(config, tensors)
    }
    defer { text.problems.forEach(config.report) }
    var plan = try gemma3Text(text, tensors)
    text.reportUnread()
    plan.prefixes = ["language_model.model.", "model.language_model."]
    plan.ignored = { name in
      ["vision_tower.", "multi_modal_projector."].contains { part in
        name.hasPrefix(part) || name.hasPrefix("model." + part)
      }
    }
    return plan
  }
}

// MARK: - GGUF

extension Gemma {
  /// llama.cpp's files hold 1 + w already. They do not say which scale the scores have: it is that
  /// of the width of a head, but for the models of 27 billion, known by their number of layers.
  private static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog, parts: DecoderParts,
    largeLayers: Int? = nil
  ) throws(ImportError) -> DecoderDescription {
    var d = try metadata.description(tensors, parts: parts)
    d.activation = .geluTanh
    d.parts.formUnion(metadata.biases(tensors))
    if d.layers == largeLayers {
      d.scoreScale = 1 / Double(d.width / d.queryHeads).squareRoot()
    }
    if let scale = try metadata.positiveIfAny("attention.scale") { d.scoreScale = scale }
    return d
  }

  private static func ggufPlan(
    _ metadata: GGUFMetadata, _ d: DecoderDescription
  ) -> DecoderPlan {
    var plan = metadata.plan(d)
    scale(&plan, plus: 0)
    return plan
  }

  static func gguf(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try gguf(metadata, tensors, parts: [.gate])
    try metadata.setRotary(&d, tensors)
    return ggufPlan(metadata, d)
  }

  static func gguf2(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try gguf(metadata, tensors, parts: [.gate, .postNorms], largeLayers: 46)
    d.scoreCap = try metadata.positiveIfAny("attn_logit_softcapping") ?? 50
    d.logitCap = try metadata.positiveIfAny("final_logit_softcapping") ?? 30
    d.setWindow(try metadata.window(default: 4096), try metadata.slidingLayers(d.layers, every: 2))
    try metadata.setRotary(&d, tensors)
    return ggufPlan(metadata, d)
  }

  static func gguf3(
    _ metadata: GGUFMetadata, _ tensors: TensorCatalog
  ) throws(ImportError) -> DecoderPlan {
    var d = try gguf(metadata, tensors, parts: [.gate, .postNorms, .headNorms], largeLayers: 62)
    d.logitCap = try metadata.positiveIfAny("final_logit_softcapping")
    // Without a window no layer slides, whatever the pattern says.
    let window = try metadata.window()
    let sliding = try metadata.slidingLayers(d.layers, every: 6).map { $0 && window != nil }
    d.setWindow(window, sliding)
    // The scaling is for the layers that see everything.
    let full = try metadata.rotary(d, tensors, base: 1_000_000)
    let base = try metadata.positive("rope.freq_base_swa", default: 10000)
    let local = ScaledRotary(
      table: RotaryTable(
        base: base, width: 2 * full.table.frequencies.count, pairing: .halfSplit))
    if let problem = d.setRotary([full, local]) { metadata.report(problem) }
    for (layer, isSliding) in sliding.enumerated() {
      d.attention[layer].rotary = isSliding ? 1 : 0
    }
    return ggufPlan(metadata, d)
  }
}
