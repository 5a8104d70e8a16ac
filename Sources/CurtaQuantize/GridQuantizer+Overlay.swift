// A grid whose worst cells get values of 8 bits besides their codes.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

extension GridQuantizer {
  /// Quantizes `weights` [rows][columns] with the outliers that `rule` allows.
  ///
  /// Outliers are the cells, or columns, whose squared errors at the searched steps are largest, by
  /// `importance`; steps are then searched again without them, and both once more: the range of a grid
  /// is that of the other weights, as in outlier-aware QuantEase (Behdin et al. 2023, arXiv
  /// 2309.01885, section 4). Rows without groups get a scale of 8 bits, so that what is added to a code
  /// is finer than a step. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, importance: [Float]? = nil, outliers rule: OutlierRule
  ) throws(QuantizeError) -> GridTensor {
    var quantizer = self
    quantizer.hasFineRows = true
    var tensor = try quantizer.quantize(weights, importance: importance)
    var overlay = GridOverlay(cells: .columns([]), step: 0, values: [])
    for _ in 0..<2 {
      let errors = tensor.codingErrors(of: weights)
      overlay.cells = rule.choose(errors, importance)
      var rest = weights
      for row in 0..<weights.rows {
        for column in overlay.columns(of: row) { rest[row, column] = 0 }
      }
      tensor = try quantizer.quantize(rest, importance: importance)
    }
    tensor.add(overlay.cells, weights, importance)
    return tensor
  }

  /// The same with `solvers` for inputs with the moments `hessian`; after each, what is added is
  /// fitted again. `watch` is told what each step left. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, hessian: SolverHessian, solvers: [Solver], outliers rule: OutlierRule,
    watch: (([SolvingStep]) -> Void)? = nil
  ) throws(QuantizeError) -> GridTensor {
    let importance = try hessian.importance(for: weights)
    var tensor = try quantize(weights, importance: importance, outliers: rule)
    tensor.solve(weights, hessian, solvers, watch: watch)
    return tensor
  }
}

extension GridTensor {
  /// Gives `cells` their nearest codes and an overlay of what these leave of `weights`.
  mutating func add(_ cells: GridOverlay.Cells, _ weights: Matrix, _ importance: [Float]?) {
    var overlay = GridOverlay(cells: cells, step: 0, values: [])
    for row in 0..<rows {
      for column in overlay.columns(of: row) {
        codes[row * columns + column] = nearestCode(weights[row, column], row, column)
      }
    }
    overlay.fit(codingErrors(of: weights), self, importance)
    overlays = [overlay]
  }

  /// Step and offset of a cell.
  private func affine(_ row: Int, _ column: Int) -> (step: Double, offset: Double) {
    let unit = scalbn(Double(mantissas[row]), -exponent)
    let cell = row * groups + (group == 0 ? 0 : column / group)
    return (
      unit * Double(groupScales?[cell] ?? 1), unit * Double(groupOffsets?[cell] ?? 0)
    )
  }

  /// The code nearest to a weight; 0 at step 0.
  fileprivate func nearestCode(_ weight: Float, _ row: Int, _ column: Int) -> Int8 {
    let (step, offset) = affine(row, column)
    guard step > 0 else { return 0 }
    let range = GridTensor.codeRange(bits: bits)
    let code = ((Double(weight) - offset) / step).rounded()
    return Int8(min(max(code, Double(range.lowerBound)), Double(range.upperBound)))
  }

  /// What is left of every weight at its nearest code, [rows][columns].
  func codingErrors(of weights: Matrix) -> Matrix {
    var errors = weights
    errors.values.withUnsafeMutableBufferPointer { errors in
      nonisolated(unsafe) let errors = errors
      forEachRow(rows) { row in
        for column in 0..<columns {
          let (step, offset) = affine(row, column)
          let weight = errors[row * columns + column]
          let code = Double(nearestCode(weight, row, column))
          errors[row * columns + column] = Float(Double(weight) - step * code - offset)
        }
      }
    }
    return errors
  }
}

extension OutlierRule {
  /// The cells with the largest squared errors; of equal ones the first.
  func choose(_ errors: Matrix, _ importance: [Float]?) -> GridOverlay.Cells {
    let (rows, columns) = (errors.rows, errors.columns)
    let count = count(rows: rows, columns: columns)
    func score(_ i: Int) -> Float {
      errors.values[i] * errors.values[i] * (importance?[i % columns] ?? 1)
    }
    switch self {
    case .columns:
      var scores = [Double](repeating: 0, count: columns)
      for i in errors.values.indices { scores[i % columns] += Double(score(i)) }
      let order = scores.indices.sorted {
        scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1
      }
      return .columns(order.prefix(count).sorted())
    case .residual:
      let least = errors.values.indices.map(score).sorted(by: >)[count - 1]
      var spare = count - errors.values.indices.count { score($0) > least }
      var (starts, list) = ([0], [Int]())
      for row in 0..<rows {
        for column in 0..<columns {
          let own = score(row * columns + column)
          guard own >= least else { continue }
          if own == least {
            guard spare > 0 else { continue }
            spare -= 1
          }
          list.append(column)
        }
        starts.append(list.count)
      }
      return .entries(starts: starts, columns: list)
    }
  }
}

extension GridOverlay {
  /// The step at which the values nearest to `errors` lose least, and these values. Half of the range
  /// is left for what solvers make of them; at step 2 the range is ±2 codes at the largest scale, 255.
  fileprivate mutating func fit(_ errors: Matrix, _ tensor: GridTensor, _ importance: [Float]?) {
    var least = Double.infinity
    for step in 2...15 {
      var (loss, found) = (0.0, [Int8]())
      for row in 0..<tensor.rows {
        let unit = scalbn(Double(tensor.mantissas[row]), step - tensor.exponent)
        for column in columns(of: row) {
          let error = Double(errors[row, column])
          let value = min(max((error / unit).rounded(), -63), 63)
          let left = error - value * unit
          loss += left * left * Double(importance?[column] ?? 1)
          found.append(Int8(value))
        }
      }
      if loss < least { (least, self.step, values) = (loss, step, found) }
    }
  }
}
