// Rotary tables from config.json: `rope_parameters` of newer files, `rope_theta` and `rope_scaling`
// of older ones.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// What the rotary tables of a model type are where its config.json says nothing.
struct RotaryDefaults {
  var base = 10000.0
  /// The part of a head that turns.
  var fraction = 1.0
  /// Names of the fields that hold them, outside of `rope_parameters`.
  var baseField = "rope_theta"
  var fractionField = "partial_rotary_factor"
  /// Whether the model type can turn a part of a head; others turn all of it or are refused.
  var turnsParts = false
  /// Whether "yarn" and "su" mean "longrope" (Phi-3).
  var readsYarnAsLong = false
}

extension ConfigurationReader {
  /// Adds the one rotary table of most models to a description.
  func setRotary(
    _ description: inout DecoderDescription, _ defaults: RotaryDefaults = RotaryDefaults()
  ) throws(ImportError) {
    let newer = try object("rope_parameters")
    let older = try object("rope_scaling")
    let table = try rotary(newer ?? older, description, defaults)
    if let problem = description.setRotary([table]) { report("config.json: " + problem) }
  }

  /// The table of an object in this configuration, or of the fields around it alone.
  func rotary(
    _ object: ConfigurationReader?, _ d: DecoderDescription, _ defaults: RotaryDefaults
  ) throws(ImportError) -> ScaledRotary {
    let base = try positive(defaults.baseField, default: defaults.base)
    let fraction = try positive(defaults.fractionField, default: defaults.fraction)
    let result: ScaledRotary
    if let object {
      defer { object.problems.forEach(report) }
      result = try object.table(d, base: base, fraction: fraction, defaults, outer: self)
    } else {
      result = try table(.none, d, base: base, fraction: fraction)
    }
    if !defaults.turnsParts, 2 * result.table.frequencies.count != d.headWidth {
      report(
        "config.json: \(2 * result.table.frequencies.count) of \(d.headWidth) elements of a head "
          + "turn (supported for this model_type: all)")
    }
    return result
  }

  private func table(
    _ scaling: RotaryScaling, magnitude: Double = 1, _ d: DecoderDescription, base: Double,
    fraction: Double
  ) throws(ImportError) -> ScaledRotary {
    let width = turningWidth(d, fraction)
    guard fraction <= 1, width > 0, width % 2 == 0 else {
      throw .bad(
        .outOfRange, file: path, field: named("head_dim"),
        "a part of \(fraction) of \(d.headWidth) elements of a head turns, "
          + "not a positive even number of them")
    }
    let frequencies = scaling.frequencies(base: base, width: width)
    guard frequencies.allSatisfy(\.isFinite) else {
      throw .bad(
        .outOfRange, file: path, field: named("rope_theta"),
        "\(base) gives frequencies that are no numbers")
    }
    return ScaledRotary(
      table: RotaryTable(frequencies: frequencies, pairing: .halfSplit), magnitude: magnitude)
  }

  /// How many elements of a head turn.
  private func turningWidth(_ d: DecoderDescription, _ fraction: Double) -> Int {
    Int(Double(d.headWidth) * min(fraction, 1))
  }

  // MARK: - Inside rope_parameters or rope_scaling

