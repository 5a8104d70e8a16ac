// A pruned matrix to a masked grid.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension GridQuantizer {
  /// Quantizes what a mask leaves of `weights` [rows][columns]; pruned cells count as 0, whatever they
  /// are, and move no step: their code is 0 at every step.
  ///
  /// `importance` as in `quantize(_:importance:)`. Throws `QuantizeError`, also where the mask is of
  /// another shape or the encoding does not have it with these groups: of blocks with groups that are
  /// not 32 columns or the row.
  public func quantize(
    _ weights: Matrix, importance: [Float]? = nil, mask: GridMask
  ) throws(QuantizeError) -> GridTensor {
    try mask.check(rows: weights.rows, columns: weights.columns, group: group)
    var tensor = try quantize(mask.keeping(weights), importance: importance)
    tensor.mask = mask
    return tensor
  }

  /// The same with `solvers` for inputs with the moments `hessian`. What they give a pruned cell, where
  /// its group has a step, is dropped. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, hessian: SolverHessian, solvers: [Solver], mask: GridMask
  ) throws(QuantizeError) -> GridTensor {
    try mask.check(rows: weights.rows, columns: weights.columns, group: group)
    var tensor = try quantize(mask.keeping(weights), hessian: hessian, solvers: solvers)
    for row in 0..<tensor.rows {
      let survives = mask.survivors(row: row, columns: tensor.columns)
      for column in 0..<tensor.columns where !survives[column] {
        tensor.codes[row * tensor.columns + column] = 0
      }
    }
    tensor.mask = mask
    return tensor
  }
}

extension GridMask {
  /// The weights that survive, 0 elsewhere.
  func keeping(_ weights: Matrix) -> Matrix {
    var left = weights
    for row in 0..<weights.rows {
      let survives = survivors(row: row, columns: weights.columns)
      for column in 0..<weights.columns where !survives[column] { left[row, column] = 0 }
    }
    return left
  }

  /// Throws `QuantizeError.unsupported` where it is not a mask for this shape.
  func check(rows: Int, columns: Int, group: Int) throws(QuantizeError) {
    switch self {
    case .blocks(let mask):
      guard mask.rows == rows, mask.columns == columns else {
        throw .unsupported("a mask of \(mask.rows) by \(mask.columns) for \(rows) by \(columns)")
      }
      guard mask.survives.contains(true) else { throw .unsupported("a mask that leaves nothing") }
      guard group == 0 || group == 32 else {
        throw .unsupported("groups of \(group) with a mask of blocks; 32 or rows are possible")
      }
    case .pattern(let mask):
      guard mask.survives.count == rows * columns, columns % mask.m == 0 else {
        throw .unsupported("a mask of \(mask.survives.count) cells for \(rows) by \(columns)")
      }
    case .columns(let list):
      guard let first = list.first, let last = list.last, first >= 0, last < columns,
        zip(list, list.dropFirst()).allSatisfy(<), 32 * list.count >= columns
      else { throw .unsupported("\(list.count) columns kept of \(columns), or not in order") }
    }
  }
}
