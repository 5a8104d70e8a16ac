// What a recipe prunes.
// SPDX-License-Identifier: Apache-2.0

/// Blocks of 16 by 32 weights to leave out of the layers' tensors (see `BlockPruning`).
///
/// As JSON: `{"density": 0.5, "floor": {"output": 0.3}, "power": 0}`; only `density` is needed.
public struct PruneRule: Sendable, Equatable {
  /// The share of cells that stays, over all weights of the layers.
  public var density: Double
  /// The share that at least stays of the tensors of a role.
  public var floor: [TensorRole: Double]
  /// What a block that stays costs for each token (`BlockPruning.power`).
  public var power: Double

  public init(
    density: Double, floor: [TensorRole: Double] = [.output: 0.3], power: Double = 0
  ) {
    self.density = density
    self.floor = floor
    self.power = power
  }
}

extension PruneRule: Codable {
  private enum Keys: String, CodingKey, CaseIterable { case density, floor, power }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, "'prune'", allowed: Keys.allCases.map(\.rawValue))
    self.init(density: try object.required(Double.self, "density"))
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
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(density, forKey: .density)
    let shares = floor.map { ($0.key.rawValue, $0.value) }
    try container.encode(Dictionary(uniqueKeysWithValues: shares), forKey: .floor)
    try container.encode(power, forKey: .power)
  }
}
