// Products of two factors against numpy.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

@Suite struct LowRankTests {
  /// Σ (w − w') H (w − w')ᵀ in double precision.
  private func error(_ a: Matrix, _ b: Matrix, _ hessian: Hessian) -> Double {
    let n = a.columns
    var total = 0.0
    for row in 0..<a.rows {
      let d = (0..<n).map { Double(a[row, $0]) - Double(b[row, $0]) }
      for i in 0..<n {
        for j in 0..<n { total += d[i] * hessian.values[i * n + j] * d[j] }
      }
    }
    return total
  }

  /// The singular values that are cut off; columns without input count as 0 in both.
  @Test(arguments: SolvedLayer.all.filter { $0.name != "dead columns" })
  func factorsAreThoseOfTheDecomposition(_ layer: SolvedLayer) throws {
    let hessian = try layer.hessian().damped(by: 0.01)
    let whole = error(
      layer.matrix, Matrix(rows: layer.rows, columns: layer.columns), hessian)
    for (index, least) in layer.lowRank.enumerated() {
      let right = try LowRank.right(of: layer.matrix, rank: index + 1, hessian)
      #expect(right.rows == index + 1 && right.columns == layer.columns)
      let (left, moments) = try LowRank.left(of: layer.matrix, behind: right, hessian)
      let found = error(layer.matrix, left.times(right), hessian)
      #expect(abs(found - least) <= 1e-6 * whole)
      // Moments are those of what comes between.
      let between = Matrix(
        rows: 1, columns: layer.columns, values: Array(right.values.prefix(layer.columns)))
      let first = error(between, Matrix(rows: 1, columns: layer.columns), hessian)
      #expect(abs(moments.values[0] - first) <= 1e-6 * first)
    }
  }

  /// The left factor makes the best of any right one: no element can be moved to advantage.
  @Test func theLeftFactorIsTheBest() throws {
    var generator = SeededRandom.announced("left factor")
    let weights = heavyTailed(7, 40, &generator)
    let right = heavyTailed(5, 40, &generator)
    for isCalibrated in [true, false] {
      var hessian = Hessian(columns: 40)
      try hessian.accumulate(rows: mixedInputs(100, 40, &generator))
      let identity = try Hessian(
        columns: 40, values: (0..<1600).map { $0 % 41 == 0 ? 1 : 0 }, samples: 1)
      let moments = isCalibrated ? hessian : identity
      let (left, _) = try LowRank.left(
        of: weights, behind: right, isCalibrated ? hessian : nil)
      let least = error(weights, left.times(right), moments)
      for i in left.values.indices {
        for step: Float in [0.01, -0.01] {
          var other = left
          other.values[i] += step
          #expect(error(weights, other.times(right), moments) >= least * (1 - 1e-6))
        }
      }
    }
  }

  @Test func requestsAreChecked() throws {
    let weights = Matrix(rows: 3, columns: 4)
    #expect(throws: QuantizeError.self) { try LowRank.right(of: weights, rank: 0, nil) }
    #expect(throws: QuantizeError.self) { try LowRank.right(of: weights, rank: 4, nil) }
    #expect(throws: QuantizeError.self) {
      try LowRank.right(of: weights, rank: 2, Hessian(columns: 5))
    }
    var bad = weights
    bad[1, 1] = .nan
    #expect(throws: QuantizeError.self) { try LowRank.right(of: bad, rank: 2, nil) }
    // Weights of zeros are a product of zeros.
    let right = try LowRank.right(of: weights, rank: 2, nil)
    #expect(try LowRank.left(of: weights, behind: right, nil).left.values.allSatisfy { $0 == 0 })
    #expect(LowRankRule(share: 1, keepsBase: false).rank(rows: 576, columns: 576) == 288)
    #expect(LowRankRule(share: 0.01, keepsBase: true).rank(rows: 576, columns: 192) == 16)
    #expect(LowRankRule(share: 0.5, keepsBase: true).rank(rows: 5, columns: 192) == 5)
  }
}
