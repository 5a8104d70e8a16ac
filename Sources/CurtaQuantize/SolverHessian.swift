// Second moments as the solvers take them: columns in order of weight, and the feedback of errors.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A `Hessian` made ready for the solvers once, for all layers that share the input.
///
/// Columns come in descending order of their second moment ("act-order" of GPTQ), so that what is
/// rounded last, and cannot be made up for, matters least. Scales belong to the groups of the
/// unpermuted columns, so that the order leaves no trace in the file. It takes 16 · columns² bytes,
/// and columns³ / 3 multiplications in double precision.
public struct SolverHessian: Sendable {
  public let columns: Int
  /// The part of the mean second moment that was added to the diagonal before the factor existed.
  public let damping: Double
  /// Mean squares of the inputs, [columns], not permuted.
  public let diagonal: [Double]
  /// The column that is taken in place j, [columns]. Those without input are last.
  let order: [Int]
  /// The place of every column, [columns].
  var places: [Int] {
    var places = [Int](repeating: 0, count: columns)
    for (place, column) in order.enumerated() { places[column] = place }
    return places
  }
  /// How many of `order` have input: a second moment above 2^−100 of the largest.
  let live: Int
  let moments: NumberBuffer<Double>  // [columns][columns], permuted both ways
  /// The same by a power of two that makes the largest 1…2, where float32 has room to both sides.
  let moments32: NumberBuffer<Float>
  /// What `moments32` are `moments` times.
  let unit: Double
  /// D [columns], permuted: (I + M) D (I + M)ᵀ is the damped H. What the error of a column costs when
  /// those that follow make up for it.
  let pivots: [Double]
  /// M [columns][columns], strictly upper triangular, permuted: (I + M) D (I + M)ᵀ is the damped H.
  let feedback: NumberBuffer<Float>

  /// Damping starts at `damping` and grows tenfold until the moments are positive definite.
  public init(_ hessian: Hessian, damping: Double = 0.01) throws(QuantizeError) {
    let n = hessian.columns
    guard n > 0 else { throw .unsupported("second moments of no inputs") }
    guard damping > 0, damping.isFinite else { throw .unsupported("a damping of \(damping)") }
    let diagonal = hessian.diagonal
    let order = diagonal.indices.sorted {
      diagonal[$0] != diagonal[$1] ? diagonal[$0] > diagonal[$1] : $0 < $1
    }
    let largest = diagonal.max() ?? 0
    unit = largest > 0 ? scalbn(1, -Int(largest.exponent)) : 1
    moments = NumberBuffer(n * n)
    moments32 = NumberBuffer(n * n)
    for i in 0..<n {
      for j in 0..<n {
        let value = hessian.values[order[i] * n + order[j]]
        moments[i * n + j] = value
        moments32[i * n + j] = Float(value * unit)
      }
    }
    let mean = diagonal.reduce(0, +) / Double(n)
    var fraction = damping
    var factor: [Double]?
    while true {
      var damped = Array(UnsafeBufferPointer(start: moments.base, count: n * n))
      // Without any input, all weights count alike.
      for i in 0..<n { damped[i * (n + 1)] += mean > 0 ? fraction * mean : 1 }
      factor = SingleThreadedBLAS.run { upperFactor(damped, n) }
      if factor != nil || fraction > 1e6 { break }
      fraction *= 10
    }
    guard let factor else {
      throw .unsupported("second moments that are not those of any input: not positive definite")
    }
    pivots = (0..<n).map { factor[$0 * (n + 1)] * factor[$0 * (n + 1)] }
    feedback = NumberBuffer(n * n)
    for i in 0..<n {
      for j in i + 1..<max(n, i + 1) {
        feedback[i * n + j] = Float(factor[i * n + j] / factor[j * (n + 1)])
      }
    }
    self.columns = n
    self.damping = fraction
    self.diagonal = diagonal
    self.order = order
    live = diagonal.count { $0 > 0x1p-100 * largest }
  }

  /// The same of H + `ridge` · I. Throws `QuantizeError`.
  func adding(ridge: Double) throws(QuantizeError) -> SolverHessian {
    var values = [Double](repeating: 0, count: columns * columns)
    for (i, row) in order.enumerated() {
      for (j, column) in order.enumerated() {
        values[row * columns + column] = moments[i * columns + j] + (i == j ? ridge : 0)
      }
    }
    return try SolverHessian(Hessian(columns: columns, values: values, samples: 1))
  }
}
