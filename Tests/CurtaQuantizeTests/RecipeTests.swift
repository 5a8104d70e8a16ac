// Recipes: the built-in ones, JSON files, and errors that say what is allowed.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

@Suite struct RecipeTests {
  private func parse(_ json: String) throws -> Recipe {
    try Recipe.parse(Data(json.utf8), source: "test.json")
  }

  @Test func builtInRecipesAreFound() throws {
    #expect(try Recipe.load("w8") == .w8)
    let w4 = try Recipe.load("w4")
    #expect(w4.rule(for: .query) == TensorRule(bits: 4, group: 32))
    #expect(w4.rule(for: .embedding) == TensorRule(bits: 6, group: 64))
    #expect(w4.rule(for: .head) == TensorRule(bits: 6, group: 64))
    #expect(w4.rule(for: .position) == w4.rule(for: .embedding))
    #expect(w4.rule(for: .patch) == w4.rule(for: .embedding))
    let w6 = try Recipe.load("w6")
    #expect(w6.rule(for: .down) == TensorRule(bits: 6, group: 64))
    #expect(w6.rule(for: .patch) == TensorRule(bits: 8))
    #expect(w6.rule(for: .head) == TensorRule(bits: 8))
    #expect(w4.rule(for: .norm) == TensorRule(bits: 16))
    #expect(w4.rule(for: .bias) == TensorRule(bits: 16))
  }

  /// Recipes of like bits are as large, calibrated or not; only those that round need nothing to look at.
  @Test func fourBitsAreTheSameSize() {
    for recipe in [Recipe.rtn4, .gptq, .quantease, .decoupleq, .adaquant, .best, .isvit] {
      for role in TensorRole.allCases {
        #expect(recipe.rule(for: role) == Recipe.w4.rule(for: role))
      }
    }
    #expect(Recipe.builtIn.filter { !$0.isCalibrated }.map(\.name) == ["w8", "w6", "rtn4"])
  }

  @Test func recipesSurviveJSON() throws {
    for recipe in Recipe.builtIn {
      let json = try JSONEncoder().encode(recipe)
      #expect(try Recipe.parse(json, source: recipe.name) == recipe)
    }
    for rule in [OutlierRule.columns(0.01), .residual(0.005)] {
      var recipe = Recipe.w3
      recipe.outliers = rule
      let json = try JSONEncoder().encode(recipe)
      #expect(try Recipe.parse(json, source: "outliers") == recipe)
    }
    for augments in [true, false] {
      var recipe = Recipe.w3
      recipe.blocks = BlockRule(iterations: 7, rate: 0.01, augments: augments)
      let json = try JSONEncoder().encode(recipe)
      #expect(try Recipe.parse(json, source: "blocks") == recipe)
    }
    #expect(try parse(#"{"name": "a", "blocks": {}}"#).blocks == BlockRule())
    var corrected = Recipe.rtn4
    corrected.correctsBias = true
    #expect(corrected.isCalibrated)
    let json = try JSONEncoder().encode(corrected)
    #expect(try Recipe.parse(json, source: "bias") == corrected)
    for keepsBase in [true, false] {
      var recipe = Recipe.rtn4
      recipe.lowRank = LowRankRule(share: 0.25, keepsBase: keepsBase)
      let json = try JSONEncoder().encode(recipe)
      #expect(try Recipe.parse(json, source: "factors") == recipe)
    }
  }

  /// The layers' tensors of few bits have outliers, and a plan counts them.
  @Test func outliersBelongToTheLayers() throws {
    var generator = SeededRandom.announced("recipe with outliers")
    let weights = heavyTailed(40, 130, &generator)
    var recipe = Recipe.rtn4
    recipe.rules[.down] = TensorRule(bits: 16)
    recipe.rules[.up] = TensorRule(bits: 3)
    recipe.outliers = .columns(0.02)
    for role in TensorRole.allCases {
      let tensor = try recipe.quantize(weights, name: "t", role: role)
      let rule = recipe.rule(for: role)
      #expect(tensor.byteSize == recipe.byteSize(rows: 40, columns: 130, role: role, rule))
      guard case .grid(let grid) = tensor.base else { continue }
      let isLayer: Bool =
        switch role {
        case .query, .key, .value, .output, .gate, .up: true
        default: false
        }
      #expect(grid.overlays.count == (isLayer ? 1 : 0))
    }
  }

