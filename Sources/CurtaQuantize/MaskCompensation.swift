// What is left of a row makes up for what was pruned.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

extension BlockPruning {
  /// The weights that survive, moved to where the outputs change least; 0 where pruned.
  ///
  /// Rows of a strip share their mask, so that one factor serves them: with A the columns that survive,
  /// ŵ_A = w H_A (H_AA)⁻¹ is the exact minimum of (w − ŵ) H (w − ŵ)ᵀ, H damped. A strip that keeps
  /// nothing is 0. Cost: columns³ / 3 multiplications a strip. Throws `QuantizeError`.
  public func compensate(
    _ weight: Matrix, _ hessian: Hessian, _ mask: BlockMask
  ) throws(QuantizeError) -> Matrix {
    let columns = weight.columns
    try checkPruning(weight, hessian)
    guard mask.rows == weight.rows, mask.columns == columns else {
      throw .unsupported(
        "a mask of \(mask.rows) by \(mask.columns) for \(weight.rows) by \(columns) weights")
    }
    let moments = try dampedMoments(hessian, damping)
    let parts: [[Float]?] = SingleThreadedBLAS.run {
      concurrentMap(mask.strips) { strip in
        let rows = mask.rows(of: strip)
        let kept = (0..<mask.blocks).filter { mask.survives[strip * mask.blocks + $0] }
          .flatMap { Array(mask.columns(of: $0)) }
        var values = [Float](repeating: 0, count: rows.count * columns)
        let own = weight.values[rows.lowerBound * columns..<rows.upperBound * columns]
        if kept.count == columns { return Array(own) }
        guard !kept.isEmpty else { return values }
        // w H, the columns that survive.
        var targets = [Double](repeating: 0, count: rows.count * columns)
        product(
          own.map(Double.init), moments, into: &targets, m: rows.count, n: columns, k: columns)
        let square = kept.flatMap { i in kept.map { moments[i * columns + $0] } }
        let rights = (0..<rows.count).flatMap { row in kept.map { targets[row * columns + $0] } }
        guard let solved = solutions(square, kept.count, rows: rights) else { return nil }
        for row in 0..<rows.count {
          for (i, column) in kept.enumerated() {
            values[row * columns + column] = Float(solved[row * kept.count + i])
          }
        }
        return values
      }
    }
    var result: [Float] = []
    result.reserveCapacity(weight.values.count)
    for part in parts {
      guard let part else { throw .unsupported("second moments that are not positive definite") }
      result += part
    }
    return Matrix(rows: weight.rows, columns: columns, values: result)
  }
}

/// Finite weights with as many columns as the moments.
func checkPruning(_ weight: Matrix, _ hessian: Hessian) throws(QuantizeError) {
  guard weight.rows > 0, weight.columns > 0 else { throw .unsupported("an empty matrix") }
  guard hessian.columns == weight.columns else {
    throw .unsupported("moments of \(hessian.columns) columns for \(weight.columns) columns")
  }
  if let place = weight.values.firstIndex(where: { !$0.isFinite }) {
    throw .notFinite(row: place / weight.columns, column: place % weight.columns)
  }
}

/// H + damping · mean(diag H) · I, [columns][columns]; without any input all weights count alike.
func dampedMoments(_ hessian: Hessian, _ damping: Double) throws(QuantizeError) -> [Double] {
  guard damping > 0, damping.isFinite else { throw .unsupported("a damping of \(damping)") }
  let (n, mean) = (hessian.columns, hessian.diagonal.reduce(0, +) / Double(hessian.columns))
  var values = hessian.values
  for i in 0..<n { values[i * (n + 1)] += mean > 0 ? damping * mean : 1 }
  return values
}

/// Σ w H wᵀ over the rows: the squared size of a token's outputs.
func energy(_ weight: Matrix, _ hessian: Hessian) -> Double {
  let (rows, columns) = (weight.rows, weight.columns)
  let values = weight.values.map(Double.init)
  var products = [Double](repeating: 0, count: rows * columns)
  SingleThreadedBLAS.run {
    product(values, hessian.values, into: &products, m: rows, n: columns, k: columns)
  }
  return zip(values, products).reduce(0) { $0 + $1.0 * $1.1 }
}
