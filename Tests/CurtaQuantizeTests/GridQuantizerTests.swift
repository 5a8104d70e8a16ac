// Quantization error, searched clipping, and the integers that come out.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

/// Weights with the tails of real ones: normal, some of them much larger.
func heavyTailed(_ rows: Int, _ columns: Int, _ generator: inout SeededRandom) -> Matrix {
  let values = (0..<rows * columns).map { _ in
    var sum: Float = 0
    for _ in 0..<6 { sum += Float.random(in: -1...1, using: &generator) }
    let tail: Float = Int.random(in: 0..<100, using: &generator) == 0 ? 6 : 1
    return sum * tail * 0.02
  }
  return Matrix(rows: rows, columns: columns, values: values)
}

func squaredError(_ a: Matrix, _ b: Matrix, importance: [Float]? = nil) -> Double {
  var total = 0.0
  for i in a.values.indices {
    let d = Double(a.values[i]) - Double(b.values[i])
    total += d * d * Double(importance?[i % a.columns] ?? 1)
  }
  return total
}

@Suite struct GridQuantizerTests {
  private func step(_ tensor: GridTensor, _ row: Int, _ column: Int) -> Double {
    let g = tensor.group == 0 ? 0 : column / tensor.group
    let scale = tensor.groupScales.map { Double($0[row * tensor.groups + g]) } ?? 1
    return Double(tensor.mantissas[row]) * scale * pow(2, -Double(tensor.exponent))
  }

  @Test(arguments: 2...8, [0, 32, 64])
  func errorIsHalfAStepInsideTheClip(bits: Int, group: Int) throws {
    var generator = SeededRandom.announced("half a step, \(bits) bits, group \(group)")
    for columns in [1, 31, 32, 70, 128] {
      let weights = heavyTailed(3, columns, &generator)
      for clip in ClipSearch.allCases {
        let tensor = try GridQuantizer(bits: bits, group: group, clip: clip).quantize(weights)
        let range = GridTensor.codeRange(bits: bits)
        let values = tensor.dequantized()
        for row in 0..<3 {
          for column in 0..<columns {
            let code = Int(tensor.codes[row * columns + column])
            #expect(range.contains(code))
            let step = step(tensor, row, column)
            let error = abs(Double(weights[row, column]) - Double(values[row, column]))
            let isClipped =
              step == 0 || code == range.lowerBound || code == range.upperBound
            // `dequantized` rounds to float32 once more.
            let rounding = abs(Double(values[row, column])) * 0x1p-24
            #expect(isClipped || error <= step * 0.5 + rounding)
          }
        }
      }
    }
  }

  @Test(arguments: 2...8)
  func searchIsNeverWorse(bits: Int) throws {
    var generator = SeededRandom.announced("search, \(bits) bits")
    for group in [0, 32, 64] {
      let weights = heavyTailed(4, 130, &generator)
      let importance: [Float] = (0..<130).map { _ in Float.random(in: 0...2, using: &generator) }
      for factors in [nil, importance] {
        let errors = try ClipSearch.allCases.map { clip in
          let quantizer = try GridQuantizer(bits: bits, group: group, clip: clip)
          let tensor = try quantizer.quantize(weights, importance: factors)
          return squaredError(weights, tensor.dequantized(), importance: factors)
        }
        #expect(errors[1] <= errors[0])
        if bits <= 3 { #expect(errors[1] < 0.95 * errors[0]) }
      }
    }
  }

  /// A group scale follows the tails, a row scale cannot.
  @Test func groupsBeatRowsOnHeavyTails() throws {
    var generator = SeededRandom.announced("groups against rows")
    let weights = heavyTailed(16, 512, &generator)
    let row = try GridQuantizer(bits: 4, group: 0).quantize(weights)
    let group = try GridQuantizer(bits: 4, group: 64).quantize(weights)
    #expect(
      squaredError(weights, group.dequantized()) < 0.9 * squaredError(weights, row.dequantized()))
  }