  /// A tensor takes the bytes that its rule says, offsets included, and the rule survives JSON.
  @Test(arguments: [0, 32, 64])
  func offsetsTakeTheirBytes(group: Int) throws {
    var generator = SeededRandom.announced("offsets of a recipe")
    let rule = TensorRule(bits: 3, group: group, offsets: true)
    let recipe = Recipe(name: "a", standard: rule, rules: [.down: rule])
    #expect(try Recipe.parse(JSONEncoder().encode(recipe), source: "again") == recipe)
    let tensor = try recipe.quantize(heavyTailed(4, 130, &generator), name: "t", role: .up)
    #expect(tensor.byteSize == rule.byteSize(rows: 4, columns: 130))
    guard case .grid(let grid) = tensor.base else { throw RecipeError(source: "", reason: "") }
    #expect(grid.groupOffsets?.contains { $0 != 0 } == true)
  }

  @Test func formsOfPruningSurviveJSON() throws {
    for (rule, form, density) in [
      (#"{"density": 0.4, "regrow": 3}"#, PruneRule.Form.blocks, 0.4),
      (#"{"form": "columns", "density": 0.25}"#, .columns, 0.25),
      (#"{"form": "2:8", "score": "wanda"}"#, .pattern(n: 2, m: 8), 0.25),
    ] {
      let recipe = try parse(#"{"name": "a", "prune": \#(rule)}"#)
      #expect(recipe.prune?.form == form && recipe.prune?.density == density)
      #expect(try parse(String(decoding: JSONEncoder().encode(recipe), as: UTF8.self)) == recipe)
    }
  }

  @Test func examplesAreRead() throws {
    for (name, bits) in [("gptq5", 5), ("gptq6", 6)] {
      let file = Repository.root.appending(path: "Examples/recipes/\(name).json")
      let recipe = try Recipe.load(file.path)
      #expect(recipe.name == name && recipe.solvers == [.gptq])
      #expect(recipe.rule(for: .down) == TensorRule(bits: bits, group: 64))
      #expect(recipe.rule(for: .embedding) == TensorRule(bits: bits, group: 64))
    }
    for (name, rule) in [
      ("w3-columns", OutlierRule.columns(0.01)), ("w3-residual", .residual(0.01)),
    ] {
      let recipe = try Recipe.load(
        Repository.root.appending(path: "Examples/recipes/\(name).json").path)
      #expect(recipe.name == name && recipe.outliers == rule)
    }
    let factors = try Recipe.load(
      Repository.root.appending(path: "Examples/recipes/factors.json").path)
    #expect(factors.lowRank == LowRankRule(share: 0.5, keepsBase: false))
    let rotated = try Recipe.load(
      Repository.root.appending(path: "Examples/recipes/w8-rotated.json").path)
    #expect(rotated.rotates && !rotated.isCalibrated)
    #expect(try parse(String(decoding: JSONEncoder().encode(rotated), as: UTF8.self)) == rotated)
    let pruned = try Recipe.load(
      Repository.root.appending(path: "Examples/recipes/lpvit4.json").path)
    #expect(pruned.prune == PruneRule(density: 0.5))
    #expect(pruned.rule(for: .down) == TensorRule(bits: 4, group: 32))
  }

  @Test func aFileIsRead() throws {
    let path = NSTemporaryDirectory() + "recipe-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let json = """
      {"name": "mine", "clip": "none", "default": {"bits": 3, "group": 32},
       "rules": [{"role": "down", "bits": 5, "group": "row"}, {"role": "head", "bits": 16}]}
      """
    try Data(json.utf8).write(to: URL(fileURLWithPath: path))
    let recipe = try Recipe.load(path)
    #expect(recipe.name == "mine" && recipe.clip == .none)
    #expect(recipe.rule(for: .up) == TensorRule(bits: 3, group: 32))
    #expect(recipe.rule(for: .down) == TensorRule(bits: 5, group: 0))
    #expect(recipe.rule(for: .head) == TensorRule(bits: 16))
  }

  @Test(arguments: [
    (#"{"name": "a", "bitz": 4}"#, ["bitz", "default", "rules"]),
    (#"{"name": "a", "default": {"bits": 4, "groups": 64}}"#, ["groups", "'default'", "group"]),
    (#"{"name": "a", "default": {"bits": 9}}"#, ["'bits' is 9", "2 to 8"]),
    (#"{"name": "a", "default": {}}"#, ["no 'bits'"]),
    (#"{"name": "a", "default": {"bits": 4, "group": 40}}"#, ["'group' is 40", "32"]),
    (#"{"name": "a", "default": {"bits": 4, "group": "all"}}"#, ["'all'", "row"]),
    (#"{"name": "a", "default": {"bits": 16, "group": 64}}"#, ["16 bits", "row"]),
    (#"{"name": "a", "default": {"bits": 16, "offsets": true}}"#, ["offsets", "16 bits"]),
    (#"{"name": "a", "default": {"bits": 2, "offsets": 1}}"#, ["default.offsets"]),
    (#"{"name": "a", "rules": [{"role": "quary", "bits": 4}]}"#, ["quary", "query", "down"]),
    (#"{"name": "a", "rules": [{"role": "norm", "bits": 4}]}"#, ["norm"]),
    (#"{"name": "a", "attention": 5}"#, ["'attention' is 5", "2 to 4"]),
    (#"{"name": "a", "smooth": true, "prune": {"density": 0.5}}"#, ["'smooth'", "'prune'"]),
    (#"{"name": "a", "rotate": true, "smooth": true}"#, ["'rotate'", "'smooth'"]),
    (#"{"name": "a", "rotate": true, "prune": {"density": 0.5}}"#, ["'rotate'", "'prune'"]),
    (#"{"name": "a", "rotate": true, "loss": 0.1}"#, ["'rotate'", "'loss'"]),
    (#"{"name": "a", "rotate": 1}"#, ["rotate"]),
    (
      #"{"name": "a", "rules": [{"role": "up", "bits": 4}, {"role": "up", "bits": 3}]}"#,
      ["two rules", "up"]
    ),
    (#"{"name": "a", "rules": [{"bits": 4}]}"#, ["no 'role'"]),
    (#"{"name": "a", "clip": "best"}"#, ["best", "none, search"]),
    (#"{"default": {"bits": 4}}"#, ["no 'name'"]),
    (#"{"name": "a", "loss": 0}"#, ["'loss' is 0", "above 0"]),
    (#"{"name": "a", "loss": "low"}"#, ["loss"]),
    (#"{"name": "a", "loss": 0.1, "prune": {"density": 0.5}}"#, ["'loss' excludes 'prune'"]),
    (#"{"name": "a", "loss": 0.1, "choices": [{"bits": 4}]}"#, ["'loss' excludes", "'choices'"]),
    (#"{"name": "a", "outliers": {}}"#, ["either 'columns' or 'residual'"]),
    (#"{"name": "a", "outliers": {"columns": 0.1, "residual": 0.1}}"#, ["either 'columns'"]),
    (#"{"name": "a", "outliers": {"columns": 0}}"#, ["share of 0.0", "at most 0.5"]),
    (#"{"name": "a", "outliers": {"rows": 0.1}}"#, ["rows", "columns, residual"]),
    (
      #"{"name": "a", "outliers": {"columns": 0.1}, "prune": {"density": 0.5}}"#,
      ["'outliers' with 'prune'"]
    ),
    (
      #"{"name": "a", "solvers": ["adaquant"], "outliers": {"columns": 0.1}}"#,
      ["'outliers'", "'adaquant'"]
    ),
    (#"{"name": "a", "blocks": {"steps": 9}}"#, ["steps", "iterations, rate, augment"]),
    (#"{"name": "a", "blocks": {"iterations": 0}}"#, ["'iterations' is 0", "1 to 100000"]),
    (#"{"name": "a", "blocks": {"rate": 0}}"#, ["'rate' is 0", "above 0"]),
    (#"{"name": "a", "blocks": {"augment": 1}}"#, ["blocks.augment"]),
    (#"{"name": "a", "blocks": {}, "loss": 0.1}"#, ["'blocks' with 'loss'"]),
    (#"{"name": "a", "blocks": {}, "prune": {"density": 0.5}}"#, ["'blocks' with 'prune'"]),
    (#"{"name": "a", "blocks": {}, "low_rank": {"share": 0.5}}"#, ["'blocks' with 'low_rank'"]),
    (#"{"name": "a", "blocks": {}, "outliers": {"columns": 0.1}}"#, ["'blocks' with 'outliers'"]),
    (#"{"name": "a", "low_rank": {}}"#, ["either 'share' or 'residual'"]),
    (#"{"name": "a", "low_rank": {"share": 1.5}}"#, ["1.5", "at most 1"]),
    (#"{"name": "a", "low_rank": {"rank": 4}}"#, ["rank", "share, residual"]),
    (
      #"{"name": "a", "low_rank": {"share": 0.5}, "outliers": {"columns": 0.1}}"#,
      ["'outliers' with 'low_rank'"]
    ),
    (
      #"{"name": "a", "low_rank": {"share": 0.5}, "choices": [{"bits": 4}]}"#,
      ["'low_rank' with 'choices'"]
    ),
    (#"{"name": 4}"#, ["name"]),
    (#"{"name": "a", "default": {"bits": "four"}}"#, ["default.bits"]),
    (#"{"name": "a", "prune": {}}"#, ["density"]),
    (#"{"name": "a", "prune": {"form": "rows", "density": 0.5}}"#, ["rows", "columns", "2:4"]),
    (#"{"name": "a", "prune": {"form": "3:2"}}"#, ["'form'", "3 of 2"]),
    (#"{"name": "a", "prune": {"form": "2:4", "density": 0.5}}"#, ["'density'", "2:4"]),
    (#"{"name": "a", "prune": {"density": 0.5, "regrow": -1}}"#, ["'regrow' is -1"]),
    (#"{"name": "a", "prune": {"form": "2:4", "score": "size"}}"#, ["size", "wanda, conditional"]),
    (#"{"name": "a""#, ["not JSON"]),
    ("[]", ["the recipe"]),
  ])
  func problemsAreNamed(json: String, words: [String]) {
    let error = #expect(throws: RecipeError.self) { try parse(json) }
    guard let error else { return }
    #expect(error.description.hasPrefix("recipe test.json: "))
    for word in words { #expect(error.reason.contains(word), "\(error)") }
  }

  @Test func anUnknownNameListsTheRecipes() {
    let error = #expect(throws: RecipeError.self) { try Recipe.load("w5") }
    #expect(error?.reason.contains("w8, w6, w4") == true)
    #expect(throws: RecipeError.self) { try Recipe.load(NSTemporaryDirectory()) }
  }

  @Test func theRuleIsApplied() throws {
    var generator = SeededRandom.announced("recipe")
    let weights = heavyTailed(4, 130, &generator)
    for role in TensorRole.allCases {
      let tensor = try Recipe.w4.quantize(weights, name: "t", role: role)
      #expect(tensor.byteSize == Recipe.w4.rule(for: role).byteSize(rows: 4, columns: 130))
      switch tensor.base {
      case .grid(let grid): #expect(grid.bits == Recipe.w4.rule(for: role).bits)
      case .wide: #expect(role == .norm || role == .bias)
      case .words: Issue.record("words")
      }
    }
  }
}
