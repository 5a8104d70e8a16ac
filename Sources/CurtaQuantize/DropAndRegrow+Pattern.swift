// Better masks of n in m columns, row by row (GraNet).
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import CurtaTensor
import Foundation

extension DropAndRegrow {
  /// Exchanges survivors of `mask` for others of their m columns, and moves what survives to where the
  /// outputs change least.
  ///
  /// In every group of m columns of a row the survivor that loses least without it may go for the
  /// column that gains most with it, both by the least squares of the row; the best groups change, and a
  /// round that does not lose less is undone. With no round the survivors are only moved. Cost: about
  /// columns³ / 4 multiplications a row and round, in double precision. Throws `QuantizeError`.
  public func refine(
    _ weight: Matrix, _ hessian: Hessian, _ mask: PatternMask
  ) throws(QuantizeError) -> (weight: Matrix, mask: PatternMask) {
    let (rows, columns) = (weight.rows, weight.columns)
    try checkPruning(weight, hessian)
    guard mask.survives.count == rows * columns else {
      throw .unsupported("a mask of \(mask.survives.count) cells for \(rows) by \(columns)")
    }
    let moments = try dampedMoments(hessian, damping)
    let solved: [PatternRow?] = SingleThreadedBLAS.run {
      concurrentMap(rows) { row in
        var best = PatternRow(
          weight.row(row).map(Double.init), moments,
          Array(mask.survives[row * columns..<(row + 1) * columns]))
        var part = share
        for round in 0..<rounds {
          let scheduled = part * (1 + cos(.pi * Double(round) / Double(rounds))) / 2
          guard let now = best, let other = now.exchanged(moments, mask.m, scheduled) else { break }
          if other.error < now.error { best = other } else { part /= 2 }
        }
        return best
      }
    }
    var values: [Float] = []
    var survives: [Bool] = []
    for row in solved {
      guard let row else { throw .unsupported("second moments that are not positive definite") }
      values += row.values.map(Float.init)
      survives += row.survives
    }
    return (
      Matrix(rows: rows, columns: columns, values: values),
      PatternMask(n: mask.n, m: mask.m, survives: survives)
    )
  }
}

/// A row solved on the columns that survive.
private struct PatternRow {
  let weights: [Double]
  let survives: [Bool]
  /// ŵ, 0 where pruned.
  let values: [Double]
  /// (w − ŵ) H.
  let residual: [Double]
  /// (w − ŵ) H (w − ŵ)ᵀ.
  let error: Double
  private let inverse: [Double]  // (H_AA)⁻¹
  private let kept: [Int]  // A

  /// nil where H_AA is not positive definite.
  init?(_ weights: [Double], _ moments: [Double], _ survives: [Bool]) {
    let k = weights.count
    let kept = survives.indices.filter { survives[$0] }
    let n = kept.count
    let square = kept.flatMap { i in kept.map { moments[i * k + $0] } }
    var residual = [Double](repeating: 0, count: k)
    product(weights, moments, into: &residual, m: 1, n: k, k: k)
    guard n > 0, let inverse = symmetricInverse(square, n) else { return nil }
    var own = [Double](repeating: 0, count: n)
    product(kept.map { residual[$0] }, inverse, into: &own, m: 1, n: n, k: n)
    var values = [Double](repeating: 0, count: k)
    for (i, column) in kept.enumerated() { values[column] = own[i] }
    subtractProduct(values, moments, from: &residual, m: 1, n: k, k: k)
    self.weights = weights
    self.survives = survives
    self.values = values
    self.residual = residual
    self.inverse = inverse
    self.kept = kept
    error = max(0, zip(weights, residual).reduce(0) { $0 + $1.0 * $1.1 })
  }

  /// The row with up to `share` of its groups of `m` changed; nil where none would gain.
  func exchanged(_ moments: [Double], _ m: Int, _ share: Double) -> PatternRow? {
    let (k, n) = (weights.count, kept.count)
    let gone = survives.indices.filter { !survives[$0] }
    guard !gone.isEmpty else { return nil }
    var losses = [Double](repeating: 0, count: k)
    for (i, column) in kept.enumerated() {
      losses[column] = values[column] * values[column] / inverse[i * (n + 1)]
    }
    // H_jj − H_jA (H_AA)⁻¹ H_Aj of every pruned column j.
    let cross = gone.flatMap { j in kept.map { moments[j * k + $0] } }
    var solved = [Double](repeating: 0, count: gone.count * n)
    product(cross, inverse, into: &solved, m: gone.count, n: n, k: n)
    var gains = [Double](repeating: 0, count: k)
    for (g, j) in gone.enumerated() {
      let taken = (g * n..<(g + 1) * n).reduce(0) { $0 + solved[$1] * cross[$1] }
      gains[j] = residual[j] * residual[j] / max(moments[j * (k + 1)] - taken, 1e-300)
    }
    var swaps: [(drop: Int, gain: Int, by: Double)] = []
    for first in stride(from: 0, to: k, by: m) {
      let group = first..<min(first + m, k)
      guard
        let drop = group.filter({ survives[$0] }).min(by: { losses[$0] < losses[$1] }),
        let gain = group.filter({ !survives[$0] }).max(by: { gains[$0] < gains[$1] }),
        gains[gain] > losses[drop]
      else { continue }
      swaps.append((drop, gain, gains[gain] - losses[drop]))
    }
    guard !swaps.isEmpty else { return nil }
    swaps.sort { $0.by != $1.by ? $0.by > $1.by : $0.drop < $1.drop }
    var changed = survives
    for swap in swaps.prefix(max(1, Int(share * Double(k / m)))) {
      changed[swap.drop] = false
      changed[swap.gain] = true
    }
    return PatternRow(weights, moments, changed)
  }
}
