// Gradients of the tape against differences, and layers on it against LayerRunner.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Testing

@testable import CurtaTensor

/// A description of every arrangement that a layer may have.
struct ArrangedLayer: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let d: DecoderDescription

  init(_ name: String, _ change: (inout DecoderDescription) -> Void) {
    testDescription = name
    var d = DecoderDescription(
      vocabularySize: 11, width: 12, feedForwardWidth: 10, layers: 1, queryHeads: 4,
      keyValueHeads: 2, headWidth: 6, contextLength: 16,
      rotary: [RotaryTable(base: 100, width: 6, pairing: .halfSplit)])
    change(&d)
    self.d = d
  }

  static let all = [
    ArrangedLayer("plain") { _ in },
    ArrangedLayer("interleaved, a part of a head") {
      $0.rotary = [RotaryTable(base: 100, width: 4, pairing: .interleaved)]
    },
    ArrangedLayer("image, layer norm, biases, gelu") {
      $0.isCausal = false
      ($0.norm, $0.activation, $0.rotary) = (.layer, .geluErf, [])
      $0.attention = [LayerAttention(rotary: nil)]
      $0.parts = [.queryBias, .keyBias, .valueBias, .outputBias, .upBias, .downBias, .normBias]
    },
    ArrangedLayer("norms behind, relu") {
      ($0.norm, $0.activation) = (.layer, .relu)
      $0.parts = [.normsBehind, .normBias]
    },
    ArrangedLayer("parallel, quick gelu") {
      $0.parts = [.parallel]
      $0.activation = .quickGelu
    },
    ArrangedLayer("parallel, one norm, gelu by tanh") {
      $0.parts = [.parallel, .sharedNorm]
      $0.activation = .geluTanh
    },
    ArrangedLayer("post norms, window, caps") {
      $0.parts = [.gate, .postNorms]
      $0.attention = [LayerAttention(window: 3)]
      $0.scoreCap = 1.5
    },
    ArrangedLayer("norms of heads, biases of the gate") {
      $0.parts = [.gate, .headNorms, .gateBias, .upBias]
      $0.keyValueHeads = 4
    },
  ]

  /// A layer of random parameters.
  func layer(_ random: inout SeededRandom) -> DecoderLayer {
    func numbers(_ count: Int, _ middle: Float = 0) -> [Float] {
      (0..<count).map { _ in middle + Float.random(in: -0.6...0.6, using: &random) }
    }
    func linear(_ rows: Int, _ columns: Int, _ bias: DecoderParts) -> LinearLayer {
      LinearLayer(
        Matrix(rows: rows, columns: columns, values: numbers(rows * columns)),
        bias: d.parts.contains(bias) ? numbers(rows) : nil)
    }
    func norm(_ wanted: Bool = true) -> NormLayer? {
      wanted
        ? NormLayer(numbers(d.width, 1), bias: d.parts.contains(.normBias) ? numbers(d.width) : nil)
        : nil
    }
    let heads = d.parts.contains(.headNorms)
    return DecoderLayer(
      attentionNorm: norm()!, query: linear(d.queryWidth, d.width, .queryBias),
      key: linear(d.keyValueWidth, d.width, .keyBias),
      value: linear(d.keyValueWidth, d.width, .valueBias),
      queryNorm: heads ? numbers(d.headWidth, 1) : nil,
      keyNorm: heads ? numbers(d.headWidth, 1) : nil,
      output: linear(d.width, d.queryWidth, .outputBias),
      attentionPostNorm: norm(d.parts.contains(.postNorms)),
      feedForwardNorm: norm(!d.parts.contains(.sharedNorm)),
      gate: d.parts.contains(.gate) ? linear(d.feedForwardWidth, d.width, .gateBias) : nil,
      up: linear(d.feedForwardWidth, d.width, .upBias),
      down: linear(d.width, d.feedForwardWidth, .downBias),
      feedForwardPostNorm: norm(d.parts.contains(.postNorms)))
  }
}

