// How each kind of tensor is quantized: named recipes and JSON files.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a tensor does in a model.
public enum TensorRole: String, Sendable, Hashable, CaseIterable, Codable {
  case embedding
  case query
  case key
  case value
  case output
  case gate
  case up
  case down
  case head
  /// Learned positions: the rule of the embedding unless a recipe says otherwise.
  case position
  /// What patches of pixels are multiplied by: the rule of the embedding unless a recipe says
  /// otherwise.
  case patch
  case norm
  /// What is added: biases, and the prefix and positions of an image.
  case bias
}

/// The encoding of a tensor: a grid of 2 to 8 bits, or wide (16 bits).
public struct TensorRule: Sendable, Equatable {
  /// 2…8, or 16.
  public var bits: Int
  /// Columns in a group, a multiple of 32; 0 is the whole row.
  public var group: Int
  /// Whether every group (or row) has an offset of 16 bits, as helps where there are few codes.
  public var offsets: Bool

  public init(bits: Int, group: Int = 0, offsets: Bool = false) {
    self.bits = bits
    self.group = group
    self.offsets = offsets
  }
}

/// A recipe: for every role of a tensor a rule.
///
/// As JSON (`group` is a multiple of 32 or "row"; a rule may have `"offsets": true`; only `name`, and
/// `bits` of a rule, are needed):
/// ```
/// {
///   "name": "w4", "description": "…", "clip": "search", "solvers": ["gptq"],
///   "default": {"bits": 4, "group": 64},
///   "rules": [{"role": "embedding", "bits": 8, "group": "row"}],
///   "attention": 4, "smooth": true, "rotate": true, "correct_bias": true, "blocks": {"iterations": 300},
///   "prune": {"density": 0.5}, "loss": 0.05, "outliers": {"columns": 0.01}, "low_rank": {"share": 0.5},
///   "choices": [{"bits": 3, "group": 32}, {"bits": 4, "group": 32}],
///   "tensors": {"layers.0.down": {"bits": 8}}
/// }
/// ```
/// `prune`, `outliers`, `low_rank` and `loss` exclude one another and `blocks`; `low_rank` and `loss`
/// exclude `choices`, `smooth` excludes `prune`, `rotate` excludes `prune`, `smooth`, `loss` and
/// `choices`. With `loss`, the weights of layers, embedding and head have
/// 8-bit codes with one scale a row that are few bits once the file is compressed (`RateQuantizer`),
/// whatever their rule: as few as this loss takes, a KL divergence in nats, or of features the squared
/// distance over the squared length. It is planned on what the conversion looks at; on other texts
/// SmolLM2-135M loses 2.2 times as much.
/// Norms and biases are always wide. A head that is tied to the embedding follows the embedding's rule.
public struct Recipe: Sendable, Equatable {
  public var name: String
  public var description: String
  public var clip: ClipSearch
  /// What works on the codes after they were rounded to nearest, one after the other; with any, the
  /// conversion looks at text or images.
  public var solvers: [Solver]
  /// For the roles that `rules` does not name.
  public var standard: TensorRule
  public var rules: [TensorRole: TensorRule]
  /// What is left out of the layers' tensors; nil: nothing.
  public var prune: PruneRule?
  /// What rounding all weights may cost at the model's outputs, about, with as few bytes after
  /// compression as that takes; nil: tensors have their rules.
  public var loss: Double?
  /// Bits of the attention weights, 2…4 (`attend`'s code); nil: they are not coded.
  public var attentionBits: Int?
  /// How the tensors of a layer are learned together behind the solvers; nil: not at all.
  public var blocks: BlockRule?
  /// Whether channels are scaled ahead of linear layers where that loses less (see `Smoothing`).
  public var smooths = false
  /// Whether the biases of the layers' weights make up for what quantizing these costs on average (see
  /// `BiasCorrection`). vit-cifar10 by GPTQ in groups of 32, calibrated on drawn scenes, and on
  /// photographs, has 0.81 and 0.77 times the KL divergence so in 4 bits, 0.95 and 1.01 in 3, but 1.19 in
  /// 2: where codes are few, the mean error of other images is another.
  public var correctsBias = false
  /// Whether the weights turn the residual stream by a Hadamard, in place of the program (QuaRot's R1).
  /// The norms' weights then are in the linear layers: fewer operations for more error. A tied head
  /// becomes a tensor of its own.
  public var rotates = false
  /// What the layers' tensors of 2 to 8 bits have besides their codes; nil: nothing.
  public var outliers: OutlierRule?
  /// Two smaller tensors in place of the layers' weights, or added to them; nil: none.
  public var lowRank: LowRankRule?
  /// What a conversion with a budget may give each tensor, in place of its rule; empty: no budget.
  public var choices: [TensorRule] = []
  /// The rules of single tensors, by name: what a budget led to.
  public var tensors: [String: TensorRule] = [:]