  /// Weights beside 0 need an offset; those around 0 lose nothing by one.
  @Test(arguments: [2, 3, 4, 8], [0, 32, 64])
  func offsetsFollowTheWeights(bits: Int, group: Int) throws {
    var generator = SeededRandom.announced("offsets, \(bits) bits, group \(group)")
    let quantizer = try GridQuantizer(bits: bits, group: group, hasOffsets: true)
    let symmetric = try GridQuantizer(bits: bits, group: group)
    for (columns, shift) in [(70, 0), (128, 0.3), (1, 5), (40, -2)] as [(Int, Float)] {
      var weights = heavyTailed(5, columns, &generator)
      for i in weights.values.indices { weights.values[i] += shift }
      let importance: [Float] = (0..<columns).map { _ in Float.random(in: 0...2, using: &generator)
      }
      for factors in [nil, importance] {
        let tensor = try quantizer.quantize(weights, importance: factors)
        #expect(tensor.groupOffsets?.count == 5 * tensor.groups)
        #expect(tensor.groupScales?.count == 5 * tensor.groups)
        #expect(!tensor.groupOffsets!.contains(-32768))
        let range = GridTensor.codeRange(bits: bits)
        #expect(tensor.codes.allSatisfy { range.contains(Int($0)) })
        let error = squaredError(weights, tensor.dequantized(), importance: factors)
        let without = squaredError(
          weights, try symmetric.quantize(weights).dequantized(), importance: factors)
        // A scale has 8 bits here, and 16 in a row without offsets.
        let energy = squaredError(weights, Matrix(rows: 5, columns: columns))
        #expect(error <= 1.02 * without + 1e-9 * energy)
        if columns == 40 { #expect(error < 0.1 * without) }
      }
    }
  }

  /// An offset that is thousands of steps takes its bits from the steps.
  @Test func farOffsetsStayExact() throws {
    var weights = Matrix(rows: 2, columns: 64)
    for i in 0..<128 { weights.values[i] = 100 + Float(i % 7) * 1e-3 }
    let quantizer = try GridQuantizer(bits: 4, group: 32, hasOffsets: true)
    let values = try quantizer.quantize(weights).dequantized().values
    for (a, b) in zip(values, weights.values) { #expect(abs(a - b) < 100 / 32767) }
  }

  @Test func moreBitsMeanLessError() throws {
    var generator = SeededRandom.announced("bits against error")
    let weights = heavyTailed(8, 256, &generator)
    let errors = try (2...8).map { bits in
      let tensor = try GridQuantizer(bits: bits, group: 64).quantize(weights)
      return squaredError(weights, tensor.dequantized())
    }
    for (fewer, more) in zip(errors, errors.dropFirst()) { #expect(more < 0.6 * fewer) }
    // Rounding to multiples of a step has a mean square error of step²/12.
    var noise = 0.0
    for start in stride(from: 0, to: weights.values.count, by: 64) {
      let step = Double(largestMagnitude(Array(weights.values[start..<start + 64]))) / 127
      noise += 64 * step * step / 12
    }
    #expect(errors[6] < 1.2 * noise)
  }

  @Test func importanceMovesTheError() throws {
    var generator = SeededRandom.announced("importance")
    let weights = heavyTailed(8, 128, &generator)
    let importance: [Float] = (0..<128).map { $0 < 8 ? 100 : 0.01 }
    let quantizer = try GridQuantizer(bits: 3, group: 0)
    let plain = try quantizer.quantize(weights)
    let weighed = try quantizer.quantize(weights, importance: importance)
    #expect(
      squaredError(weights, weighed.dequantized(), importance: importance)
        < squaredError(weights, plain.dequantized(), importance: importance))
  }

  /// A power of two moves the exponent and nothing else.
  @Test(arguments: [0, 32])
  func magnitudeIsInTheExponent(group: Int) throws {
    var generator = SeededRandom.announced("magnitude, group \(group)")
    let weights = heavyTailed(4, 64, &generator)
    let quantizer = try GridQuantizer(bits: 4, group: group)
    let tensor = try quantizer.quantize(weights)
    #expect(tensor.mantissas.max()! >= 32768)
    for power in [-30, -11, 1, 40] {
      var scaled = weights
      for i in scaled.values.indices { scaled.values[i] *= Float(scalbn(1.0, power)) }
      var expected = tensor
      expected.exponent -= power
      #expect(try quantizer.quantize(scaled) == expected)
    }
  }

  @Test func zeroAndTinyRowsHaveMantissas() throws {
    var weights = Matrix(rows: 4, columns: 64)
    for column in 0..<64 { weights[1, column] = Float(column) - 32 }
    for column in 0..<64 { weights[2, column] = 1e-30 }
    weights[3, 63] = 1e-7
    for group in [0, 32] {
      let tensor = try GridQuantizer(bits: 4, group: group).quantize(weights)
      #expect(!tensor.mantissas.contains(0))
      let values = tensor.dequantized()
      #expect(values.row(0).allSatisfy { $0 == 0 })
      #expect(values.row(2).allSatisfy { abs($0) < 1e-4 })
    }
    let zeros = try GridQuantizer(bits: 8, group: 0).quantize(Matrix(rows: 2, columns: 5))
    #expect(zeros.dequantized() == Matrix(rows: 2, columns: 5))
    let tiny = try GridQuantizer(bits: 8, group: 0).quantize(
      Matrix(rows: 1, columns: 2, values: [1e-38, -1e-45]))
    #expect(tiny.exponent <= 64 && tiny.mantissas == [1])
  }

  @Test func theResultDoesNotDependOnTheRun() throws {
    var generator = SeededRandom.announced("same integers")
    let weights = heavyTailed(40, 96, &generator)
    let quantizer = try GridQuantizer(bits: 4, group: 32)
    #expect(try quantizer.quantize(weights) == quantizer.quantize(weights))
  }

  @Test func badArgumentsAreErrors() throws {
    #expect(throws: QuantizeError.self) { try GridQuantizer(bits: 1, group: 0) }
    #expect(throws: QuantizeError.self) { try GridQuantizer(bits: 9, group: 0) }
    #expect(throws: QuantizeError.self) { try GridQuantizer(bits: 4, group: 33) }
    let quantizer = try GridQuantizer(bits: 4, group: 0)
    #expect(throws: QuantizeError.notFinite(row: 1, column: 0)) {
      try quantizer.quantize(Matrix(rows: 2, columns: 2, values: [0, 1, .nan, 2]))
    }
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(Matrix(rows: 1, columns: 1, values: [3e38]))
    }
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(Matrix(rows: 1, columns: 2), importance: [1])
    }
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(Matrix(rows: 1, columns: 2), importance: [1, .nan])
    }
  }
}
