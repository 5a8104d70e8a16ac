// Column by column, the error of what is rounded is made up for by what is not yet (GPTQ).
// SPDX-License-Identifier: Apache-2.0

/// GPTQ (Frantar et al. 2022, arXiv 2210.17323) against a fixed grid.
///
/// In the form of QuIP (Chee et al. 2023, arXiv 2307.13304, theorem 6): with the damped H =
/// (I + M) D (I + M)ᵀ, column j takes the code nearest to w_j + Σ_{k<j} (w_k − ŵ_k) M_kj. These are
/// the codes of GPTQ, without its inverse. Cost: rows · columns² / 2 multiplications in float32.
enum GPTQ {
  /// Columns whose errors are passed on together.
  private static let width = 128

  /// Gives every column of `block` new codes on its grid; the former codes do not matter.
  static func solve(_ block: RowBlock, _ hessian: SolverHessian) {
    let (columns, lanes) = (block.columns, block.lanes)
    let targets = NumberBuffer(copying: block.targets)
    let errors = NumberBuffer<Float>(min(width, columns) * lanes)
    for start in stride(from: 0, to: columns, by: width) {
      let end = min(start + width, columns)
      for j in start..<end {
        let weight = Float(hessian.pivots[j] * hessian.unit)
        let feedback = hessian.feedback.base + j * columns
        for lane in stride(from: 0, to: lanes, by: 8) {
          let place = j * lanes + lane
          let value = block.chosen(j, lane, targets.lanes(place), weight: weight)
          block.values.setLanes(value, place)
          let error = block.targets.lanes(place) - value
          errors.setLanes(error, place - start * lanes)
          for k in j + 1..<max(end, j + 1) {
            let later = k * lanes + lane
            targets.setLanes(targets.lanes(later) + error * feedback[k], later)
          }
        }
      }
      addProduct(
        transposed: hessian.feedback.base + start * columns + end, columns, errors.base, lanes,
        to: targets.base + end * lanes, m: columns - end, n: lanes, k: end - start)
    }
  }
}