  public init(
    name: String, description: String = "", clip: ClipSearch = .search,
    solvers: [Solver] = [], standard: TensorRule = TensorRule(bits: 8),
    rules: [TensorRole: TensorRule] = [:]
  ) {
    self.name = name
    self.description = description
    self.clip = clip
    self.solvers = solvers
    self.standard = standard
    self.rules = rules
  }

  /// Whether a conversion needs something to calibrate on.
  public var isCalibrated: Bool {
    !solvers.isEmpty || prune != nil || loss != nil || attentionBits != nil || smooths
      || correctsBias || blocks != nil
  }

  /// Whether second moments of the inputs do not say all that it needs to know of them.
  public var looksAtInputs: Bool {
    loss != nil || attentionBits != nil || smooths || blocks != nil
  }

  /// Whether tensors are made for the sums of the float model, not for what its layers make of quantized
  /// rows.
  public var aims: Bool { prune != nil || blocks != nil }

  /// The rule for a role, or for the tensor of that name.
  public func rule(for role: TensorRole, name: String = "") -> TensorRule {
    if let own = tensors[name] { return own }
    return switch role {
    case .norm, .bias: TensorRule(bits: 16)
    case .position, .patch: rules[role] ?? rules[.embedding] ?? standard
    default: rules[role] ?? standard
    }
  }
}

// MARK: - Built-in recipes and files

extension Recipe {
  /// 8-bit codes with one scale a row.
  public static let w8 = Recipe(
    name: "w8", description: "8-bit weights, one scale a row, searched clipping",
    standard: TensorRule(bits: 8))

  /// 6-bit codes in groups of 64; embedding and head in 8 bits.
  public static let w6 = Recipe(
    name: "w6",
    description: "6-bit weights in groups of 64, embedding and head in 8 bits, searched clipping",
    standard: TensorRule(bits: 6, group: 64),
    rules: [.embedding: TensorRule(bits: 8), .head: TensorRule(bits: 8)])

  /// 4-bit codes in groups of 32 by the solver that takes least time; embedding and head in 6 bits.
  /// With a budget each tensor has 3, 4, 5, 6 or 8 bits.
  public static let w4 = calibrated("w4", [.gptq], "GPTQ")

  /// The size and the speed of `w4` without calibration: for a model whose weights mean nothing, or to
  /// compare with.
  public static let rtn4 = Recipe(
    name: "rtn4",
    description: "4-bit weights in groups of 32, embedding and head in 6 bits, rounded to nearest",
    standard: w4.standard, rules: w4.rules)

  /// 4-bit codes that these solvers worked on, whatever `w4` uses.
  public static let gptq = calibrated("gptq", [.gptq], "GPTQ")
  public static let quantease = calibrated(
    "quantease", [.gptq, .quantease], "GPTQ, then QuantEase")
  public static let decoupleq = calibrated("decoupleq", [.decoupleq], "decoupleQ")

  public static let adaquant = calibrated("adaquant", [.gptq, .adaquant], "GPTQ, then AdaQuant")

  /// All solvers.
  public static let best = calibrated("best", Solver.best, "all solvers")

  /// 3-bit codes.
  public static let w3 = calibrated("w3", Solver.best, "all solvers", bits: 3)

  /// 2-bit codes with offsets; values, output and down projections, to which models are most sensitive,
  /// in 3 bits.
  public static let w2: Recipe = {
    var recipe = Recipe(
      name: "w2",
      description: "2-bit weights in groups of 32 with offsets, values, output and down in 3 bits,"
        + " embedding and head in 6, all solvers",
      solvers: Solver.best, standard: TensorRule(bits: 2, group: 32, offsets: true),
      rules: sixBitEnds)
    for role in [TensorRole.value, .output, .down] {
      recipe.rules[role] = TensorRule(bits: 3, group: 32)
    }
    recipe.choices = [2, 3, 4].map { TensorRule(bits: $0, group: 32, offsets: true) }
    return recipe
  }()

  private static let sixBitEnds: [TensorRole: TensorRule] = [
    .embedding: TensorRule(bits: 6, group: 64), .head: TensorRule(bits: 6, group: 64),
  ]

