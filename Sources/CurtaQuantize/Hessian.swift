// Which directions of a linear layer's input matter: its mean and second moments, over tokens.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import CurtaTensor
import Dispatch

/// Mean μ = Σ x / T and second moments H = Σ x xᵀ / T of a linear layer's input over T tokens.
///
/// The squared error of the outputs of a weight row w replaced by ŵ is T · (w − ŵ) H (w − ŵ)ᵀ
/// (Nagel et al. 2020, arXiv 2004.10568), so that layers with the same input share one. It takes
/// 8 · columns² bytes.
public struct Hessian: Sendable, Equatable {
  public let columns: Int
  /// [columns][columns], symmetric.
  public private(set) var values: [Double]
  /// μ, [columns].
  public private(set) var mean: [Double]
  /// T, the tokens behind `values`.
  public private(set) var samples: Int

  /// No tokens yet: zeros.
  public init(columns: Int) {
    self.columns = columns
    values = [Double](repeating: 0, count: columns * columns)
    mean = [Double](repeating: 0, count: columns)
    samples = 0
  }

  /// Given moments [columns][columns] and a mean [columns], 0 where none is given.
  ///
  /// Throws `QuantizeError.unsupported` where they are not finite, not symmetric (by more than
  /// 10^−6 of the diagonal), or negative on the diagonal.
  public init(
    columns: Int, values: [Double], mean: [Double]? = nil, samples: Int
  ) throws(QuantizeError) {
    let mean = mean ?? [Double](repeating: 0, count: columns)
    guard columns > 0, values.count == columns * columns, mean.count == columns else {
      throw .unsupported(
        "\(values.count) second moments and \(mean.count) means for \(columns) columns")
    }
    if let i = mean.firstIndex(where: { !$0.isFinite }) {
      throw .unsupported("the mean of input \(i) is \(mean[i])")
    }
    for i in 0..<columns {
      guard values[i * columns + i] >= 0 else {
        throw .unsupported("the second moment of input \(i) is \(values[i * columns + i])")
      }
      for j in 0...i {
        let (a, b) = (values[i * columns + j], values[j * columns + i])
        let scale = (values[i * columns + i] * values[j * columns + j]).squareRoot()
        guard a.isFinite, b.isFinite, abs(a - b) <= 1e-6 * scale else {
          throw .unsupported("second moments of inputs \(i) and \(j) that are \(a) and \(b)")
        }
      }
    }
    self.columns = columns
    self.values = values
    self.mean = mean
    self.samples = samples
  }

  /// Tokens whose products are added in float32 before they are added in double precision: an
  /// element is off by about 10^−6 of Σ |x_i x_j| / T, at most by 1.6 · 10^−5.
  private static let chunk = 256
  private static let tile = 192
  /// The products of a chunk of inputs below this are finite in float32.
  private static let largestInput: Float = 0x1p59

  /// Adds the tokens `rows` [tokens][columns].
  ///
  /// The same bits on any number of cores. Throws `QuantizeError.unsupported` for values that are
  /// not numbers below 2^59, or another number of columns.
  public mutating func accumulate(rows: Matrix) throws(QuantizeError) {
    guard rows.columns == columns else {
      throw .unsupported("inputs of \(rows.columns) columns for moments of \(columns)")
    }
    if let place = rows.values.firstIndex(where: { !(abs($0) < Hessian.largestInput) }) {
      throw .unsupported(
        "input \(place % columns) of token \(place / columns) is \(rows.values[place])")
    }
    guard rows.rows > 0 else { return }
    let total = samples + rows.rows
    let (old, new) = (Double(samples) / Double(total), 1 / Double(total))
    let side = (columns + Hessian.tile - 1) / Hessian.tile
    let tiles = (0..<side).flatMap { i in (i..<side).map { (i * Hessian.tile, $0 * Hessian.tile) } }
    let columns = columns
    SingleThreadedBLAS.run {
      rows.values.withUnsafeBufferPointer { x in
        values.withUnsafeMutableBufferPointer { values in
          nonisolated(unsafe) let values = values
          nonisolated(unsafe) let x = x
          DispatchQueue.concurrentPerform(iterations: tiles.count) { index in
            let (top, left) = tiles[index]
            let sums = Hessian.products(x, rows.rows, columns, top, left)
            let width = min(Hessian.tile, columns - left)
            for i in 0..<min(Hessian.tile, columns - top) {
              for j in 0..<width where left + j >= top + i {
                let place = (top + i) * columns + left + j
                let value = values[place] * old + sums[i * width + j] * new
                values[place] = value
                values[(left + j) * columns + top + i] = value
              }
            }
          }
        }
      }
    }
    for (i, sum) in rows.columnTotals.enumerated() { mean[i] = mean[i] * old + sum * new }
    samples = total
  }

  /// Σ x_i x_j over all tokens for a tile of pairs of columns, [tile][tile] or less at the edge.
  private static func products(
    _ x: UnsafeBufferPointer<Float>, _ tokens: Int, _ columns: Int, _ top: Int, _ left: Int
  ) -> [Double] {
    let (m, n) = (min(tile, columns - top), min(tile, columns - left))
    var sums = [Double](repeating: 0, count: m * n)
    for start in stride(from: 0, to: tokens, by: chunk) {
      var part = [Float](repeating: 0, count: m * n)
      let base = x.baseAddress! + start * columns
      addProduct(
        transposed: base + top, columns, base + left, columns, to: &part, m: m, n: n,
        k: min(chunk, tokens - start))
      for i in 0..<m * n { sums[i] += Double(part[i]) }
    }
    return sums
  }

  /// The mean squares of the inputs, [columns].
  public var diagonal: [Double] { (0..<columns).map { values[$0 * (columns + 1)] } }

  /// Those about the mean, H − μ μᵀ, whose mean is 0: what is left to weights where a bias makes up for
  /// the mean error of the outputs.
  public var centred: Hessian {
    var result = Hessian(columns: columns)
    result.samples = samples
    for i in 0..<columns {
      for j in 0..<columns {
        result.values[i * columns + j] = values[i * columns + j] - mean[i] * mean[j]
      }
      // Sums that cancel leave what was rounded off.
      result.values[i * (columns + 1)] = max(0, result.values[i * (columns + 1)])
    }
    return result
  }

  /// H + `fraction` · mean(diag H) · I: weights that the tokens say little about stay near their own.
  public func damped(by fraction: Double) -> Hessian {
    var result = self
    let amount = fraction * diagonal.reduce(0, +) / Double(max(columns, 1))
    for i in 0..<columns { result.values[i * (columns + 1)] += amount }
    return result
  }
}

extension Matrix {
  /// The sum of every column, [columns], in double precision.
  var columnTotals: [Double] {
    var totals = [Double](repeating: 0, count: columns)
    for start in stride(from: 0, to: values.count, by: columns) {
      for j in 0..<columns { totals[j] += Double(values[start + j]) }
    }
    return totals
  }
}
