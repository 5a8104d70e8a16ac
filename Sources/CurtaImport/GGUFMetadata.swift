// The metadata of one architecture in a GGUF file, which remembers what was asked for.
// SPDX-License-Identifier: Apache-2.0

/// Typed access to the keys of the form "ARCHITECTURE.name".
///
/// Readers throw for a value that makes no sense. What makes sense but is beyond us goes to
/// `problems`, so that all of it can be told at once.
final class GGUFMetadata {
  let file: GGUFFile
  let architecture: String
  /// The context that somebody asks for; nil: the one that the file states.
  let context: Int?
  /// The context that the file states; `description` sets it.
  var statedContext = 0
  private var seen: Set<String> = []
  private(set) var problems: [String] = []

  init(_ file: GGUFFile, architecture: String, context: Int?) {
    self.file = file
    self.architecture = architecture
    self.context = context
  }

  func report(_ problem: String) { problems.append(problem) }

  func key(_ name: String) -> String { "\(architecture).\(name)" }

  /// The value of a key; nil where there is none. A list for the layers is reported, and absent.
  private func one(_ name: String) -> GGUFEntry? {
    seen.insert(name)
    guard let entry = file.metadata[key(name)] else { return nil }
    if case .array = entry.value {
      report("\(key(name)) is \(entry.value.kind) (supported: one value for all layers)")
      return nil
    }
    return entry
  }

  func has(_ name: String) -> Bool {
    seen.insert(name)
    return file.metadata[key(name)] != nil
  }

  func isList(_ name: String) -> Bool {
    if case .array = file.metadata[key(name)]?.value { return true }
    return false
  }

  func bad(_ name: String, _ detail: String) -> ImportError {
    .bad(
      .outOfRange, file: file.path, field: key(name), offset: file.metadata[key(name)]?.offset,
      detail)
  }

  func integer(
    _ name: String, in range: ClosedRange<Int>, default absent: Int? = nil
  ) throws(ImportError) -> Int {
    guard one(name) != nil else {
      if isList(name) { return range.lowerBound }
      return try file.integer(key(name), in: range, default: absent)
    }
    return try file.integer(key(name), in: range)
  }

  /// A number above zero and far from overflow.
  func positive(_ name: String, default absent: Double? = nil) throws(ImportError) -> Double {
    guard one(name) != nil else {
      if isList(name) { return 1 }
      return try file.positive(key(name), default: absent)
    }
    let value = try file.positive(key(name))
    guard value >= 1e-30, value <= 1e30 else { throw bad(name, "\(value) is far out of range") }
    return value
  }

  /// The same; nil where it is absent or zero, which stands for absent.
  func positiveIfAny(_ name: String) throws(ImportError) -> Double? {
    guard let entry = one(name), entry.value.number != 0 else { return nil }
    return try positive(name)
  }

  func flag(_ name: String, default absent: Bool) throws(ImportError) -> Bool {
    guard one(name) != nil else { return absent }
    return try file.flag(key(name), default: absent)
  }

  func text(_ name: String) throws(ImportError) -> String? {
    guard one(name) != nil else { return nil }
    return try file.text(key(name))
  }

  // MARK: - What nobody has asked for

  /// Reports every key of the architecture that nobody has read and that is not neutral.
  func reportUnread() {
    let prefix = architecture + "."
    for key in file.metadata.keys.sorted() where key.hasPrefix(prefix) {
      let name = String(key.dropFirst(prefix.count))
      guard !seen.contains(name), let value = file.metadata[key]?.value,
        let supported = neutral(name, value)
      else { continue }
      report("\(printableName(key, limit: 96)) = \(shown(key, value)) (supported: \(supported))")
    }
  }

  /// What would be supported for a key, nil where its value is.
  private func neutral(_ name: String, _ value: GGUFValue) -> String? {
    switch name {
    case "logit_scale", "residual_scale", "embedding_scale", "rope.scaling.attn_factor":
      return value.number == 1 || value.number == 0 ? nil : "1"
    case "rope.scaling.finetuned", "rope.scaling.original_context_length", "vocab_size",
      "rope.scaling.yarn_log_multiplier", "attention.layer_norm_epsilon",
      "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_sections":
      return nil
    case "expert_count", "expert_used_count", "attention.sliding_window", "attention.clamp_kqv",
      "attention.max_alibi_bias", "attention.scale", "attn_logit_softcapping",
      "final_logit_softcapping", "leading_dense_block_count", "nextn_predict_layers":
      return value.number == 0 ? nil : "0"
    case "use_parallel_residual": return value == .bool(false) ? nil : "false"
    case "attention.causal": return value == .bool(true) ? nil : "true"
    case "tensor_data_layout":
      let text = (try? file.text(key(name))) ?? nil
      return text == "Meta AI original pth" ? nil : "\"Meta AI original pth\""
    default: return "not known for \(architecture)"
    }
  }

  private func shown(_ key: String, _ value: GGUFValue) -> String {
    ((try? file.text(key)) ?? nil).map { "\"\(printableName($0, limit: 64))\"" } ?? value.kind
  }
}
