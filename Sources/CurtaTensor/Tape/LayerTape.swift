// One layer on a tape: what LayerRunner computes, with the gradients of its weights.
// SPDX-License-Identifier: Apache-2.0

/// The parameters of a layer, but for the norms of its heads, as leaves of a tape.
package struct LayerVariables {
  package struct Linear {
    package let weight: Variable  // [output][input]
    package let bias: Variable?  // [1][output]
  }

  package struct Norm {
    package let weight: Variable  // [1][width]
    package let bias: Variable?  // [1][width]
  }

  package let attentionNorm: Norm
  package let attentionPostNorm: Norm?
  package let feedForwardNorm: Norm?
  package let feedForwardPostNorm: Norm?
  package let query: Linear
  package let key: Linear
  package let value: Linear
  package let output: Linear
  package let gate: Linear?
  package let up: Linear
  package let down: Linear
}

extension Variable {
  /// A vector as one row.
  fileprivate convenience init(row: [Float], isWanted: Bool) {
    self.init(Matrix(rows: 1, columns: row.count, values: row), isWanted: isWanted)
  }
}

extension LayerVariables.Linear {
  package init(_ layer: LinearLayer, isWanted: Bool) {
    weight = Variable(layer.weight, isWanted: isWanted)
    bias = layer.bias.map { Variable(row: $0, isWanted: isWanted) }
  }
}

extension LayerVariables.Norm {
  package init(_ layer: NormLayer, isWanted: Bool) {
    weight = Variable(row: layer.weight, isWanted: isWanted)
    bias = layer.bias.map { Variable(row: $0, isWanted: isWanted) }
  }
}

extension LayerVariables {
  /// Those of a layer; `isWanted` says whether gradients by them are.
  package init(_ layer: DecoderLayer, isWanted: Bool) {
    attentionNorm = Norm(layer.attentionNorm, isWanted: isWanted)
    attentionPostNorm = layer.attentionPostNorm.map { Norm($0, isWanted: isWanted) }
    feedForwardNorm = layer.feedForwardNorm.map { Norm($0, isWanted: isWanted) }
    feedForwardPostNorm = layer.feedForwardPostNorm.map { Norm($0, isWanted: isWanted) }
    query = Linear(layer.query, isWanted: isWanted)
    key = Linear(layer.key, isWanted: isWanted)
    value = Linear(layer.value, isWanted: isWanted)
    output = Linear(layer.output, isWanted: isWanted)
    gate = layer.gate.map { Linear($0, isWanted: isWanted) }
    up = Linear(layer.up, isWanted: isWanted)
    down = Linear(layer.down, isWanted: isWanted)
  }
}

/// Runs a layer over a whole sequence or image on a tape.
package struct LayerTape {
  private let runner: LayerRunner
  private let layer: DecoderLayer
  private let index: Int
  private let tape: Tape

  /// `layer` gives what is constant; `runner` says what happens at the sites of activations, through
  /// which gradients pass as if it were nothing.
  package init(_ runner: LayerRunner, _ layer: DecoderLayer, _ index: Int, on tape: Tape) {
    self.runner = runner
    self.layer = layer
    self.index = index
    self.tape = tape
  }

  private var d: DecoderDescription { runner.description }

  /// The rows behind the layer, of the rows x [tokens][width] before it.
  package func run(_ x: Variable, _ weights: LayerVariables) -> Variable {
    if d.parts.contains(.normsBehind) {
      let first = normed(
        tape.add(x, attention(at(.attentionInput, x), weights)), weights.attentionNorm)
      let sum = tape.add(first, feedForward(at(.feedForwardInput, first), weights))
      return weights.feedForwardNorm.map { normed(sum, $0) } ?? sum
    }
    let input = at(.attentionInput, normed(x, weights.attentionNorm))
    let middle = tape.add(x, attention(input, weights))
    if d.parts.contains(.parallel) {
      let other = weights.feedForwardNorm.map { at(.feedForwardInput, normed(x, $0)) }
      return tape.add(middle, feedForward(other ?? input, weights))
    }
    guard let norm = weights.feedForwardNorm else { return middle }
    return tape.add(middle, feedForward(at(.feedForwardInput, normed(middle, norm)), weights))
  }

  private func normed(_ x: Variable, _ norm: LayerVariables.Norm) -> Variable {
    tape.normed(x, weight: norm.weight, bias: norm.bias, d)
  }

  private func attention(_ input: Variable, _ weights: LayerVariables) -> Variable {
    var query = linear(input, weights.query)
    var key = linear(input, weights.key)
    var value = linear(input, weights.value)
    if let weight = layer.queryNorm { query = tape.headNormed(query, weight, d.normEpsilon) }
    if let weight = layer.keyNorm { key = tape.headNormed(key, weight, d.normEpsilon) }
    if let table = d.attention[index].rotary {
      let rotation = Rotation(
        d.rotary[table], headWidth: d.headWidth, from: 0, count: input.value.rows)
      query = tape.rotated(query, rotation)
      key = tape.rotated(key, rotation)
    }
    query = at(.query, query, d.headWidth)
    key = at(.key, key, d.headWidth)
    value = at(.value, value, d.headWidth)
    let mixed = at(.attentionOutput, tape.attended(query, key, value, d, index, runner.transform))
    let result = linear(mixed, weights.output)
    return weights.attentionPostNorm.map { normed(result, $0) } ?? result
  }

  private func feedForward(_ input: Variable, _ weights: LayerVariables) -> Variable {
    let up = linear(input, weights.up)
    var product = tape.activated(weights.gate.map { linear(input, $0) } ?? up, d.activation)
    if weights.gate != nil { product = tape.multiply(product, up) }
    let result = linear(at(.feedForwardProduct, product), weights.down)
    return weights.feedForwardPostNorm.map { normed(result, $0) } ?? result
  }

  private func linear(_ x: Variable, _ weights: LayerVariables.Linear) -> Variable {
    tape.linear(x, weights.weight, bias: weights.bias)
  }

  /// What happens to the values of a site, in rows of `width`; nil: of the matrix.
  private func at(_ site: ActivationSite, _ x: Variable, _ width: Int? = nil) -> Variable {
    tape.passThrough(x) {
      runner.transform.apply(site, index, &$0.values, width ?? x.value.columns)
    }
  }
}