  private func table(
    _ d: DecoderDescription, base: Double, fraction: Double, _ defaults: RotaryDefaults,
    outer: ConfigurationReader
  ) throws(ImportError) -> ScaledRotary {
    let base = try positive("rope_theta", default: base)
    let fraction = try positive("partial_rotary_factor", default: fraction)
    let width = turningWidth(d, fraction)
    let type = value("rope_type") ?? value("type") ?? .string("default")
    _ = value("type")
    var (scaling, magnitude) = (RotaryScaling.none, 1.0)
    switch type.text {
    case "default": break
    case "linear": scaling = .linear(factor: try factor())
    case "dynamic":
      // At the context that the model was trained for, the base stays.
      scaling = .dynamic(
        factor: try factor(), trained: outer.statedContext, context: d.contextLength)
    case "yarn" where !defaults.readsYarnAsLong:
      (scaling, magnitude) = try yarn(d, outer)
    case "longrope", "su", "yarn":
      (scaling, magnitude) = try long(d, outer, pairs: width / 2)
    case "llama3":
      let trained = try trained(d, outer)
      let low = try required("low_freq_factor")
      let high = try required("high_freq_factor")
      guard low < high else {
        throw .bad(
          .outOfRange, file: path, field: named("high_freq_factor"),
          "is \(high), not above low_freq_factor \(low)")
      }
      scaling = .llama3(factor: try factor(), low: low, high: high, trained: trained)
    default:
      report(
        "rope_type", type,
        supported:
          "\"default\", \"linear\", \"dynamic\", \"yarn\", \"llama3\", \"longrope\"")
    }
    reportUnknownRotary()
    return try table(scaling, magnitude: magnitude, d, base: base, fraction: fraction)
  }

  private func required(_ field: String) throws(ImportError) -> Double {
    guard let value = try positive(field) else {
      throw .bad(.missingField, file: path, field: named(field), "is missing")
    }
    return value
  }

  private func factor() throws(ImportError) -> Double {
    let factor = try required("factor")
    guard factor >= 1 else {
      throw .bad(.outOfRange, file: path, field: named("factor"), "is \(factor), below 1")
    }
    return factor
  }

  /// The context before the scaling. Where the outer configuration has it, that one counts.
  private func trained(
    _ d: DecoderDescription, _ outer: ConfigurationReader
  ) throws(ImportError) -> Int {
    let field = "original_max_position_embeddings"
    let own = try size(field, limit: Self.sizeLimit, default: outer.statedContext)
    return try outer.size(field, limit: Self.sizeLimit, default: own)
  }

  private func yarn(
    _ d: DecoderDescription, _ outer: ConfigurationReader
  ) throws(ImportError) -> (RotaryScaling, Double) {
    let trained = try trained(d, outer)
    let factor =
      value("factor") == nil ? max(1, Double(outer.statedContext) / Double(trained)) : try factor()
    var yarn = RotaryScaling.Yarn(factor: factor, trained: trained)
    yarn.fast = try positive("beta_fast", default: 32)
    yarn.slow = try positive("beta_slow", default: 1)
    yarn.isTruncated = try flag("truncate", default: true)
    var magnitude = RotaryScaling.Yarn.magnitude(factor)
    let (scale, all) = (
      try number("mscale", in: 0...1000) ?? 0, try number("mscale_all_dim", in: 0...1000) ?? 0
    )
    if scale != 0, all != 0 {
      magnitude =
        RotaryScaling.Yarn.magnitude(factor, scale) / RotaryScaling.Yarn.magnitude(factor, all)
    }
    return (.yarn(yarn), try number("attention_factor", in: 0.001...1000) ?? magnitude)
  }

  private func long(
    _ d: DecoderDescription, _ outer: ConfigurationReader, pairs: Int
  ) throws(ImportError) -> (RotaryScaling, Double) {
    let trained = try trained(d, outer)
    let field = d.contextLength > trained ? "long_factor" : "short_factor"
    let short = try positives("short_factor", count: pairs)
    let long = try positives("long_factor", count: pairs)
    guard let divisors = d.contextLength > trained ? long : short else {
      throw .bad(.missingField, file: path, field: named(field), "is missing")
    }
    let factor = try positive("factor") ?? Double(outer.statedContext) / Double(trained)
    let magnitude =
      factor <= 1 || trained < 2
      ? 1 : (1 + log(factor) / log(Double(trained))).squareRoot()
    return (.divisors(divisors), try number("attention_factor", in: 0.001...1000) ?? magnitude)
  }

  /// Fields of a rotary object that nobody has asked for are no decoration.
  private func reportUnknownRotary() {
    let harmless: Set<String> = [
      "factor", "attention_factor", "finetuned", "original_max_position_embeddings",
    ]
    for field in unread where !harmless.contains(field) {
      guard let value = peek(field) else { continue }
      report(field, value, supported: "not known for this rope_type")
    }
  }
}
