// Weights that aim at other outputs than their own inputs give.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Testing

@testable import CurtaQuantize

@Suite struct CrossMomentsTests {
  /// Moments are those of a loop over tokens, however they come in.
  @Test func momentsAreSums() throws {
    var generator = SeededRandom.announced("momentsAreSums")
    let (tokens, rows, columns) = (300, 200, 7)
    let left = mixedInputs(tokens, rows, &generator)
    let right = mixedInputs(tokens, columns, &generator)
    var whole = CrossMoments(rows: rows, columns: columns)
    whole.accumulate(left: left, right: right)
    var parts = CrossMoments(rows: rows, columns: columns)
    for range in [0..<1, 1..<257, 257..<300] {
      func part(_ matrix: Matrix) -> Matrix {
        let n = matrix.columns
        return Matrix(
          rows: range.count, columns: n,
          values: Array(matrix.values[range.lowerBound * n..<range.upperBound * n]))
      }
      parts.accumulate(left: part(left), right: part(right))
    }
    #expect(whole.samples == tokens && parts.samples == tokens)
    for i in 0..<rows {
      let mean = (0..<tokens).reduce(0.0) { $0 + Double(left[$1, i]) / Double(tokens) }
      #expect(abs(whole.mean[i] - mean) <= 1e-9 && abs(parts.mean[i] - mean) <= 1e-9)
      for j in 0..<columns {
        let expected = (0..<tokens).reduce(0.0) {
          $0 + Double(left[$1, i]) * Double(right[$1, j]) / Double(tokens)
        }
        #expect(abs(whole.values[i * columns + j] - expected) <= 1e-4)
        #expect(abs(parts.values[i * columns + j] - expected) <= 1e-4)
      }
    }
  }

  /// Aimed weights are the least squares: the error that they leave has no part along the inputs, and
  /// it is smaller than that of the weights themselves.
  @Test func aimedWeightsAreTheLeastSquares() throws {
    var generator = SeededRandom.announced("aimedWeightsAreTheLeastSquares")
    let (tokens, rows, columns) = (400, 5, 12)
    let inputs = mixedInputs(tokens, columns, &generator)
    var exact = mixedInputs(tokens, columns, &generator)
    for i in exact.values.indices { exact.values[i] = inputs.values[i] + 0.3 * exact.values[i] }
    let behind = mixedInputs(tokens, rows, &generator)
    let weights = heavyTailed(rows, columns, &generator)
    var hessian = Hessian(columns: columns)
    try hessian.accumulate(rows: inputs)
    func difference(_ a: Matrix, _ b: Matrix) -> Matrix {
      Matrix(rows: a.rows, columns: a.columns, values: zip(a.values, b.values).map { $0 - $1 })
    }
    var drift = CrossMoments(rows: columns, columns: columns)
    drift.accumulate(left: difference(exact, inputs), right: inputs)
    var sum = CrossMoments(rows: rows, columns: columns)
    sum.accumulate(left: behind, right: inputs)
    let aimed = weights.aimed(from: hessian, drift: drift, behind: sum)
    /// W (x + Δ) + δ − Ŵ x of every token, [tokens][rows].
    func missed(_ candidate: Matrix) -> Matrix {
      let wanted = exact.times(transposed: weights)
      let found = inputs.times(transposed: candidate)
      return Matrix(
        rows: tokens, columns: rows,
        values: wanted.values.indices.map {
          wanted.values[$0] + behind.values[$0] - found.values[$0]
        })
    }
    func size(_ matrix: Matrix) -> Double {
      matrix.values.reduce(0) { $0 + Double($1) * Double($1) }
    }
    let (left, plain) = (missed(aimed), missed(weights))
    #expect(size(left) < size(plain))
    for row in 0..<rows {
      for column in 0..<columns {
        let along = (0..<tokens).reduce(0.0) {
          $0 + Double(left[$1, row]) * Double(inputs[$1, column])
        }
        #expect(abs(along) <= 1e-3 * (size(plain) * size(inputs)).squareRoot())
      }
    }
    // About the means: the least squares beside a free bias.
    let beside = weights.aimed(
      from: hessian.centred, drift: drift.centred(hessian.mean), behind: sum.centred(hessian.mean))
    let shift = BiasCorrection.shift(
      of: weights, quantized: beside, mean: hessian.mean, drift: drift.mean, behind: sum.mean)
    var rest = missed(beside)
    for i in rest.values.indices { rest.values[i] -= shift[i % rows] }
    #expect(size(rest) < size(left))
    for row in 0..<rows {
      let ones = (0..<tokens).reduce(0.0) { $0 + Double(rest[$1, row]) }
      #expect(abs(ones) <= 1e-3 * (size(plain) * Double(tokens)).squareRoot())
      for column in 0..<columns {
        let along = (0..<tokens).reduce(0.0) {
          $0 + Double(rest[$1, row]) * Double(inputs[$1, column])
        }
        #expect(abs(along) <= 1e-3 * (size(plain) * size(inputs)).squareRoot())
      }
    }
    // Where nothing is amiss, nothing moves.
    let still = weights.aimed(
      from: hessian, drift: CrossMoments(rows: columns, columns: columns))
    #expect(still == weights)
  }
}
