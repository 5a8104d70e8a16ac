// How the tensors of whole layers are learned behind the solvers: a part of a recipe.
// SPDX-License-Identifier: Apache-2.0

/// Gradient descent on the error of what a layer gives (`BlockLearning`).
///
/// As JSON: `{"iterations": 300, "rate": 0.003, "augment": false}`; nothing is needed.
public struct BlockRule: Sendable, Equatable {
  /// Mini-batches that are learned from.
  public var iterations: Int
  /// How far a weight goes in an iteration at first, in steps of its grid; falls to 0 as half a cosine
  /// (curta-stories, 3 bits, 4 096 tokens: KL 0.171 without learning, 0.153 with 0.0015, 0.142 with 0.003,
  /// 0.152 with 0.006).
  public var rate: Double
  /// Whether it is learned a second time from inputs that are changed by what is learned to make it hold
  /// for others (MetaAug); what is less wrong on inputs that were held out is kept.
  public var augments: Bool

  public init(iterations: Int = 300, rate: Double = 0.003, augments: Bool = false) {
    self.iterations = iterations
    self.rate = rate
    self.augments = augments
  }
}

extension BlockRule: Codable {
  private enum Keys: String, CodingKey, CaseIterable {
    case iterations, rate
    case augments = "augment"
  }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, "'blocks'", allowed: Keys.allCases.map(\.rawValue))
    self.init()
    iterations = try object.value(Int.self, "iterations") ?? iterations
    guard (1...100_000).contains(iterations) else {
      throw RecipeProblem(reason: "'iterations' is \(iterations); allowed are 1 to 100000")
    }
    rate = try object.value(Double.self, "rate") ?? rate
    guard rate > 0, rate <= 1 else {
      throw RecipeProblem(reason: "'rate' is \(rate); allowed are numbers above 0, up to 1")
    }
    augments = try object.value(Bool.self, "augment") ?? augments
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(iterations, forKey: .iterations)
    try container.encode(rate, forKey: .rate)
    if augments { try container.encode(true, forKey: .augments) }
  }
}
