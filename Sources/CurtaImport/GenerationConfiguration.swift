// What the makers of a model suggest for its use: generation_config.json.
// SPDX-License-Identifier: Apache-2.0

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
