// What a recipe prunes.
// SPDX-License-Identifier: Apache-2.0

/// What is left out of the layers' tensors.
///
/// As JSON, `{"density": 0.5, "floor": {"output": 0.3}, "power": 0, "regrow": 8}` for blocks of 16 by
/// 32 weights, where only `density` is needed; `{"form": "2:4", "score": "wanda", "regrow": 8}` for 2 of
/// every 4 columns of a row, where only `form` is; `{"form": "columns", "density": 0.5}` for whole
/// columns of a tensor.
public struct PruneRule: Sendable, Equatable {
  public enum Form: Sendable, Equatable {
    /// See `BlockPruning`. The form that saves time.
    case blocks
    /// See `PatternPruning`.
    case pattern(n: Int, m: Int)
    /// See `ColumnPruning`.
    case columns
  }

  public var form = Form.blocks
  /// What survives of a pattern.
  public var score = PatternPruning.Score.conditional
  /// The share of cells that stays, over all weights of the layers.
  public var density: Double
  /// The share that at least stays of the tensors of a role.
  public var floor: [TensorRole: Double]
  /// What a block that stays costs for each token (`BlockPruning.power`).
  public var power: Double
  /// Rounds in which blocks, or cells of a pattern, are exchanged for others (`DropAndRegrow`).
  public var regrow: Int
  /// Images or sequences on which the model's outputs are measured, at most.
  public static let measuredInputs = 16

  public init(
    density: Double, floor: [TensorRole: Double] = [.output: 0.3], power: Double = 0,
    regrow: Int = 0
  ) {
    self.density = density
    self.floor = floor
    self.power = power
    self.regrow = regrow
  }
}

extension PruneRule: Codable {
  private enum Keys: String, CodingKey, CaseIterable {
    case form, density, floor, power, regrow, score
  }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, "'prune'", allowed: Keys.allCases.map(\.rawValue))
    let form = try object.value(String.self, "form").map(Form.init) ?? .blocks
    switch form {
    case .pattern(let n, let m):
      if try object.value(Double.self, "density") != nil {
        throw RecipeProblem(reason: "'density' has no place beside the form '\(form.text)'")
      }
      self.init(density: Double(n) / Double(m))
    case .blocks, .columns:
      self.init(density: try object.required(Double.self, "density"))
    }
    self.form = form
    if let score = try object.choice(PatternPruning.Score.self, "score") { self.score = score }
    guard density > 0, density <= 1 else {
      throw RecipeProblem(reason: "'density' is \(density); it is above 0 and at most 1")
    }
    if let shares = try object.value([String: Double].self, "floor") {
      floor = [:]
      for (name, share) in shares {
        guard let role = TensorRole(rawValue: name), share >= 0, share <= 1 else {
          throw RecipeProblem(
            reason: "'floor' has '\(name)': \(share); it has roles and shares from 0 to 1")
        }
        floor[role] = share
      }
    }
    power = try object.value(Double.self, "power") ?? power
    guard power >= 0, power.isFinite else {
      throw RecipeProblem(reason: "'power' is \(power); it is not negative")
    }
    regrow = try object.value(Int.self, "regrow") ?? regrow
    guard (0...100).contains(regrow) else {
      throw RecipeProblem(reason: "'regrow' is \(regrow); it is 0 to 100 rounds")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    switch form {
    case .blocks: try container.encode(density, forKey: .density)
    case .columns:
      try container.encode(form.text, forKey: .form)
      try container.encode(density, forKey: .density)
    case .pattern:
      try container.encode(form.text, forKey: .form)
      try container.encode(score, forKey: .score)
    }
    let shares = floor.map { ($0.key.rawValue, $0.value) }
    try container.encode(Dictionary(uniqueKeysWithValues: shares), forKey: .floor)
    try container.encode(power, forKey: .power)
    if regrow > 0 { try container.encode(regrow, forKey: .regrow) }
  }
}

extension PruneRule.Form {
  /// `blocks`, `columns`, or n:m.
  public var text: String {
    switch self {
    case .blocks: "blocks"
    case .columns: "columns"
    case .pattern(let n, let m): "\(n):\(m)"
    }
  }

  init(_ text: String) throws {
    let numbers = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
    switch text {
    case "blocks": self = .blocks
    case "columns": self = .columns
    default:
      guard numbers.count == 2, let n = numbers[0], let m = numbers[1] else {
        throw RecipeProblem(
          reason: "'form' is '\(text)'; allowed are blocks, columns, or n:m as in 2:4")
      }
      do throws(QuantizeError) {
        _ = try PatternPruning(n: n, m: m)
      } catch {
        throw RecipeProblem(reason: "'form': \(error)")
      }
      self = .pattern(n: n, m: m)
    }
  }
}