  private static func calibrated(
    _ name: String, _ solvers: [Solver], _ words: String, bits: Int = 4
  ) -> Recipe {
    var recipe = Recipe(
      name: name,
      description: "\(bits)-bit weights in groups of 32, embedding and head in 6 bits, \(words)",
      solvers: solvers, standard: TensorRule(bits: bits, group: 32), rules: sixBitEnds)
    recipe.correctsBias = true
    recipe.choices = [3, 4, 5, 6, 8].flatMap { bits in
      [32, 64, 0].map { TensorRule(bits: bits, group: $0) }
    }
    return recipe
  }

  /// The same with layers learned as a whole.
  public static let blocks3 = w3.learned("blocks3")
  public static let blocks2 = w2.learned("blocks2")

  /// Minutes where the solvers take seconds.
  private func learned(_ name: String) -> Recipe {
    var recipe = self
    recipe.name = name
    recipe.description += ", layers learned as a whole by gradients"
    recipe.blocks = BlockRule()
    return recipe
  }

  /// Small on disk, 8 bits a weight in memory: some 4.6 and 4 bits of SmolLM2-135M, for the KL
  /// divergence of usual files of 4 and of 3 bits.
  public static let flash4 = flash("flash4", loss: 0.0195)
  public static let flash3 = flash("flash3", loss: 0.048)

  private static func flash(_ name: String, loss: Double) -> Recipe {
    var recipe = Recipe(
      name: name,
      description:
        "8-bit codes for the smallest compressed file, planned KL divergence \(loss), GPTQ and"
        + " decoupleQ",
      solvers: [.gptq, .decoupleq], standard: TensorRule(bits: 8))
    recipe.loss = loss
    return recipe
  }

  /// Half of all blocks left out, the others in 8 bits.
  public static let lpvit: Recipe = {
    var recipe = Recipe(
      name: "lpvit",
      description:
        "half of the blocks of 16 x 32 weights left out (LPViT), 8 bits, one scale a row",
      standard: TensorRule(bits: 8))
    recipe.prune = PruneRule(density: 0.5)
    return recipe
  }()

  /// 4-bit codes by all solvers, attention weights of 4 bits, channels scaled where that helps.
  public static let isvit: Recipe = {
    var recipe = calibrated("isvit", Solver.best, "all solvers")
    recipe.description += ", smoothed channels, attention weights of 4 bits (I&S-ViT)"
    recipe.attentionBits = 4
    recipe.smooths = true
    return recipe
  }()

  public static let builtIn = [
    w8, w6, w4, w3, w2, rtn4, gptq, quantease, decoupleq, adaquant, best, flash4, flash3, lpvit,
    isvit, blocks3, blocks2,
  ]

  /// The built-in recipe of that name, else the recipe in the JSON file of that path.
  ///
  /// Throws `RecipeError`.
  public static func load(_ nameOrPath: String) throws -> Recipe {
    if let recipe = builtIn.first(where: { $0.name == nameOrPath }) { return recipe }
    guard FileManager.default.fileExists(atPath: nameOrPath) else {
      let names = builtIn.map(\.name).joined(separator: ", ")
      throw RecipeError(
        source: nameOrPath,
        reason: "there is no such recipe and no such file; recipes are \(names)")
    }
    do {
      return try parse(Data(contentsOf: URL(fileURLWithPath: nameOrPath)), source: nameOrPath)
    } catch let error as CocoaError {
      throw RecipeError(source: nameOrPath, reason: error.localizedDescription)
    }
  }

  /// Reads a recipe from JSON; `source` is what errors call it. Throws `RecipeError`.
  public static func parse(_ json: Data, source: String) throws -> Recipe {
    do {
      return try JSONDecoder().decode(Recipe.self, from: json)
    } catch let error as RecipeProblem {
      throw RecipeError(source: source, reason: error.reason)
    } catch let error as DecodingError {
      throw RecipeError(source: source, reason: describe(error))
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.isEmpty ? "the recipe" : "'" + path.map(\.stringValue).joined(separator: ".") + "'"
    }
    switch error {
    case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
      return "\(place(context.codingPath)) is not what it should be: \(type)"
    case .keyNotFound(let key, _): return "'\(key.stringValue)' is missing"
    case .dataCorrupted(let context) where context.codingPath.isEmpty:
      return "it is not JSON: \(context.underlyingError?.localizedDescription ?? "")"
    case .dataCorrupted(let context):
      return "\(place(context.codingPath)): \(context.debugDescription)"
    @unknown default: return "\(error)"
    }
  }
}

/// A recipe that cannot be read: which one and why.
public struct RecipeError: Error, Equatable, Sendable, CustomStringConvertible, LocalizedError {
  public var source: String
  public var reason: String

  public var description: String { "recipe \(source): \(reason)" }
  public var errorDescription: String? { description }
}
