// In which order the blocks of a strip of 16 rows go, and what is lost with each (optimal brain surgeon).
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import CurtaTensor

/// One block after the other of a strip, always the one whose removal loses least.
///
/// Removing the columns S of the rows w, with all columns that are left moved to make up for it,
/// adds Σ_r w_rS ([H⁻¹]_SS)⁻¹ w_rSᵀ to the squared error (Hassibi and Stork 1993, in blocks). All rows
/// of a strip lose the same columns, so that they share H⁻¹, from which S then is eliminated. The sum
/// of the losses is the error of the least-squares solution on what is left, to rounding.
struct StripRemoval {
  /// Blocks in the order in which they go.
  private(set) var order: [Int] = []
  /// What each adds to Σ (w − ŵ) H (w − ŵ)ᵀ over the rows of the strip.
  private(set) var losses: [Double] = []

  /// Removes up to `count` blocks of a strip of rows.
  ///
  /// `weights` [rows][columns], `inverse` [columns][columns] the inverse of the damped moments.
  /// Cost: 2/3 · columns³ multiplications in double precision for all blocks.
  init(weights: [Double], rows: Int, inverse: [Double], columns: Int, count: Int) {
    let width = BlockMask.width
    var left = Array(0..<(columns + width - 1) / width)
    var (w, h, n) = (weights, inverse, columns)
    // Blocks keep their order, so that only the last can be narrow, and it stays last.
    func span(_ place: Int) -> Range<Int> { place * width..<min((place + 1) * width, n) }
    while order.count < count, !left.isEmpty {
      var best = 0
      var least = Double.infinity
      for place in left.indices {
        let loss = StripRemoval.loss(w, rows, h, n, span(place))
        if loss < least {
          least = loss
          best = place
        }
      }
      order.append(left[best])
      losses.append(max(least, 0))
      StripRemoval.remove(span(best), &w, rows, &h, n)
      n -= span(best).count
      left.remove(at: best)
    }
  }

  /// Σ_r w_rS ([H⁻¹]_SS)⁻¹ w_rSᵀ.
  private static func loss(
    _ w: [Double], _ rows: Int, _ h: [Double], _ n: Int, _ span: Range<Int>
  ) -> Double {
    guard let solved = solvedSpan(w, rows, h, n, span) else { return .infinity }
    var sum = 0.0
    for row in 0..<rows {
      for (i, column) in span.enumerated() {
        sum += w[row * n + column] * solved[row * span.count + i]
      }
    }
    return sum
  }

  /// w_rS ([H⁻¹]_SS)⁻¹ of every row, [rows][span].
  private static func solvedSpan(
    _ w: [Double], _ rows: Int, _ h: [Double], _ n: Int, _ span: Range<Int>
  ) -> [Double]? {
    let square = span.flatMap { h[$0 * n + span.lowerBound..<$0 * n + span.upperBound] }
    let own = (0..<rows).flatMap { w[$0 * n + span.lowerBound..<$0 * n + span.upperBound] }
    return solutions(square, span.count, rows: own)
  }

  /// Eliminates the columns of `span`: w ← w − w_S ([H⁻¹]_SS)⁻¹ [H⁻¹]_S, the same of H⁻¹ itself, and
  /// leaves them out.
  private static func remove(
    _ span: Range<Int>, _ w: inout [Double], _ rows: Int, _ h: inout [Double], _ n: Int
  ) {
    let panel = Array(h[span.lowerBound * n..<span.upperBound * n])  // [span][n]
    let square = span.flatMap { h[$0 * n + span.lowerBound..<$0 * n + span.upperBound] }
    let columnsOfPanel = (0..<n).flatMap { j in
      span.indices.map { panel[($0 - span.lowerBound) * n + j] }
    }
    guard let factors = solutions(square, span.count, rows: columnsOfPanel),
      let solved = solvedSpan(w, rows, h, n, span)
    else { return }
    subtractProduct(solved, panel, from: &w, m: rows, n: n, k: span.count)
    subtractProduct(factors, panel, from: &h, m: n, n: n, k: span.count)
    let kept = (0..<n).filter { !span.contains($0) }
    w = (0..<rows).flatMap { row in kept.map { w[row * n + $0] } }
    h = kept.flatMap { i in kept.map { h[i * n + $0] } }
  }
}
