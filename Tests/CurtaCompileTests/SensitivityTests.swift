// Budgets: what is predicted to be lost is lost, and what may be spent is spent.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaQuantize

@Suite struct SensitivityTests {
  private let stories = Repository.root.appendingPathComponent("Examples/models/curta-stories").path

  private func plan(_ choices: [TensorRule], _ budget: Budget, parameters: Int) -> BudgetPlan {
    var recipe = Recipe(name: "shared", standard: TensorRule(bits: 4, group: 32))
    recipe.choices = choices
    return BudgetPlan(
      planned: [], recipe: recipe, budget: budget, otherBytes: 1000, parameters: parameters)
  }

  /// Losses are measured at the largest choice that all could have.
  @Test func theProbeIsNearTheBudget() {
    let choices = [2, 3, 4, 6, 8].map { TensorRule(bits: $0, group: 32) }
    for (bits, probe) in [(1.0, 0), (2.3, 0), (3.9, 1), (4.3, 2), (5.5, 2), (7.0, 3), (9.0, 4)] {
      #expect(plan(choices, .bits(bits), parameters: 80_000).probe == probe)
      let bytes = Int(bits * 10_000) + 1000
      #expect(plan(choices, .bytes(bytes), parameters: 80_000).probe == probe)
    }
    #expect(plan(choices, .loss(0.1), parameters: 80_000).probe == 2)
    #expect(plan(choices.reversed(), .bits(3.9), parameters: 80_000).probe == 3)
  }

  /// The divergence of the float model with one weight rounded, of every weight of two layers, beside
  /// the prediction.
  @Test func oneWeightLosesWhatIsPredicted() throws {
    let checkpoint = try loadCheckpoint(stories)
    let source = try checkpoint.source.foldingNormBiases().held()
    let weights = try DecoderWeights(source)
    var input = CalibrationInput()
    input.tokens = 128
    let sequences = Sensitivity.some(of: try CalibrationText.sequences(checkpoint, input))
    let rules = [2, 4, 5].map { TensorRule(bits: $0, group: 32) }
    let stack = LayerStack(source, weights.ends, sequences)
    let parts = TensorInventory(weights.description).layerParts
    func logits(_ weights: DecoderWeights) -> [Matrix] {
      var decoder = FloatDecoder(weights)
      return sequences.map { tokens in
        var state = FloatDecoderState(weights.description)
        return decoder.forward(tokens: tokens, outputs: 128, state: &state)
      }
    }
    let expected = logits(weights)
    func divergence(_ weights: DecoderWeights) -> Double {
      let sums = zip(expected, logits(weights)).map { expected, found in
        (0..<expected.rows).reduce(0) { $0 + klDivergence(expected.row($1), found.row($1)) }
          / Double(expected.rows)
      }
      return sums.reduce(0, +) / Double(sums.count)
    }
    /// Root mean square of the logarithms of prediction over truth at 4 and 5 bits.
    func deviation(
      _ predicted: [String: Sensitivity.Measured], _ truth: [String: [Double]]
    ) -> Double {
      let logs = truth.flatMap { name, losses in
        [1, 2].map { log(predicted[name]!.losses[$0] / losses[$0 - 1]) }
      }
      return (logs.reduce(0) { $0 + $1 * $1 } / Double(logs.count)).squareRoot()
    }
    var truth: [String: [Double]] = [:]
    for index in [0, weights.description.layers - 1] {
      for part in parts where part.isWeight {
        let planned = part.planned(stack.d, stack.spreading, layer: index)
        let turned = planned.turned(part.values(weights.layers[index]))
        truth[planned.name] = try [4, 5].map { bits in
          var changed = weights
          let grid = try GridQuantizer(bits: bits, group: 32).quantize(turned)
          part.setWeight(planned.turnedBack(grid.dequantized()), in: &changed.layers[index])
          return divergence(changed)
        }
      }
    }
    let found = try [0, 1].map { probe in
      try deviation(
        Sensitivity(stack: stack, rules: rules, probe: probe, clip: .search).measure(parts), truth)
    }
    print("MEASURED sensitivity.coarsest \(found[0]) sensitivity.near \(found[1])")
    #expect(found[1] < 0.7 && found[1] < found[0])
  }

  /// Nothing is left of a budget of bits that a tensor could have more of: what a plan counts is what
  /// may be spent.
  @Test func bitsAreSpent() throws {
    let checkpoint = try loadCheckpoint(stories)
    let d = checkpoint.source.description
    var generator = SeededRandom.announced("losses")
    var recipe = Recipe(name: "shared", standard: TensorRule(bits: 4, group: 32))
    recipe.choices = [2, 3, 4, 5, 6, 8].map { TensorRule(bits: $0, group: 32) }
    let tensors = TensorInventory(d).tensors
    var losses: [String: [Double]] = [:]
    for tensor in tensors where tensor.role.map({ $0 != .norm && $0 != .bias }) ?? false {
      let first = Double.random(in: 0.5...1, using: &generator)
      losses[tensor.name] = recipe.choices.map { first * exp2(-2 * Double($0.bits)) }
    }
    let parameters = checkpoint.source.parameterCount
    for bits in [3.1, 4.4, 5.7] {
      let shared = try BudgetPlan(
        planned: tensors, recipe: recipe, budget: .bits(bits), otherBytes: 0, parameters: parameters
      ).recipe(losses)
      let plan = try ConversionPlan(checkpoint, recipe: shared)
      let left = Int((bits * Double(parameters) / 8).rounded()) - plan.tensorBytes
      #expect(left >= 0)
      for tensor in plan.tensors where losses[tensor.name] != nil && tensor.bits < 8 {
        let next = recipe.choices.first { $0.bits > tensor.bits }!
        let more = next.byteSize(rows: tensor.rows, columns: tensor.columns) - tensor.bytes
        #expect(more > left, "\(tensor.name) could have \(next.bits) bits")
      }
    }
  }
}
