// Reads the config.json of a Hugging Face Llama folder and says what in it we cannot do.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// What a Llama `config.json` says.
struct LlamaConfiguration {
  let description: DecoderDescription
  let bos: Int32?
  let eos: [Int32]

  /// Largest size we believe a config: far beyond any model, and safe to multiply in pairs.
  private static let sizeLimit = 1 << 24

  /// Throws `unsupported` with everything that is, or the first field that makes no sense.
  init(_ path: String) throws(ImportError) {
    let config = try ConfigurationReader(path)
    let problems = LlamaConfiguration.unsupported(config)
    guard problems.isEmpty else { throw .unsupported(problems) }

    let limit = LlamaConfiguration.sizeLimit
    let width = try config.size("hidden_size", limit: limit)
    let queryHeads = try config.size("num_attention_heads", limit: 1 << 16)
    let keyValueHeads = try config.size(
      "num_key_value_heads", limit: 1 << 16, default: queryHeads)
    let headWidth = try config.size("head_dim", limit: 1 << 16, default: width / queryHeads)
    guard queryHeads % keyValueHeads == 0 else {
      throw .bad(
        .outOfRange, file: path, field: "num_key_value_heads",
        "\(keyValueHeads) does not divide num_attention_heads \(queryHeads)")
    }
    guard headWidth > 0, headWidth % 2 == 0 else {
      throw .bad(
        .outOfRange, file: path, field: "head_dim", "\(headWidth) is not a positive even number")
    }
    description = DecoderDescription(
      vocabularySize: try config.size("vocab_size", limit: limit), width: width,
      feedForwardWidth: try config.size("intermediate_size", limit: limit),
      layers: try config.size("num_hidden_layers", limit: 4096), queryHeads: queryHeads,
      keyValueHeads: keyValueHeads, headWidth: headWidth,
      contextLength: try config.size("max_position_embeddings", limit: limit, default: 2048),
      normEpsilon: Float(try config.positive("rms_norm_eps", default: 1e-6)),
      ropeBase: try LlamaConfiguration.ropeBase(config), ropePairing: .halfSplit,
      tiedHead: try config.flag("tie_word_embeddings", default: false))
    let vocabularySize = description.vocabularySize
    bos = try config.tokens("bos_token_id", vocabularySize: vocabularySize)?.first
    eos = try config.tokens("eos_token_id", vocabularySize: vocabularySize) ?? []
  }

  /// Newer configs keep the base in `rope_parameters`.
  private static func ropeBase(_ config: ConfigurationReader) throws(ImportError) -> Double {
    for group in ["rope_parameters", "rope_scaling"] {
      if let value = config.value(group)?["rope_theta"] {
        return try config.positive(value, "\(group).rope_theta")
      }
    }
    return try config.positive("rope_theta", default: 10000)
  }

  /// Everything in the config that we cannot do, each with what we can.
  private static func unsupported(_ config: ConfigurationReader) -> [String] {
    var problems: [String] = []
    func check(_ field: String, _ isFine: (StrictJSON) -> Bool, supported: String) {
      guard let value = config.value(field), !isFine(value) else { return }
      problems.append("config.json: \(field) = \(value.summary) (supported: \(supported))")
    }
    if config.value("model_type") == nil {
      problems.append("config.json: no model_type (supported: \"llama\")")
    }
    check("model_type", { $0.text == "llama" }, supported: "\"llama\"")
    check("hidden_act", { $0.text == "silu" }, supported: "\"silu\"")
    check("attention_bias", { $0.bool == false }, supported: "false")
    check("mlp_bias", { $0.bool == false }, supported: "false")
    check("quantization_config", { _ in false }, supported: "none: give the float checkpoint")
    check("sliding_window", { _ in false }, supported: "null")
    check("partial_rotary_factor", { $0.double == 1 }, supported: "1")
    check("rope_scaling", isPlainRope, supported: "null, or rope_type \"default\"")
    check("rope_parameters", isPlainRope, supported: "null, or rope_type \"default\"")
    return problems
  }

  private static func isPlainRope(_ value: StrictJSON) -> Bool {
    guard let object = value.object else { return false }
    let type = object["rope_type"] ?? object["type"]
    return (type == nil || type?.text == "default")
      && Set(object.keys).isSubset(of: ["rope_type", "type", "rope_theta"])
  }
}

