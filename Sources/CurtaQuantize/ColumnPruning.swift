// The same columns kept in every row, and the others made up for (optimal brain surgeon).
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import CurtaTensor

/// Structured pruning of whole inputs of a layer.
public struct ColumnPruning: Sendable {
  /// Part of the mean second moment that is added to the diagonal.
  public var damping: Double

  public init(damping: Double = 0.01) {
    self.damping = damping
  }

  /// The columns that stay, ascending, and the weights on them, 0 elsewhere.
  ///
  /// One column after the other goes, always the one that loses least, Σ w_j² / [H⁻¹]_jj over the rows,
  /// and all that are left make up for it (Hassibi and Stork 1993). Cost: (rows + columns) · columns²
  /// multiplications in double precision. Throws `QuantizeError`, also where fewer than one in 32 would
  /// stay, which the encoding does not have.
  public func prune(
    _ weight: Matrix, _ hessian: Hessian, keeping count: Int
  ) throws(QuantizeError) -> (columns: [Int], weight: Matrix) {
    let (rows, n) = (weight.rows, weight.columns)
    try checkPruning(weight, hessian)
    guard count >= 1, count <= n, 32 * count >= n else {
      throw .unsupported("\(count) columns of \(n); at least one in 32 stays")
    }
    let moments = try dampedMoments(hessian, damping)
    guard var inverse = SingleThreadedBLAS.run({ symmetricInverse(moments, n) }) else {
      throw .unsupported("second moments that are not positive definite")
    }
    var values = weight.values.map(Double.init)
    var left = [Bool](repeating: true, count: n)
    SingleThreadedBLAS.run {
      for _ in 0..<n - count {
        var sizes = [Double](repeating: 0, count: n)
        for row in 0..<rows {
          for j in 0..<n { sizes[j] += values[row * n + j] * values[row * n + j] }
        }
        var gone = -1
        var least = Double.infinity
        for j in 0..<n where left[j] {
          let loss = sizes[j] / inverse[j * (n + 1)]
          if loss < least { (gone, least) = (j, loss) }
        }
        guard gone >= 0 else { break }
        let line = Array(inverse[gone * n..<(gone + 1) * n])
        let own = (0..<rows).map { values[$0 * n + gone] }
        let scale = -1 / line[gone]
        cblas_dger(
          CblasRowMajor, blasint(rows), blasint(n), scale, own, 1, line, 1, &values, blasint(n))
        cblas_dger(
          CblasRowMajor, blasint(n), blasint(n), scale, line, 1, line, 1, &inverse, blasint(n))
        left[gone] = false
        // Exactly, for what rounding left there.
        for row in 0..<rows { values[row * n + gone] = 0 }
        for j in 0..<n {
          inverse[gone * n + j] = 0
          inverse[j * n + gone] = 0
        }
      }
    }
    return (
      left.indices.filter { left[$0] },
      Matrix(rows: rows, columns: n, values: values.map(Float.init))
    )
  }
}