@Suite struct TapeTests {
  private func matrix(_ rows: Int, _ columns: Int, _ random: inout SeededRandom) -> Matrix {
    Matrix(
      rows: rows, columns: columns,
      values: (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &random) })
  }

  private func dot(_ a: Matrix, _ b: Matrix) -> Double {
    zip(a.values, b.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  /// Gradients by all inputs of Σ output · weights, along random directions, against central
  /// differences.
  private func check(
    _ inputs: [Matrix], _ random: inout SeededRandom, _ operation: (Tape, [Variable]) -> Variable
  ) {
    let tape = Tape()
    let leaves = inputs.map { Variable($0) }
    let output = operation(tape, leaves)
    let weights = matrix(output.value.rows, output.value.columns, &random)
    tape.goBack(from: output, gradient: weights)
    func outcome(_ inputs: [Matrix]) -> Double {
      dot(operation(Tape(), inputs.map { Variable($0, isWanted: false) }).value, weights)
    }
    for (i, input) in inputs.enumerated() {
      guard let gradient = leaves[i].gradient else {
        Issue.record("no gradient by input \(i)")
        continue
      }
      for _ in 0..<3 {
        let direction = matrix(input.rows, input.columns, &random)
        let sides = [Float(0.005), -0.005].map { length in
          var moved = inputs
          for k in moved[i].values.indices { moved[i].values[k] += length * direction.values[k] }
          return outcome(moved)
        }
        let (difference, slope) = ((sides[0] - sides[1]) / 0.01, dot(gradient, direction))
        let scale = dot(gradient, gradient).squareRoot() * dot(direction, direction).squareRoot()
        #expect(abs(difference - slope) <= 4e-3 * scale, "input \(i): \(slope), \(difference)")
      }
    }
  }

  @Test func gradientsOfOperationsAreThoseOfDifferences() {
    var random = SeededRandom.announced("gradients of operations")
    let (x, w, b) = (
      matrix(5, 6, &random), matrix(4, 6, &random), matrix(1, 4, &random)
    )
    check([x, w, b], &random) { $0.linear($1[0], $1[1], bias: $1[2]) }
    check([x, matrix(5, 6, &random)], &random) { $0.add($1[0], $1[1]) }
    check([x, matrix(5, 6, &random)], &random) { $0.subtract($1[0], $1[1]) }
    check([x, matrix(5, 6, &random)], &random) { $0.multiply($1[0], $1[1]) }
    check([x, matrix(1, 6, &random)], &random) { $0.multiply($1[0], $1[1]) }
    // Read twice: gradients add up.
    check([x, matrix(1, 6, &random)], &random) { $0.add($1[0], $1[1]) }
    check([x], &random) { $0.multiply($1[0], $0.add($1[0], $1[0])) }
    for activation in [
      DecoderActivation.silu, .geluTanh, .geluErf, .quickGelu,
    ] {
      check([x], &random) { $0.activated($1[0], activation) }
    }
    let (weight, bias) = (matrix(1, 6, &random), matrix(1, 6, &random))
    for kind in [DecoderNorm.rms, .layer] {
      var d = ArrangedLayer.all[0].d
      d.norm = kind
      check([x, weight, bias], &random) { $0.normed($1[0], weight: $1[1], bias: $1[2], d) }
    }
    check([x], &random) { $0.headNormed($1[0], [0.5, 2, 1], 1e-5) }
  }

  @Test(arguments: ArrangedLayer.all)
  func gradientsOfAttentionAreThoseOfDifferences(_ layer: ArrangedLayer) {
    var random = SeededRandom.announced("gradients of attention, \(layer.testDescription)")
    let d = layer.d
    let inputs = [d.queryWidth, d.keyValueWidth, d.keyValueWidth].map { matrix(7, $0, &random) }
    check(inputs, &random) { tape, leaves in
      tape.attended(leaves[0], leaves[1], leaves[2], d, 0)
    }
    for table in d.rotary {
      let rotation = Rotation(table, headWidth: d.headWidth, from: 0, count: 7)
      check([inputs[0]], &random) { $0.rotated($1[0], rotation) }
    }
  }

  /// Rounding gives what it gives, and the gradient of nothing.
  @Test func roundingPassesGradientsThrough() {
    var random = SeededRandom.announced("rounding")
    let (x, slope) = (matrix(3, 4, &random), matrix(3, 4, &random))
    let (tape, leaf) = (Tape(), Variable(x))
    let output = tape.passThrough(leaf) { x in
      for i in x.values.indices { x.values[i] = (4 * x.values[i]).rounded() / 4 }
    }
    #expect(output.value.values == x.values.map { (4 * $0).rounded() / 4 })
    tape.goBack(from: output, gradient: slope)
    #expect(leaf.gradient == slope)
  }

  /// A layer gives what LayerRunner gives, sites included.
  @Test(arguments: ArrangedLayer.all)
  func layersAreThoseOfTheRunner(_ kind: ArrangedLayer) throws {
    var random = SeededRandom.announced("layers on a tape, \(kind.testDescription)")
    let layer = kind.layer(&random)
    #expect(layer.fits(kind.d))
    let x = matrix(7, kind.d.width, &random)
    let scaling = SiteTransform { site, _, values, width in
      guard site != .residual else { return }
      for i in values.indices { values[i] *= 1 + Float(width) / 100 }
    }
    // Sites where LayerRunner only looks are left out by the tape.
    let changing: Set<ActivationSite> = [
      .attentionInput, .query, .key, .value, .attentionWeights, .attentionOutput,
      .feedForwardInput, .feedForwardProduct,
    ]
    let runner = LayerRunner(
      kind.d,
      SiteTransform { site, index, values, width in
        if changing.contains(site) { scaling.apply(site, index, &values, width) }
      })
    var expected = x
    var cache = LayerCache()
    runner.run(layer, 0, &expected, from: 0, &cache)
    let tape = Tape()
    let found = LayerTape(runner, layer, 0, on: tape).run(
      Variable(x), LayerVariables(layer, isWanted: true)
    ).value
    #expect(zip(found.values, expected.values).allSatisfy { abs($0 - $1) <= 1e-4 })
    #expect(expected.values != x.values)
  }
}
