// n of every m columns survive, and the others of a row make up for what goes (SparseGPT, Wanda).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Pruning to n survivors in every m columns of a row.
public struct PatternPruning: Sendable {
  public enum Score: String, Sendable, CaseIterable, Codable {
    /// |w_k| · √H_kk of the given weights (Wanda, Sun et al. 2023, arXiv 2306.11695).
    case wanda
    /// w_k² / [H⁻¹]_kk of the weights as they are when their m columns are reached, H that of the
    /// columns not yet passed (SparseGPT, Frantar and Alistarh 2023, arXiv 2301.00774).
    case conditional
  }

  public let n: Int
  /// 2, 4, 8, 16 or 32.
  public let m: Int
  public let score: Score
  /// Part of the mean second moment that is added to the diagonal.
  public let damping: Double

  /// Throws `QuantizeError.unsupported` where the encoding has no such pattern.
  public init(
    n: Int, m: Int, score: Score = .conditional, damping: Double = 0.01
  ) throws(QuantizeError) {
    guard [2, 4, 8, 16, 32].contains(m), n >= 1, n < m else {
      throw .unsupported(
        "\(n) of \(m) columns are not possible; m is 2, 4, 8, 16 or 32, n below it")
    }
    (self.n, self.m, self.score, self.damping) = (n, m, score, damping)
  }

  /// The pruned weights, 0 where pruned, and their mask.
  ///
  /// Columns are passed from first to last, and the columns that follow make up for what goes: with
  /// UᵀU the inverse of the damped H, w_k ← w_k − w_j U_jk / U_jj for all k > j. Cost: rows · columns² / 4
  /// multiplications in double precision at half of the columns. Throws `QuantizeError`, also where m
  /// does not divide the columns.
  public func prune(
    _ weight: Matrix, _ hessian: Hessian
  ) throws(QuantizeError) -> (weight: Matrix, mask: PatternMask) {
    let (rows, columns) = (weight.rows, weight.columns)
    try checkPruning(weight, hessian)
    guard columns % m == 0 else {
      throw .unsupported("\(n) of \(m) columns are not possible with \(columns) columns")
    }
    let moments = try dampedMoments(hessian, damping)
    guard
      let factor = SingleThreadedBLAS.run({
        symmetricInverse(moments, columns).flatMap { upperRoot($0, columns) }
      })
    else { throw .unsupported("second moments that are not positive definite") }
    let pivots = (0..<columns).map { factor[$0 * (columns + 1)] }
    let sizes = hessian.diagonal.map { $0.squareRoot() }
    let pruned = concurrentMap(rows) { row in
      pruneRow(weight.row(row).map(Double.init), pivots, sizes, factor)
    }
    return (
      Matrix(rows: rows, columns: columns, values: pruned.flatMap(\.values)),
      PatternMask(n: n, m: m, survives: pruned.flatMap(\.survives))
    )
  }

  private func pruneRow(
    _ weights: [Double], _ pivots: [Double], _ sizes: [Double], _ factor: [Double]
  ) -> (values: [Float], survives: [Bool]) {
    let columns = weights.count
    var values = weights
    var survives = [Bool](repeating: false, count: columns)
    for first in stride(from: 0, to: columns, by: m) {
      let scores = (first..<first + m).map { j in
        score == .wanda ? abs(weights[j]) * sizes[j] : abs(values[j]) / pivots[j]
      }
      // Of equal scores the first survives.
      let order = scores.indices.sorted {
        scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1
      }
      for i in order.prefix(n) { survives[first + i] = true }
      for j in first..<first + m where !survives[j] {
        let error = values[j] / pivots[j]
        values[j] = 0
        let start = j * columns
        for k in j + 1..<max(columns, j + 1) { values[k] -= error * factor[start + k] }
      }
    }
    return (values.map(Float.init), survives)
  }
}
