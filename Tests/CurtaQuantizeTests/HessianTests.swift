// Second moments against plain sums, and what they refuse.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Testing

@testable import CurtaQuantize

@Suite struct HessianTests {
  @Test func momentsAreMeansOfProducts() throws {
    var generator = SeededRandom.announced("second moments")
    for columns in [1, 5, 200] {
      let parts = [3, 300, 1].map { mixedInputs($0, columns, &generator) }
      var hessian = Hessian(columns: columns)
      for part in parts { try hessian.accumulate(rows: part) }
      try hessian.accumulate(rows: Matrix(rows: 0, columns: columns))
      #expect(hessian.samples == 304)
      var sums = [Double](repeating: 0, count: columns * columns)
      for part in parts {
        for token in 0..<part.rows {
          let x = part.row(token).map(Double.init)
          for i in 0..<columns { for j in 0..<columns { sums[i * columns + j] += x[i] * x[j] } }
        }
      }
      for i in 0..<columns {
        for j in 0..<columns {
          let scale = (sums[i * columns + i] * sums[j * columns + j]).squareRoot() / 304
          let value = hessian.values[i * columns + j]
          #expect(abs(value - sums[i * columns + j] / 304) <= 1e-6 * scale)
          #expect(value == hessian.values[j * columns + i])
        }
      }
      #expect(
        try Hessian(
          columns: columns, values: hessian.values, mean: hessian.mean, samples: 304) == hessian)
    }
  }

  @Test func dampingIsAPartOfTheMeanDiagonal() throws {
    let hessian = try Hessian(columns: 2, values: [1, 0.5, 0.5, 3], samples: 7)
    #expect(hessian.damped(by: 0.1).values == [1.2, 0.5, 0.5, 3.2])
    #expect(hessian.diagonal == [1, 3])
  }

  @Test func badMomentsAreErrors() throws {
    var hessian = Hessian(columns: 2)
    for bad in [Float.nan, .infinity, -1e18] {
      #expect(throws: QuantizeError.unsupported("input 1 of token 1 is \(bad)")) {
        try hessian.accumulate(rows: Matrix(rows: 2, columns: 2, values: [0, 1, 2, bad]))
      }
    }
    #expect(throws: QuantizeError.self) {
      try hessian.accumulate(rows: Matrix(rows: 1, columns: 3))
    }
    #expect(hessian == Hessian(columns: 2))
    for values in [[1, 2, 3], [1, 0, 0, .nan], [1, 0.5, 0.4, 1], [-1, 0, 0, 1]] {
      #expect(throws: QuantizeError.self) {
        try Hessian(columns: 2, values: values, samples: 1)
      }
    }
  }
}