/// Sampling that the makers of a model suggest; nil where they say nothing.
public struct SamplingDefaults: Equatable, Sendable {
  /// 0 where the makers ask for greedy decoding.
  public var temperature: Double?
  public var topK: Int?
  public var topP: Double?
  public var minP: Double?
  public var repetitionPenalty: Double?

  public init() {}
}

/// What a `generation_config.json` says.
struct GenerationConfiguration {
  let bos: Int32?
  let eos: [Int32]?
  let defaults: SamplingDefaults

  init(_ path: String, vocabularySize: Int) throws(ImportError) {
    let config = try ConfigurationReader(path)
    bos = try config.tokens("bos_token_id", vocabularySize: vocabularySize)?.first
    eos = try config.tokens("eos_token_id", vocabularySize: vocabularySize)
    var defaults = SamplingDefaults()
    defaults.temperature = try config.number("temperature", in: 0...1000)
    defaults.topP = try config.number("top_p", in: 0...1)
    defaults.minP = try config.number("min_p", in: 0...1)
    defaults.repetitionPenalty = try config.number("repetition_penalty", in: 0.001...1000)
    if let topK = config.value("top_k") {
      guard let count = topK.integer, count >= 0 else {
        throw .bad(
          .outOfRange, file: path, field: "top_k",
          "is \(topK.summary), not a non-negative integer")
      }
      defaults.topK = count
    }
    if !(try config.flag("do_sample", default: true)) { defaults.temperature = 0 }
    self.defaults = defaults
  }
}

/// Typed access to the fields of a JSON configuration; null counts as absent.
struct ConfigurationReader {
  let path: String
  private let root: [String: StrictJSON]

  init(_ path: String) throws(ImportError) {
    self.path = path
    guard let object = try StrictJSON.file(path).object else {
      throw .bad(.wrongType, file: path, "must be a JSON object")
    }
    root = object
  }

  /// The field, nil where it is absent or null.
  func value(_ field: String) -> StrictJSON? {
    guard let value = root[field], !value.isNull else { return nil }
    return value
  }

  /// An integer in 1…limit.
  func size(
    _ field: String, limit: Int, default absent: Int? = nil
  ) throws(ImportError) -> Int {
    guard let value = value(field) else {
      guard let absent else { throw .bad(.missingField, file: path, field: field, "is missing") }
      return absent
    }
    guard let size = value.integer, size > 0, size <= limit else {
      throw .bad(
        .outOfRange, file: path, field: field,
        "is \(value.summary), not an integer from 1 to \(limit)")
    }
    return size
  }

  func flag(_ field: String, default absent: Bool) throws(ImportError) -> Bool {
    guard let value = value(field) else { return absent }
    guard let flag = value.bool else {
      throw .bad(.wrongType, file: path, field: field, "is \(value.summary), not true or false")
    }
    return flag
  }

  func number(
    _ field: String, in range: ClosedRange<Double>
  ) throws(ImportError) -> Double? {
    guard let value = value(field) else { return nil }
    guard let number = value.double, range.contains(number) else {
      throw .bad(
        .outOfRange, file: path, field: field,
        "is \(value.summary), not a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func positive(_ field: String, default absent: Double) throws(ImportError) -> Double {
    guard let value = value(field) else { return absent }
    return try positive(value, field)
  }

  func positive(_ value: StrictJSON, _ field: String) throws(ImportError) -> Double {
    guard let number = value.double, number > 0 else {
      throw .bad(
        .outOfRange, file: path, field: field, "is \(value.summary), not a positive number")
    }
    return number
  }

  /// One token id or a list of them; nil where absent.
  func tokens(_ field: String, vocabularySize: Int) throws(ImportError) -> [Int32]? {
    guard let value = value(field) else { return nil }
    var result: [Int32] = []
    for element in value.array ?? [value] {
      guard let id = element.integer, id >= 0, id < vocabularySize else {
        throw .bad(
          .outOfRange, file: path, field: field,
          "holds \(element.summary), not a token id below \(vocabularySize)")
      }
      result.append(Int32(id))
    }
    return result
  }
}
