// A grid whose codes are few bits once they are compressed: error and rate weighed against each other.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// What errors of a tensor cost where the model gives its outputs.
public struct ErrorWeight: Sendable, Equatable {
  /// The loss of one unit of Σ_n v_n (w_n − ŵ_n) H (w_n − ŵ_n)ᵀ.
  public var slope: Double
  /// v, [rows], above 0, 1 on average; nil: 1 for all.
  public var rows: [Float]?
  /// What is added to H on its diagonal, in its units: what errors cost where no input multiplies
  /// them, as in rows of an embedding that is the head as well.
  public var ridge: Double

  public init(slope: Double, rows: [Float]? = nil, ridge: Double = 0) {
    self.slope = slope
    self.rows = rows
    self.ridge = ridge
  }
}

/// What rounding may cost, and what it costs where: the same price for a bit in all of a model.
public struct RatePlan: Sendable, Equatable {
  /// The loss that each weight may cost on average.
  public var lossPerWeight: Double
  /// The tensors that share the loss, by name.
  public var tensors: [String: ErrorWeight]

  public init(lossPerWeight: Double, tensors: [String: ErrorWeight]) {
    self.lossPerWeight = lossPerWeight
    self.tensors = tensors
  }
}

/// Quantizes to 8-bit codes of which only the entropy counts.
///
/// An evenly spaced grid with an entropy coder behind it is within a quarter of a bit of any
/// quantizer (Gish and Pierce 1968), and a file is smallest where a bit more takes the same loss
/// away wherever it is spent. Both hold when every weight costs the same loss: with the errors made
/// up for by GPTQ, that of a row is v Δ² Σ_j D_j / 12 for a step Δ, and D of (I + M) D (I + M)ᵀ = H.
/// So the loss of the plan fixes the steps, and with them the loss for one bit, 2 ln 2 times that
/// of a weight. At this price solvers choose codes by error and bits (as video encoders do; Sullivan
/// and Wiegand 1998).
///
/// Rows that share a Huffman code should also have codes alike: their steps lie half way, by the
/// geometric mean, between the ones that this gives and those of equal spread.
public struct RateQuantizer: Sendable {
  /// The loss that each weight costs.
  public var lossPerWeight: Double

  public init(lossPerWeight: Double) {
    self.lossPerWeight = lossPerWeight
  }

  /// Quantizes `weights` [rows][columns], whose errors cost `weight`. `hessian` holds the moments of
  /// the input; nil: all columns count alike.
  ///
  /// The same integers on any number of cores; OpenBLAS may round otherwise on another processor.
  /// Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, _ weight: ErrorWeight, hessian: SolverHessian?, solvers: [Solver]
  ) throws(QuantizeError) -> GridTensor {
    let (rows, columns) = (weights.rows, weights.columns)
    guard rows > 0, columns > 0 else { throw .unsupported("an empty matrix") }
    if let place = weights.values.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(row: place / columns, column: place % columns)
    }
    guard weight.rows.map({ $0.count == rows && $0.allSatisfy { $0 > 0 } }) ?? true else {
      throw .unsupported("error weights that are not one above 0 for each of \(rows) rows")
    }
    var moments = hessian
    if moments == nil {
      var one = [Double](repeating: 0, count: columns * columns)
      for i in 0..<columns { one[i * (columns + 1)] = 1 }
      moments = try SolverHessian(Hessian(columns: columns, values: one, samples: 1))
    }
    guard var moments, moments.columns == columns else {
      throw .unsupported(
        "second moments of \(hessian?.columns ?? 0) inputs for \(columns) columns")
    }
    if weight.ridge > 0 { moments = try moments.adding(ridge: weight.ridge) }
    let steps = steps(weights, weight, moments)
    var tensor = GridTensor(
      rows: rows, columns: columns, bits: 8, group: 0,
      exponent: try mantissaExponent(largest: steps.max() ?? 0),
      codes: [Int8](repeating: 0, count: rows * columns),
      mantissas: [UInt16](repeating: 1, count: rows))
    for row in 0..<rows where steps[row] > 0 {
      let mantissa = scalbn(Double(steps[row]), tensor.exponent).rounded()
      tensor.mantissas[row] = UInt16(min(max(mantissa, 1), 65535))
      let step = scalbn(Double(tensor.mantissas[row]), -tensor.exponent)
      for i in row * columns..<(row + 1) * columns {
        tensor.codes[i] = Int8(min(max((Double(weights.values[i]) / step).rounded(), -127), 127))
      }
    }
    let perBit = 2 * log(2.0) * lossPerWeight / max(weight.slope, .leastNormalMagnitude)
    for solver in solvers.isEmpty ? [.gptq] : solvers {
      let prices = CodePrices(tensor.codes, columns: columns)
      tensor.solve(weights, moments, [solver]) { row in
        (prices.table(row: row), perBit / Double(weight.rows?[row] ?? 1))
      }
    }
    return tensor
  }

  /// The step of every row; 0 for rows of zeros.
  private func steps(
    _ weights: Matrix, _ weight: ErrorWeight, _ hessian: SolverHessian
  ) -> [Float] {
    let (rows, columns) = (weights.rows, weights.columns)
    var largest = [Double](repeating: 0, count: rows)
    var spreads = [Double](repeating: 0, count: rows)
    for row in 0..<rows {
      var squares = 0.0
      for value in weights.row(row) {
        squares += Double(value) * Double(value)
        largest[row] = max(largest[row], Double(abs(value)))
      }
      spreads[row] = (squares / Double(columns)).squareRoot()
    }
    // Of codes, up to one factor, when every weight costs the same.
    let ideal = (0..<rows).map { spreads[$0] * Double(weight.rows?[$0] ?? 1).squareRoot() }
    var steps = [Double](repeating: 0, count: rows)
    let length = CodePrices.rowsInBlock(columns: columns)
    for start in stride(from: 0, to: rows, by: length) {
      let block = (start..<min(start + length, rows)).filter { ideal[$0] > 0 }
      let mean = exp(block.reduce(0) { $0 + log(ideal[$1]) } / Double(max(block.count, 1)))
      for row in block { steps[row] = spreads[row] / (ideal[row] * mean).squareRoot() }
    }
    let squares = (0..<rows).reduce(0) {
      $0 + steps[$1] * steps[$1] * Double(weight.rows?[$1] ?? 1)
    }
    let loss = weight.slope * squares * hessian.pivots.reduce(0, +) / 12
    let factor = (lossPerWeight * Double(rows * columns) / max(loss, 1e-300)).squareRoot()
    return (0..<rows).map { row in
      // Coarser than the largest weight there is nothing; finer than 1/127 of it does not fit.
      let step = min(max(steps[row] * factor, largest[row] / 127), largest[row])
      return step < Double(WeightSpan.tiniest) ? 0 : Float(step)
    }
  }
}
