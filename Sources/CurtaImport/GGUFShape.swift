// From the metadata of a GGUF file to the shape of a decoder and its rotary table.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension GGUFMetadata {
  static let embeddingName = "token_embd.weight"
  private static let sizes = 1...1 << 24
  private static let heads = 1...1 << 16

  /// A decoder of those sizes, still without rotary tables. Its head is the embedding where the
  /// file has no other.
  func description(
    _ tensors: TensorCatalog, norm: DecoderNorm = .rms, parts: DecoderParts = [.gate]
  ) throws(ImportError) -> DecoderDescription {
    let width = try integer("embedding_length", in: Self.sizes)
    let queryHeads = try integer("attention.head_count", in: Self.heads)
    let keyValueHeads = try integer(
      "attention.head_count_kv", in: Self.heads, default: queryHeads)
    let headWidth = try integer("attention.key_length", in: Self.heads, default: width / queryHeads)
    guard queryHeads % keyValueHeads == 0 else {
      throw bad("attention.head_count_kv", "\(keyValueHeads) does not divide \(queryHeads)")
    }
    guard Self.heads.contains(headWidth) else {
      throw bad(
        "attention.head_count", "\(queryHeads) heads do not divide a width of \(width) well")
    }
    let valueWidth = try integer("attention.value_length", in: Self.heads, default: headWidth)
    if valueWidth != headWidth {
      report(
        "\(key("attention.value_length")) = \(valueWidth) "
          + "(supported: the width of a head, \(headWidth))")
    }
    statedContext = try integer("context_length", in: Self.sizes)
    let epsilon =
      norm == .rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"
    var parts = parts
    if !tensors.has("output.weight") { parts.insert(.tiedHead) }
    if norm == .layer { parts.insert(.normBias) }
    return DecoderDescription(
      vocabularySize: try vocabularySize(tensors), width: width,
      feedForwardWidth: try integer("feed_forward_length", in: Self.sizes),
      layers: try integer("block_count", in: 1...4096), queryHeads: queryHeads,
      keyValueHeads: keyValueHeads, headWidth: headWidth, contextLength: context ?? statedContext,
      norm: norm, normEpsilon: Float(try positive(epsilon)), parts: parts, rotary: [])
  }

  /// Rows of the embedding; the metadata need not say it, but must not say anything else.
  private func vocabularySize(_ tensors: TensorCatalog) throws(ImportError) -> Int {
    let name = Self.embeddingName
    guard let embedding = tensors[name] else {
      throw .bad(.missingTensor, file: file.path, field: name, "is not in the file")
    }
    let rows = embedding.shape.count == 2 ? embedding.shape[0] : 0
    guard Self.sizes.contains(rows) else {
      throw .bad(
        .wrongShape, file: file.path, field: name, offset: embedding.recordOffset,
        "has dimensions \(tensors.written(embedding.shape)), not a matrix of tokens")
    }
    let stated = try integer("vocab_size", in: Self.sizes, default: rows)
    guard stated == rows else {
      throw .bad(
        .contradiction, file: file.path, field: key("vocab_size"),
        offset: file.metadata[key("vocab_size")]?.offset,
        "is \(stated), but \(name) has \(rows) rows")
    }
    return rows
  }

  // MARK: - Rotary

  /// Adds the one rotary table of most models to a description.
  func setRotary(
    _ d: inout DecoderDescription, _ tensors: TensorCatalog, base: Double = 10000
  ) throws(ImportError) {
    let table = try rotary(d, tensors, base: base)
    if let problem = d.setRotary([table]) { report(problem) }
  }

  /// The table, with what `rope.scaling.*` and the tensors of divisors say.
  func rotary(
    _ d: DecoderDescription, _ tensors: TensorCatalog, base: Double = 10000
  ) throws(ImportError) -> ScaledRotary {
    let width = try integer("rope.dimension_count", in: 1...1 << 16, default: d.headWidth)
    guard width % 2 == 0, width <= d.headWidth else {
      throw bad(
        "rope.dimension_count",
        "\(width) of \(d.headWidth) elements of a head turn, not a positive even number")
    }
    let base = try positive("rope.freq_base", default: base)
    var (scaling, magnitude) = try scaling(d)
    if let divisors = try divisors(d, tensors, pairs: width / 2) {
      switch scaling {
      case .none: scaling = .divisors(divisors)
      case .linear(let factor): scaling = .divisors(divisors.map { $0 * factor })
      default: report("a tensor of rotary divisors together with YaRN (supported: one of them)")
      }
    } else if scaling == .none, try text("rope.scaling.type") == "longrope" {
      report("longrope without rope_factors_long.weight (supported: with it)")
      magnitude = 1
    }
    let frequencies = scaling.frequencies(base: base, width: width)
    guard frequencies.allSatisfy(\.isFinite), (0.001...1000).contains(magnitude) else {
      throw bad(
        "rope.freq_base",
        "\(base), with rope.scaling.*, gives frequencies or an attention factor out of range")
    }
    return ScaledRotary(
      table: RotaryTable(frequencies: frequencies, pairing: .halfSplit), magnitude: magnitude)
  }

  /// As llama.cpp reads it: without a type a factor counts, with "none" nothing does.
  private func scaling(
    _ d: DecoderDescription
  ) throws(ImportError) -> (RotaryScaling, magnitude: Double) {
    let name = "rope.scaling."
    let type = try text(name + "type") ?? "linear"
    let stated = try positiveIfAny(name + "factor")
    let old = try positiveIfAny("rope.scale_linear")
    let factor = stated ?? old ?? 1
    let trained = try integer(
      name + "original_context_length", in: Self.sizes, default: statedContext)
    let attention = try positiveIfAny(name + "attn_factor") ?? 1
    let extrapolation =
      has(name + "yarn_ext_factor") ? try positiveIfAny(name + "yarn_ext_factor") : 1
    let fast = try positiveIfAny(name + "yarn_beta_fast") ?? 32
    let slow = try positiveIfAny(name + "yarn_beta_slow") ?? 1
    let yarnAttention = try positiveIfAny(name + "yarn_attn_factor") ?? 1
    switch type {
    case "none": return (.none, 1)
    case "linear": return (factor == 1 ? .none : .linear(factor: factor), attention)
    case "longrope": return (.none, attention)
    case "yarn":
      if extrapolation != 1 {
        report("\(key(name + "yarn_ext_factor")) = \(extrapolation ?? 0) (supported: 1)")
      }
      let magnitude = RotaryScaling.Yarn.magnitude(factor) * attention * yarnAttention
      return (
        .yarn(.init(factor: factor, fast: fast, slow: slow, trained: trained)), magnitude
      )
    default:
      report(
        "\(key(name + "type")) = \"\(printableName(type, limit: 64))\" "
          + "(supported: \"none\", \"linear\", \"yarn\", \"longrope\")")
      return (.none, 1)
    }
  }

  /// What the frequencies of the pairs are divided by, from the tensor that the context asks for.
  private func divisors(
    _ d: DecoderDescription, _ tensors: TensorCatalog, pairs: Int
  ) throws(ImportError) -> [Double]? {
    let trained = try integer(
      "rope.scaling.original_context_length", in: Self.sizes, default: statedContext)
    let long = d.contextLength > trained ? "long" : "short"
    for name in ["rope_freqs.weight", "rope_factors_\(long).weight"] {
      guard let tensor = tensors[name], tensor.coding != nil else { continue }
      guard tensor.shape == [pairs] else {
        throw .bad(
          .wrongShape, file: file.path, field: name, offset: tensor.recordOffset,
          "has dimensions \(tensor.shape), not one value for each of \(pairs) pairs")
      }
      let values = try tensor.floats(0..<pairs)
      guard values.allSatisfy({ $0 > 1e-30 }) else {
        throw .bad(
          .outOfRange, file: file.path, field: name, offset: tensor.offset,
          "holds a divisor that is not above 0")
      }
      return values.map { Double($0) }
    }
    return nil
  }

  /// Tensors that `divisors` reads.
  static let divisorNames: Set<String> = [
    "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
  ]

  // MARK: - Names

  /// Parts whose biases are in the file, as the first layer has them.
  func biases(_ tensors: TensorCatalog) -> DecoderParts {
    let names: [(String, DecoderParts)] = [
      ("attn_q", .queryBias), ("attn_k", .keyBias), ("attn_v", .valueBias),
      ("attn_output", .outputBias), ("ffn_gate", .gateBias), ("ffn_up", .upBias),
      ("ffn_down", .downBias), ("attn_qkv", [.queryBias, .keyBias, .valueBias]),
    ]
    var parts: DecoderParts = tensors.has("output.bias") ? .headBias : []
    for (name, part) in names where tensors.has("blk.0.\(name).bias") { parts.formUnion(part) }
    return parts
  }

  /// A plan with ggml's names.
  func plan(
    _ d: DecoderDescription, _ changes: [DecoderModule: ModuleView] = [:]
  ) -> DecoderPlan {
    let modules: [DecoderModule: ModuleView] = [
      .embedding: "token_embd", .positions: "position_embd", .finalNorm: "output_norm",
      .head: "output", .attentionNorm: "attn_norm", .query: "attn_q", .key: "attn_k",
      .value: "attn_v", .queryNorm: "attn_q_norm", .keyNorm: "attn_k_norm",
      .output: "attn_output", .attentionPostNorm: "post_attention_norm",
      .feedForwardNorm: "ffn_norm", .gate: "ffn_gate", .up: "ffn_up", .down: "ffn_down",
      .feedForwardPostNorm: "post_ffw_norm",
    ]
    var plan = DecoderPlan(
      architecture, d, prefix: "", layers: "blk.", modules.merging(changes) { $1 })
    plan.positions = statedContext
    plan.ignored = { GGUFMetadata.divisorNames.contains($0) }
    return plan
  }

  /// q, k and v below each other in one matrix.
  func fusedAttention(_ d: DecoderDescription) -> [DecoderModule: ModuleView] {
    let sizes = [d.queryWidth, d.keyValueWidth, d.keyValueWidth]
    func part(_ index: Int) -> ModuleView {
      ModuleView("attn_qkv").part(FusedRows(part: index, of: sizes))
    }
    return [.query: part(0), .key: part(1), .value: part(2)]
  }

  /// Tokens that a layer with a window sees; nil where the file says 0.
  func window(default absent: Int = 0) throws(ImportError) -> Int? {
    let window = try integer("attention.sliding_window", in: 0...1 << 24, default: absent)
    return window > 0 ? window : nil
  }

  /// Which layers see a window only: the key `attention.sliding_window_pattern`, a number or a list
  /// of flags, or else all but every `every`th.
  func slidingLayers(_ layers: Int, every: Int) throws(ImportError) -> [Bool] {
    let name = "attention.sliding_window_pattern"
    if isList(name), let flags = try file.flags(key(name), limit: layers) {
      _ = has(name)
      guard flags.count == layers else {
        throw bad(name, "has \(flags.count) flags for \(layers) layers")
      }
      return flags
    }
    let every = try integer(name, in: 1...1 << 16, default: every)
    return (0..<layers).map { ($0 + 1) % every != 0 }
  }
}
