// Recipes as JSON: every key and value that is not known is an error that lists the known ones.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What is wrong in a recipe, before it is known which file it is.
struct RecipeProblem: Error {
  let reason: String
}

/// Any key of a JSON object.
private struct AnyKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

/// A JSON object of which only these keys are allowed.
struct StrictObject {
  private let container: KeyedDecodingContainer<AnyKey>
  private let part: String

  init(_ decoder: any Decoder, _ part: String, allowed: [String]) throws {
    container = try decoder.container(keyedBy: AnyKey.self)
    self.part = part
    let unknown = container.allKeys.map(\.stringValue).filter { !allowed.contains($0) }.sorted()
    if let key = unknown.first {
      throw RecipeProblem(
        reason: "\(part) has the unknown key '\(key)'; allowed are "
          + allowed.joined(separator: ", "))
    }
  }

  func value<T: Decodable>(_ type: T.Type, _ key: String) throws -> T? {
    try container.decodeIfPresent(type, forKey: AnyKey(stringValue: key))
  }

  /// The value of a key that must be there.
  func required<T: Decodable>(_ type: T.Type, _ key: String) throws -> T {
    guard let value = try value(type, key) else {
      throw RecipeProblem(reason: "\(part) has no '\(key)'")
    }
    return value
  }

  /// A word out of a list.
  func choice<T: RawRepresentable & CaseIterable>(_ type: T.Type, _ key: String) throws -> T?
  where T.RawValue == String {
    guard let word = try value(String.self, key) else { return nil }
    guard let choice = T(rawValue: word) else {
      let words = T.allCases.map(\.rawValue).joined(separator: ", ")
      throw RecipeProblem(reason: "'\(key)' is '\(word)'; allowed are \(words)")
    }
    return choice
  }

  /// The rule in the keys `bits`, `group` and `offsets`.
  func rule() throws -> TensorRule {
    let bits = try required(Int.self, "bits")
    guard (2...8).contains(bits) || bits == 16 else {
      throw RecipeProblem(reason: "'bits' is \(bits); allowed are 2 to 8, and 16")
    }
    let group = try value(GroupWidth.self, "group")?.columns ?? 0
    guard bits != 16 || group == 0 else {
      throw RecipeProblem(reason: "'group' is \(group) with 16 bits; allowed is \"row\"")
    }
    let offsets = try value(Bool.self, "offsets") ?? false
    guard bits != 16 || !offsets else {
      throw RecipeProblem(reason: "'offsets' is true with 16 bits, which have none")
    }
    return TensorRule(bits: bits, group: group, offsets: offsets)
  }
}

/// The value of `group`: a multiple of 32, or "row".
private struct GroupWidth: Codable {
  let columns: Int

  init(columns: Int) { self.columns = columns }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let word = try? container.decode(String.self) {
      guard word == "row" else {
        throw RecipeProblem(
          reason: "'group' is '\(word)'; allowed are a multiple of 32, and \"row\"")
      }
      columns = 0
    } else {
      columns = try container.decode(Int.self)
      guard columns > 0, columns % 32 == 0, columns <= 1 << 17 else {
        throw RecipeProblem(
          reason: "'group' is \(columns); allowed are a multiple of 32, and \"row\"")
      }
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if columns == 0 { try container.encode("row") } else { try container.encode(columns) }
  }
}

/// One element of `rules`.
private struct RoleRule: Codable {
  let role: TensorRole
  let rule: TensorRule

  init(role: TensorRole, rule: TensorRule) {
    self.role = role
    self.rule = rule
  }

  init(from decoder: any Decoder) throws {
    let object = try StrictObject(decoder, "a rule", allowed: ["role", "bits", "group", "offsets"])
    guard let role = try object.choice(TensorRole.self, "role") else {
      throw RecipeProblem(reason: "a rule has no 'role'")
    }
    guard role != .norm, role != .bias else {
      throw RecipeProblem(
        reason: "a rule has the role '\(role.rawValue)'; norms and biases are always 16 bits")
    }
    self.role = role
    rule = try object.rule()
  }

  private enum Keys: CodingKey { case role, bits, group, offsets }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(role, forKey: .role)
    try container.encode(rule.bits, forKey: .bits)
    try container.encode(GroupWidth(columns: rule.group), forKey: .group)
    if rule.offsets { try container.encode(true, forKey: .offsets) }
  }
}

extension TensorRule: Codable {
  private enum Keys: CodingKey { case bits, group, offsets }

  public init(from decoder: any Decoder) throws {
    self = try StrictObject(
      decoder, "'default' or a choice", allowed: ["bits", "group", "offsets"]
    ).rule()
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(bits, forKey: .bits)
    try container.encode(GroupWidth(columns: group), forKey: .group)
    if offsets { try container.encode(true, forKey: .offsets) }
  }
}

