// Layers that Reference/solve.py solved in float64 numpy, and layers made up on the spot.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

/// A layer of Reference/solved.json.
struct SolvedLayer: Decodable, CustomTestStringConvertible {
  let name: String
  let rows, columns, bits, group, exponent, tokens: Int
  let mantissas: [UInt16]
  let scales: [[UInt8]]?
  let offsets: [[Int16]]?
  let weights: [Float]
  /// Σ x xᵀ over the tokens.
  let products: [Double]
  /// Σ x, and what is added to every x where a bias is corrected.
  let sums, shift: [Double]
  /// Nearest codes, and their error.
  let codes: [Int8]
  let error: Double
  /// The error of GPTQ's codes.
  let gptq: Double
  let gptqCodes: [Int8]
  /// After 8 sweeps of coordinate descent from there.
  let descent: Double
  /// The least error of each row in 150 iterations of AdaQuant from `codes`, steps being real numbers.
  let adaquant: Double
  /// The least error of GPTQ's codes with any real scales and offsets.
  let scalesAfterGptq: Double
  /// Columns of each row, and the least error with real numbers added to the nearest codes there.
  let cells: [[Int]]
  let added: Double
  /// The errors of 30 rounds of QuantEase with 5 % of the cells, or columns, as outliers.
  let residual: Double
  /// The least errors of products of rank 1, 2 … with 1 % of damping.
  let lowRank: [Double]
  let outlierColumns: Double
  /// Of the moved inputs: what a bias adds to the outputs of the nearest codes, their error beside it, and
  /// that of GPTQ's codes for the moments about the mean.
  let bias: [Double]
  let besideBias, gptqBesideBias: Double

  var testDescription: String { name }

  static let all: [SolvedLayer] = {
    struct File: Decodable { let cases: [SolvedLayer] }
    let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let data = try! Data(contentsOf: place.appendingPathComponent("Reference/solved.json"))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try! decoder.decode(File.self, from: data).cases
  }()

  var matrix: Matrix { Matrix(rows: rows, columns: columns, values: weights) }

  func hessian() throws -> Hessian {
    try Hessian(
      columns: columns, values: products.map { $0 / Double(tokens) }, samples: tokens)
  }

  /// The moments of the inputs moved by `shift`.
  func movedHessian() throws -> Hessian {
    let (n, t) = (columns, Double(tokens))
    var values = products
    for i in 0..<n {
      for j in 0..<n {
        values[i * n + j] += sums[i] * shift[j] + shift[i] * sums[j] + t * shift[i] * shift[j]
      }
    }
    return try Hessian(
      columns: n, values: values.map { $0 / t }, mean: zip(sums, shift).map { $0 / t + $1 },
      samples: tokens)
  }

  var tensor: GridTensor {
    GridTensor(
      rows: rows, columns: columns, bits: bits, group: group, exponent: exponent, codes: codes,
      mantissas: mantissas, groupScales: scales?.flatMap { $0 },
      groupOffsets: offsets?.flatMap { $0 })
  }

  /// Σ (w − ŵ) H (w − ŵ)ᵀ, column by column in double precision.
  func error(of tensor: GridTensor) -> Double {
    let values = tensor.dequantized().values
    var total = 0.0
    for row in 0..<rows {
      let d = (0..<columns).map { Double(weights[row * columns + $0] - values[row * columns + $0]) }
      for i in 0..<columns {
        for j in 0..<columns { total += d[i] * products[i * columns + j] * d[j] / Double(tokens) }
      }
    }
    return total
  }
}

/// Inputs [tokens][columns] whose columns depend on one another, some of them much larger.
func mixedInputs(_ tokens: Int, _ columns: Int, _ generator: inout SeededRandom) -> Matrix {
  let sources = max(columns / 3, 1)
  let draw = { (generator: inout SeededRandom) in Float.random(in: -1...1, using: &generator) }
  let hidden = Matrix(
    rows: tokens, columns: sources, values: (0..<tokens * sources).map { _ in draw(&generator) })
  let mix = Matrix(
    rows: sources, columns: columns, values: (0..<sources * columns).map { _ in draw(&generator) })
  var inputs = hidden.times(mix)
  for i in inputs.values.indices {
    inputs.values[i] = (inputs.values[i] + draw(&generator)) * (i % columns % 17 == 3 ? 20 : 1)
  }
  return inputs
}
