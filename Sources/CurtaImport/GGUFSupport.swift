// Everything in a GGUF file that Curta cannot do, found in one look.
// SPDX-License-Identifier: Apache-2.0

extension GGUFDecoder {
  /// Keys of the architecture that change nothing, or that `description` reads.
  private static let knownKeys: Set<String> = [
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon", "rope.freq_base",
  ]

  /// Everything unsupported, each with what is supported; empty where the file can be read.
  func unsupported() throws(ImportError) -> [String] {
    var problems: [String] = []
    guard let architecture = try file.text("general.architecture") else {
      throw .bad(
        .missingField, file: file.path, field: "general.architecture", "is missing",
        advice: "check that this file holds a language model")
    }
    if architecture != "llama" {
      problems.append("general.architecture = \"\(shown(architecture))\" (supported: \"llama\")")
    }
    if let type = try file.text("general.type"), type != "model" {
      problems.append("general.type = \"\(shown(type))\" (supported: \"model\")")
    }
    if let parts = file.metadata["split.count"]?.value.integer, parts > 1 {
      problems.append(
        "split.count = \(parts) (supported: one file; join them with llama-gguf-split --merge)")
    }
    if architecture == "llama" {
      problems += unsupportedKeys()
      problems += unknownTensors()
    }
    return problems + undecodableTensors()
  }

  /// Keys of "llama" that ask for something else than a plain Llama.
  private func unsupportedKeys() -> [String] {
    let keys = file.metadata.keys.filter { $0.hasPrefix("llama.") }.sorted()
    // Without a type the factor counts; with "none" nothing about scaling does.
    let scaling = "llama.rope.scaling."
    let scalingType = text(scaling + "type")
    var problems: [String] = []
    for key in keys {
      guard let value = file.metadata[key]?.value else { continue }
      let name = String(key.dropFirst("llama.".count))
      if GGUFDecoder.knownKeys.contains(name) {
        if case .array = value {
          problems.append("\(key) is \(value.kind) (supported: one number for all layers)")
        }
        continue
      }
      if key.hasPrefix(scaling), key != scaling + "type", scalingType == "none" { continue }
      guard let supported = neutral(name, value) else { continue }
      problems.append("\(key) = \(shown(key, value)) (supported: \(supported))")
    }
    return problems
  }

  /// What would be supported for a key, nil where its value is.
  private func neutral(_ name: String, _ value: GGUFValue) -> String? {
    switch name {
    case "attention.key_length": return value.integer != nil ? nil : "an integer"
    case "attention.value_length", "rope.dimension_count":
      // Where the width is no size, `description` says so.
      guard let headWidth else { return nil }
      return value.integer == headWidth ? nil : "the width of a head, \(headWidth)"
    case "rope.scaling.type": return text("llama." + name) == "none" ? nil : "\"none\""
    case "rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor", "logit_scale",
      "residual_scale", "embedding_scale":
      return value.number == 1 || value.number == 0 ? nil : "1"
    case "rope.scaling.original_context_length", "rope.scaling.finetuned": return nil
    case "expert_count", "expert_used_count", "attention.sliding_window", "attention.clamp_kqv",
      "attention.max_alibi_bias", "attention.scale":
      return value.number == 0 ? nil : "0"
    case "use_parallel_residual": return value == .bool(false) ? nil : "false"
    case "attention.causal": return value == .bool(true) ? nil : "true"
    case "tensor_data_layout":
      return text("llama." + name) == "Meta AI original pth" ? nil : "\"Meta AI original pth\""
    default: return "not known for a plain Llama"
    }
  }

  /// The width of a head, as far as the metadata make sense.
  private var headWidth: Int? {
    let key = file.metadata["llama.attention.key_length"]?.value.integer
    let width = file.metadata["llama.embedding_length"]?.value.integer
    let heads = file.metadata["llama.attention.head_count"]?.value.integer
    if let key { return key }
    guard let width, let heads, width > 0, heads > 0 else { return nil }
    return width / heads
  }

  private func text(_ key: String) -> String? { (try? file.text(key)) ?? nil }

  private func shown(_ key: String, _ value: GGUFValue) -> String {
    text(key).map { "\"\(shown($0))\"" } ?? value.kind
  }

  /// A text of the file, short enough for a line.
  private func shown(_ text: String) -> String { printableName(text, limit: 64) }

  // MARK: - Tensors

  /// Tensors that a plain Llama does not have, layers counted together.
  private func unknownTensors() -> [String] {
    // Where there is no number of layers, `description` says so.
    let layers = file.metadata["llama.block_count"]?.value.integer ?? .max
    var counts: [String: Int] = [:]
    for tensor in file.tensors where !isKnown(tensor.name, layers: layers) {
      counts[layerPattern(tensor.name), default: 0] += 1
    }
    return counts.sorted { $0.key < $1.key }.map { pattern, count in
      let what =
        if pattern.hasPrefix("rope_freqs") {
          "a table of rotary frequencies (supported: a base alone)"
        } else if pattern.hasSuffix(".bias") {
          "a bias (supported: none)"
        } else if pattern.contains("_exps") || pattern.contains("_shexp") {
          "experts (supported: one feed-forward network)"
        } else {
          "a plain Llama has no such tensor"
        }
      return "\(printableName(pattern, limit: 64))\(times(count)): \(what)"
    }
  }

  private func isKnown(_ name: String, layers: Int) -> Bool {
    if ["token_embd.weight", "output_norm.weight", "output.weight"].contains(name) { return true }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "blk", parts[3] == "weight",
      let layer = Int(parts[1]), (0..<max(0, layers)).contains(layer), "\(layer)" == parts[1]
    else { return false }
    return GGUFDecoder.layerNames.contains(String(parts[2]))
  }

  private func undecodableTensors() -> [String] {
    var names: [GGUFTensorType: [String]] = [:]
    for tensor in file.tensors where !tensor.type.isDecodable {
      names[tensor.type, default: []].append(tensor.name)
    }
    return names.sorted { $0.key.rawValue < $1.key.rawValue }.map { type, names in
      printableName(names[0], limit: 64)
        + (names.count > 1 ? " and \(names.count - 1) more" : "")
        + ": tensor type \(type.name) (supported: \(GGUFTensorType.decodableNames))"
    }
  }

  /// `blk.3.attn_q.bias` is one of the `blk.*.attn_q.bias`.
  private func layerPattern(_ name: String) -> String {
    name.split(separator: ".", omittingEmptySubsequences: false)
      .map { !$0.isEmpty && $0.allSatisfy(\.isNumber) ? "*" : String($0) }
      .joined(separator: ".")
  }

  private func times(_ count: Int) -> String { count > 1 ? " (\(count) tensors)" : "" }
}

/// A name from a file for a message: without control characters, at most `limit` characters.
func printableName(_ text: String, limit: Int) -> String {
  let clean = String(
    String.UnicodeScalarView(
      text.unicodeScalars.prefix(limit).map {
        $0.properties.generalCategory == .control ? "\u{FFFD}" : $0
      }))
  return text.unicodeScalars.count > limit ? clean + "…" : clean
}