extension Recipe: Codable {
  private enum Keys: String, CodingKey, CaseIterable {
    case name, description, clip, solvers
    case standard = "default"
    case lowRank = "low_rank"
    case correctsBias = "correct_bias"
    case attention, smooth, rotate, blocks, prune, outliers, loss, rules, choices, tensors
  }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, "the recipe", allowed: Keys.allCases.map(\.rawValue))
    self.init(name: try object.required(String.self, "name"))
    description = try object.value(String.self, "description") ?? description
    clip = try object.choice(ClipSearch.self, "clip") ?? clip
    solvers =
      try object.value([String].self, "solvers")?.map { word in
        guard let solver = Solver(rawValue: word) else {
          let words = Solver.allCases.map(\.rawValue).joined(separator: ", ")
          throw RecipeProblem(reason: "'solvers' has '\(word)'; allowed are \(words)")
        }
        return solver
      } ?? solvers
    standard = try object.value(TensorRule.self, "default") ?? standard
    for rule in try object.value([RoleRule].self, "rules") ?? [] {
      guard rules.updateValue(rule.rule, forKey: rule.role) == nil else {
        throw RecipeProblem(reason: "two rules have the role '\(rule.role.rawValue)'")
      }
    }
    attentionBits = try object.value(Int.self, "attention")
    if let attentionBits, !(2...4).contains(attentionBits) {
      throw RecipeProblem(reason: "'attention' is \(attentionBits); allowed are 2 to 4 bits")
    }
    smooths = try object.value(Bool.self, "smooth") ?? false
    correctsBias = try object.value(Bool.self, "correct_bias") ?? false
    prune = try object.value(PruneRule.self, "prune")
    if smooths, prune != nil {
      throw RecipeProblem(reason: "'smooth' goes with no 'prune'")
    }
    outliers = try object.value(OutlierRule.self, "outliers")
    lowRank = try object.value(LowRankRule.self, "low_rank")
    let exclusive = [
      ("outliers", outliers != nil), ("prune", prune != nil), ("low_rank", lowRank != nil),
    ].filter(\.1).map(\.0)
    if exclusive.count > 1 {
      throw RecipeProblem(
        reason: "'\(exclusive[0])' with '\(exclusive[1])'; a recipe has one of them")
    }
    if outliers != nil, solvers.contains(.adaquant) {
      throw RecipeProblem(reason: "'outliers' with the solver 'adaquant', which has none")
    }
    choices = try object.value([TensorRule].self, "choices") ?? []
    if choices.contains(where: { $0.bits == 16 }) {
      throw RecipeProblem(reason: "'choices' has 16 bits; allowed are 2 to 8")
    }
    loss = try object.value(Double.self, "loss")
    if let loss {
      guard loss > 0, loss.isFinite else {
        throw RecipeProblem(reason: "'loss' is \(loss); allowed are numbers above 0")
      }
      guard prune == nil, choices.isEmpty else {
        throw RecipeProblem(reason: "'loss' excludes 'prune' and 'choices'")
      }
      guard outliers == nil, lowRank == nil else {
        throw RecipeProblem(reason: "'loss' excludes 'outliers' and 'low_rank'")
      }
    }
    blocks = try object.value(BlockRule.self, "blocks")
    if blocks != nil {
      let others = exclusive + (loss == nil ? [] : ["loss"])
      if let other = others.first {
        throw RecipeProblem(reason: "'blocks' with '\(other)'; a recipe has one of them")
      }
    }
    if lowRank != nil, !choices.isEmpty {
      throw RecipeProblem(reason: "'low_rank' with 'choices'; a recipe has one of them")
    }
    rotates = try object.value(Bool.self, "rotate") ?? false
    let unturned = [
      ("prune", prune != nil), ("smooth", smooths), ("loss", loss != nil),
      ("choices", !choices.isEmpty),
    ].filter(\.1).map(\.0)
    if rotates, let first = unturned.first {
      throw RecipeProblem(reason: "'rotate' goes with no '\(first)'")
    }
    tensors = try object.value([String: TensorRule].self, "tensors") ?? [:]
  }

  /// Rules come in the order of `TensorRole`, so that the same recipe gives the same text.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(name, forKey: .name)
    try container.encode(description, forKey: .description)
    try container.encode(clip, forKey: .clip)
    if !solvers.isEmpty { try container.encode(solvers, forKey: .solvers) }
    try container.encode(standard, forKey: .standard)
    try container.encode(
      TensorRole.allCases.compactMap { role in
        rules[role].map { RoleRule(role: role, rule: $0) }
      }, forKey: .rules)
    try container.encodeIfPresent(attentionBits, forKey: .attention)
    if smooths { try container.encode(smooths, forKey: .smooth) }
    if rotates { try container.encode(rotates, forKey: .rotate) }
    if correctsBias { try container.encode(correctsBias, forKey: .correctsBias) }
    try container.encodeIfPresent(blocks, forKey: .blocks)
    try container.encodeIfPresent(prune, forKey: .prune)
    try container.encodeIfPresent(loss, forKey: .loss)
    try container.encodeIfPresent(outliers, forKey: .outliers)
    try container.encodeIfPresent(lowRank, forKey: .lowRank)
    if !choices.isEmpty { try container.encode(choices, forKey: .choices) }
    if !tensors.isEmpty { try container.encode(tensors, forKey: .tensors) }
  }
}
