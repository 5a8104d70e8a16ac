// Code by code, the one that loses least beside all the others (QuantEase).
// SPDX-License-Identifier: Apache-2.0

/// Cyclic coordinate descent, QuantEase (Behdin et al. 2023, arXiv 2309.01885).
///
/// With G = (ŵ − w) H, the best value of column j beside the others is ŵ_j − G_j / H_jj; it takes the
/// nearest code. Columns come in descending order of H_jj. Cost: rows · columns² multiplications in
/// float32 a sweep, less where nothing changes any more.
enum QuantEase {
  /// Columns whose changes are passed on together.
  private static let width = 64

  /// Betters the codes of `block` in at most `sweeps` passes; none changes: done.
  ///
  /// With `escape` every third pass, except the last three, leaves values between codes, so that
  /// later passes reach codes that no single step leads to; the result may then be worse. Cells with
  /// an overlay always take the best value, which their codes and the overlay share in the end.
  static func solve(_ block: RowBlock, _ hessian: SolverHessian, sweeps: Int, escape: Bool) {
    let (columns, lanes) = (block.columns, block.lanes)
    let gradient = NumberBuffer<Float>(columns * lanes)
    let changes = NumberBuffer<Float>(max(columns, width) * lanes)
    for i in 0..<columns * lanes { changes[i] = block.values[i] - block.targets[i] }
    addProduct(
      transposed: hessian.moments32.base, columns, changes.base, lanes, to: gradient.base,
      m: columns, n: lanes, k: columns)
    for sweep in 0..<sweeps {
      let isFree = escape && sweep % 3 == 1 && sweep < sweeps - 3
      var hasChanged = false
      for start in stride(from: 0, to: hessian.live, by: width) {
        let end = min(start + width, hessian.live)
        guard pass(block, hessian, start..<end, gradient, changes, isFree: isFree) else { continue }
        hasChanged = true
        addProduct(
          transposed: hessian.moments32.base + start * columns, columns, changes.base, lanes,
          to: gradient.base, m: columns, n: lanes, k: end - start)
      }
      if !hasChanged { break }
    }
    block.splitValues()
  }

  /// One pass over a few columns: their new values, and `changes` [columns][lanes] of them. Whether
  /// there are any.
  private static func pass(
    _ block: RowBlock, _ hessian: SolverHessian, _ range: Range<Int>,
    _ gradient: NumberBuffer<Float>, _ changes: NumberBuffer<Float>, isFree: Bool
  ) -> Bool {
    let (columns, lanes) = (block.columns, block.lanes)
    let slopes = NumberBuffer<Float>(range.count * lanes)
    slopes.base.update(
      from: gradient.base + range.lowerBound * lanes, count: range.count * lanes)
    var hasChanged = false
    for j in range {
      let moments = hessian.moments32.base + j * columns
      let inverse = 1 / moments[j]
      for lane in stride(from: 0, to: lanes, by: 8) {
        let (place, local) = (j * lanes + lane, (j - range.lowerBound) * lanes + lane)
        let former = block.values.lanes(place)
        let ideal = former - slopes.lanes(local) * inverse
        var value = isFree ? ideal : block.chosen(j, lane, ideal, weight: moments[j])
        if let free = block.isOverlaid {
          value.replace(with: ideal, where: free.lanes(place) .> 0)
        }
        let change = value - former
        changes.setLanes(change, local)
        guard any(change .!= 0) else { continue }
        hasChanged = true
        block.values.setLanes(value, place)
        for k in j + 1..<max(range.upperBound, j + 1) {
          let later = (k - range.lowerBound) * lanes + lane
          slopes.setLanes(slopes.lanes(later) + change * moments[k], later)
        }
      }
    }
    return hasChanged
  }
}
