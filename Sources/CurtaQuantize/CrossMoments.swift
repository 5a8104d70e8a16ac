// How two kinds of rows of the same tokens go together: cross moments, accumulated over tokens.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Dispatch

/// Cross moments C = Σ a xᵀ / T of rows a and x over T tokens, in double precision.
public struct CrossMoments: Sendable, Equatable {
  public let rows: Int
  public let columns: Int
  /// [rows][columns].
  public private(set) var values: [Double]
  /// Σ a / T, [rows].
  public private(set) var mean: [Double]
  /// T, the tokens behind `values`.
  public private(set) var samples = 0

  /// No tokens yet: zeros.
  public init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    values = [Double](repeating: 0, count: rows * columns)
    mean = [Double](repeating: 0, count: rows)
  }

  /// Tokens whose products are added in float32 before they are added in double precision.
  private static let chunk = 256
  private static let tile = 192

  /// Adds tokens: `left` [tokens][rows] and `right` [tokens][columns]. The same bits on any number of
  /// cores.
  public mutating func accumulate(left: Matrix, right: Matrix) {
    precondition(left.rows == right.rows && left.columns == rows && right.columns == columns)
    let tokens = left.rows
    guard tokens > 0 else { return }
    let total = samples + tokens
    let (old, new) = (Double(samples) / Double(total), 1 / Double(total))
    let (rows, columns) = (rows, columns)
    SingleThreadedBLAS.run {
      left.values.withUnsafeBufferPointer { a in
        right.values.withUnsafeBufferPointer { x in
          values.withUnsafeMutableBufferPointer { values in
            nonisolated(unsafe) let (a, x, values) = (a, x, values)
            let tiles = (rows + CrossMoments.tile - 1) / CrossMoments.tile
            DispatchQueue.concurrentPerform(iterations: tiles) { index in
              let top = index * CrossMoments.tile
              let m = min(CrossMoments.tile, rows - top)
              for start in stride(from: 0, to: tokens, by: CrossMoments.chunk) {
                var part = [Float](repeating: 0, count: m * columns)
                addProduct(
                  transposed: a.baseAddress! + start * rows + top, rows,
                  x.baseAddress! + start * columns, columns, to: &part, m: m, n: columns,
                  k: min(CrossMoments.chunk, tokens - start))
                let scale = start == 0 ? old : 1
                for i in 0..<m * columns {
                  let place = top * columns + i
                  values[place] = values[place] * scale + Double(part[i]) * new
                }
              }
            }
          }
        }
      }
    }
    for (i, sum) in left.columnTotals.enumerated() { mean[i] = mean[i] * old + sum * new }
    samples = total
  }

  /// Those about the means, C − E[a] μᵀ, for rows x of mean μ, `other` [columns]; the mean is 0.
  public func centred(_ other: [Double]) -> CrossMoments {
    precondition(other.count == columns)
    var result = CrossMoments(rows: rows, columns: columns)
    result.samples = samples
    for i in 0..<rows {
      for j in 0..<columns {
        result.values[i * columns + j] = values[i * columns + j] - mean[i] * other[j]
      }
    }
    return result
  }
}

extension Matrix {
  /// Weights for other inputs than the float model's that come closest to its outputs.
  ///
  /// For weights W [rows][columns], inputs x of which H = E[x xᵀ] are the `moments`, float inputs
  /// x + Δ with the `drift` D = E[Δ xᵀ], and a sum that the outputs enter and that lies `behind`
  /// R = E[δ xᵀ] [rows][columns] of the float one, it is
  ///
  ///     W + (W D + R) H⁻¹,
  ///
  /// the least squares of W (x + Δ) + δ − Ŵ x over Ŵ, of moments about the mean those beside a free bias.
  /// With damped moments it stays near W. (Without R: quantization error propagation, Arai and Ichikawa
  /// 2025, arXiv 2504.09629.) Moments that are not positive definite leave W as it is.
  public func aimed(
    from moments: Hessian, drift: CrossMoments, behind: CrossMoments? = nil
  ) -> Matrix {
    let n = columns
    precondition(moments.columns == n && drift.rows == n && drift.columns == n)
    precondition(behind.map { $0.rows == rows && $0.columns == n } ?? true)
    let weights = values.map(Double.init)
    var wanted = [Double](repeating: 0, count: rows * n)
    let moved = SingleThreadedBLAS.run {
      product(weights, drift.values, into: &wanted, m: rows, n: n, k: n)
      if let behind { for i in wanted.indices { wanted[i] += behind.values[i] } }
      return solutions(moments.values, n, rows: wanted)
    }
    guard let moved else { return self }
    return Matrix(rows: rows, columns: n, values: zip(weights, moved).map { Float($0 + $1) })
  }
}
