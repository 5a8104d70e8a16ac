// What a model's outputs lose when one tensor has fewer bits.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// The losses of every weight of the layers at several rules, as far as a few inputs show them.
///
/// At the coarsest rule all weights of a layer are rounded at once and the model is run to its end:
/// that is the layer's loss. It is shared among the layer's tensors by the error that each alone
/// makes at the end of the layer, and carried over to the other rules by the errors Σ (w − ŵ) H
/// (w − ŵ)ᵀ of the tensor. (AdaQuant, Hubara et al. 2021, measures each tensor at each width; this
/// takes one run of the model for each layer.)
struct Sensitivity {
  let stack: LayerStack
  let rules: [TensorRule]
  let clip: ClipSearch
  var outliers: OutlierRule?

  /// What a weight lost at the coarsest rule, in the units of `LayerStack.loss`, and its errors
  /// Σ (w − ŵ) H (w − ŵ)ᵀ at every rule, [rule].
  struct Measured {
    var loss: Double
    var errors: [Double]
    /// The coarsest rule.
    var coarsest: Int

    /// The losses at every rule, [rule].
    var losses: [Double] { errors.map { slope * $0 } }
    /// The loss of one unit of the error.
    var slope: Double { loss / max(errors[coarsest], 1e-300) }
  }

  /// Every weight among `parts` of every layer, by name.
  ///
  /// Throws what reading a layer throws, and `QuantizeError`.
  func measure(
    _ parts: [LayerPart], progress: (Int) -> Void = { _ in }
  ) throws -> [String: Measured] {
    let count = stack.d.layers
    var inputs = [stack.streams]
    for index in 0..<count {
      let layer = try stack.layer(index)
      inputs.append(stack.run(layer, index, over: inputs[index]))
    }
    let expected = inputs[count].map(stack.outputs)
    let coarsest = rules.indices.min { rules[$0].bits < rules[$1].bits } ?? 0

    var result: [String: Measured] = [:]
    for index in 0..<count {
      progress(index)
      let layer = try stack.layer(index)
      let moments = try LayerCalibration(stack.d, inputs[index]).watch(layer, index)
      var errors: [(name: String, values: [Double])] = []
      var shares: [Double] = []
      var rounded = layer
      for part in parts where part.isWeight {
        let planned = part.planned(stack.d, stack.spreading, layer: index)
        let turned = planned.turned(part.values(layer))
        guard let role = planned.role, let hessian = try moments.hessian(for: role) else {
          preconditionFailure("\(planned.name) is no weight")
        }
        var own: [Double] = []
        var probe = turned
        for (place, rule) in rules.enumerated() {
          var recipe = Recipe(name: "", clip: clip, standard: rule)
          recipe.outliers = outliers
          let tensor = try recipe.quantize(turned, name: planned.name, role: role, hessian: hessian)
          guard case .grid(let grid) = tensor.base else { preconditionFailure("not a grid") }
          own.append(grid.outputError(of: turned, hessian))
          if place == coarsest { probe = grid.dequantized() }
        }
        errors.append((planned.name, own))
        let values = planned.turnedBack(probe)
        var alone = layer
        part.setWeight(values, in: &alone)
        part.setWeight(values, in: &rounded)
        shares.append(
          zip(stack.run(alone, index, over: inputs[index]), inputs[index + 1]).reduce(0) {
            $0 + squaredDistance($1.0, $1.1)
          })
      }
      let loss = try lossBehind(index, rounded, inputs[index], expected)
      let total = max(shares.reduce(0, +), 1e-300)
      for ((name, errors), share) in zip(errors, shares) {
        result[name] = Measured(loss: loss * share / total, errors: errors, coarsest: coarsest)
      }
    }
    return result
  }

  /// The losses of a matrix outside the layers at every rule, [rule]: the loss of the model with
  /// `changed` in its place at the coarsest, and at the others by Σ (w − ŵ)².
  func losses(
    of values: Matrix, block: Int, changed: (Matrix) -> LayerStack
  ) throws -> [Double] {
    let turned = Spreading.turned(values, block: block)
    var errors: [Double] = []
    var coarsest = (bits: Int.max, values: turned, error: 1.0)
    for rule in rules {
      let grid = try GridQuantizer(rule, clip: clip).quantize(turned)
      let found = grid.dequantized()
      errors.append(squaredDistance(found, turned))
      if rule.bits < coarsest.bits { coarsest = (rule.bits, found, max(errors.last!, 1e-300)) }
    }
    let loss = try loss(changed(Spreading.turnedBack(coarsest.values, block: block)))
    return errors.map { loss * $0 / coarsest.error }
  }

  /// The loss of another model that differs outside the layers.
  func loss(_ other: LayerStack) throws -> Double {
    var (streams, others) = (stack.streams, other.streams)
    for index in 0..<stack.d.layers {
      let layer = try stack.layer(index)
      streams = stack.run(layer, index, over: streams)
      others = stack.run(layer, index, over: others)
    }
    let losses = zip(streams, others).map { stack.loss(other.outputs($1), stack.outputs($0)) }
    return losses.reduce(0, +) / Double(max(losses.count, 1))
  }

  /// The loss of the model with another layer `index`.
  private func lossBehind(
    _ index: Int, _ layer: DecoderLayer, _ streams: [Matrix], _ expected: [Matrix]
  ) throws -> Double {
    var streams = stack.run(layer, index, over: streams)
    for next in index + 1..<max(stack.d.layers, index + 1) {
      let layer = try stack.layer(next)
      streams = stack.run(layer, next, over: streams)
    }
    let losses = zip(streams.map(stack.outputs), expected).map { stack.loss($0, $1) }
    return losses.reduce(0, +) / Double(max(losses.count, 1))
  }

}

/// Σ (a − b)².
private func squaredDistance(_ a: Matrix, _ b: Matrix) -> Double {
  var sum = 0.0
  for i in a.values.indices {
    let difference = Double(a.values[i]) - Double(b.values[i])
    sum += difference * difference
  }
  return sum
}
