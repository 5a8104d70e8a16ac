// From the fields of config.json to the shape of a decoder, its activation and its windows.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The names of the fields that hold a decoder's sizes, and what `transformers` takes where they
/// are absent.
struct ShapeFields {
  typealias Field = (name: String, absent: Int?)

  var vocabularySize: Field = ("vocab_size", nil)
  var width: Field = ("hidden_size", nil)
  var feedForwardWidth: Field = ("intermediate_size", nil)
  var layers: Field = ("num_hidden_layers", nil)
  var heads: Field = ("num_attention_heads", nil)
  /// As many as heads where absent.
  var keyValueHeads: Field? = ("num_key_value_heads", nil)
  /// width / heads where absent.
  var headWidth: Field? = ("head_dim", nil)
  var contextLength: Field = ("max_position_embeddings", 2048)
  var normEpsilon: (name: String, absent: Double) = ("rms_norm_eps", 1e-6)
  var activation: (name: String, absent: String) = ("hidden_act", "silu")
}

extension ConfigurationReader {
  /// Largest size we believe a configuration: far beyond any model, and safe to multiply in pairs.
  static let sizeLimit = 1 << 24
  static let headLimit = 1 << 16
  static let layerLimit = 4096

  /// A decoder of those sizes, with `parts`, still without rotary tables.
  func description(
    _ fields: ShapeFields = ShapeFields(), norm: DecoderNorm = .rms, parts: DecoderParts = [.gate]
  ) throws(ImportError) -> DecoderDescription {
    let limit = ConfigurationReader.sizeLimit
    func size(_ field: ShapeFields.Field, _ limit: Int) throws(ImportError) -> Int {
      try self.size(field.name, limit: limit, default: field.absent)
    }
    let width = try size(fields.width, limit)
    let heads = try size(fields.heads, ConfigurationReader.headLimit)
    var keyValueHeads = heads
    if let field = fields.keyValueHeads {
      keyValueHeads = try self.size(
        field.name, limit: ConfigurationReader.headLimit, default: field.absent ?? heads)
    }
    guard heads % keyValueHeads == 0 else {
      throw .bad(
        .outOfRange, file: path, field: named(fields.keyValueHeads?.name ?? "heads"),
        "\(keyValueHeads) does not divide \(fields.heads.name) \(heads)")
    }
    var headWidth = width / heads
    if let field = fields.headWidth {
      headWidth = try self.size(
        field.name, limit: ConfigurationReader.headLimit, default: field.absent ?? headWidth)
    }
    guard headWidth > 0, headWidth <= ConfigurationReader.headLimit else {
      throw .bad(
        .outOfRange, file: path, field: named(fields.heads.name),
        "\(heads) heads in a width of \(width) leave \(headWidth) elements for each, "
          + "not 1 to \(ConfigurationReader.headLimit)")
    }
    statedContext = try size(fields.contextLength, limit)
    var description = DecoderDescription(
      vocabularySize: try size(fields.vocabularySize, limit), width: width,
      feedForwardWidth: try size(fields.feedForwardWidth, limit),
      layers: try size(fields.layers, ConfigurationReader.layerLimit), queryHeads: heads,
      keyValueHeads: keyValueHeads, headWidth: headWidth,
      contextLength: context ?? statedContext, norm: norm,
      normEpsilon: Float(try positive(fields.normEpsilon.name, default: fields.normEpsilon.absent)),
      parts: parts, rotary: [])
    description.activation = activation(fields.activation.name, absent: fields.activation.absent)
    return description
  }

  /// Marks the head as the embedding where the configuration says so.
  func tie(_ description: inout DecoderDescription, absent: Bool) throws(ImportError) {
    if try flag("tie_word_embeddings", default: absent) { description.parts.insert(.tiedHead) }
  }

  // MARK: - Activation

  private static let activations: [String: DecoderActivation] = [
    "silu": .silu, "swish": .silu, "gelu": .geluErf, "gelu_python": .geluErf,
    "gelu_new": .geluTanh, "gelu_fast": .geluTanh, "gelu_pytorch_tanh": .geluTanh,
    "gelu_accurate": .geluTanh, "gelu_python_tanh": .geluTanh, "quick_gelu": .quickGelu,
    "relu": .relu,
  ]

  /// The activation of that field; an unknown one is reported.
  private func activation(_ field: String, absent: String) -> DecoderActivation {
    let value = value(field) ?? .string(absent)
    if let name = value.text, let activation = Self.activations[name] { return activation }
    report(
      field, value,
      supported: Self.activations.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", "))
    return .silu
  }

  // MARK: - Windows

  /// Which layers see a window only: `layer_types`, or what `slides` says where that is absent.
  func slidingLayers(
    _ layers: Int, absent slides: (Int) -> Bool
  ) throws(ImportError) -> [Bool] {
    guard let types = value("layer_types") else { return (0..<layers).map(slides) }
    guard let list = types.array, list.count == layers else {
      throw .bad(
        .outOfRange, file: path, field: named("layer_types"),
        "is \(types.summary), not a list of \(layers) names")
    }
    var others: Set<String> = []
    let sliding = list.map { type in
      if type.text != "full_attention", type.text != "sliding_attention" {
        others.insert(printableName(type.summary, limit: 64))
      }
      return type.text == "sliding_attention"
    }
    for other in others.sorted() {
      report(
        "config.json: \(named("layer_types")) has \(other) "
          + "(supported: \"full_attention\", \"sliding_attention\")")
    }
    return sliding
  }
}

extension DecoderDescription {
  /// Gives the layers a window where `slides` says so; one as long as the context is none.
  mutating func setWindow(_ window: Int?, _ slides: [Bool]) {
    guard let window, window < contextLength else { return }
    for (layer, slides) in slides.enumerated() where slides {
      attention[layer].window = window
    }
  }
}
