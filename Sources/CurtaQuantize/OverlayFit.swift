// What is added to codes that stay, so that the outputs lose least.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cyclic coordinate descent over the values of overlays, the step on O of outlier-aware QuantEase
/// (Behdin et al. 2023, arXiv 2309.01885, algorithm 3).
///
/// The paper takes gradient steps of 1 / (2 λmax) and keeps the largest; here the cells stay and each
/// takes its best value beside all others, in turn, until none changes: the minimum is reached in a few
/// passes whatever the moments. Cost: rows · columns² multiplications for the gradients.
enum OverlayFit {
  private static let passes = 20

  /// Betters the values of every row of `block`. None gets worse.
  static func solve(_ block: RowBlock, _ hessian: SolverHessian) {
    let (columns, lanes) = (block.columns, block.lanes)
    let differences = NumberBuffer<Double>(columns * lanes)
    let gradient = NumberBuffer<Double>(columns * lanes)
    for i in 0..<columns * lanes {
      differences[i] = Double(block.values[i]) - Double(block.targets[i])
    }
    product(
      hessian.moments.base, differences.base, into: gradient.base, m: columns, n: lanes, k: columns)
    for lane in 0..<block.rows.count {
      let cells = block.overlaid[lane]
      let unit = block.overlayUnit(lane)
      var slopes = cells.map { gradient[$0 * lanes + lane] }
      for _ in 0..<passes {
        var hasChanged = false
        for (i, j) in cells.enumerated() {
          let moments = hessian.moments.base + j * columns
          guard moments[j] > 0 else { continue }
          let former = Double(block.added[lane][i])
          let value = min(max((former - slopes[i] / (moments[j] * unit)).rounded(), -127), 127)
          guard value != former else { continue }
          hasChanged = true
          block.added[lane][i] = Int8(value)
          for (k, other) in cells.enumerated() {
            slopes[k] += (value - former) * unit * moments[other]
          }
        }
        if !hasChanged { break }
      }
      block.updateTargets(lane)
    }
  }
}
