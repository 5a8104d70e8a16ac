// Matrix products and the statistics of logits against values worked out by hand.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@Suite struct MatrixTests {
  let x = Matrix(rows: 2, columns: 3, values: [1, 2, 3, 4, 5, 6])

  @Test func products() {
    let w = Matrix(rows: 2, columns: 3, values: [1, 0, -1, 2, 1, 0])
    #expect(x.times(transposed: w).values == [-2, 4, -2, 13])
    let v = Matrix(rows: 3, columns: 1, values: [1, 10, 100])
    #expect(x.times(v).values == [321, 654])
    #expect(x.row(1) == [4, 5, 6])
    #expect(x[1, 2] == 6)
    #expect(Matrix(rows: 0, columns: 3).times(transposed: w).values.isEmpty)
  }

  @Test func logits() {
    let half: [Float] = [0, 0]
    #expect(logSoftmax(half) == [-log(2.0), -log(2.0)])
    let large: [Float] = [1000, 0]
    #expect(abs(negativeLogLikelihood(large, target: 1) - 1000) < 1e-9)
    #expect(negativeLogLikelihood(large, target: 0) < 1e-9)
    // p = (3/4, 1/4) against q = (1/2, 1/2).
    let p: [Float] = [logf(3), 0]
    let expected = 0.75 * log(1.5) + 0.25 * log(0.5)
    #expect(abs(klDivergence(p, half) - expected) < 1e-7)
    #expect(klDivergence(p, p) == 0)
    #expect(argmax([1, 5, 5, 2] as [Float]) == 1)
    #expect(largestMagnitude([1, -7, 5]) == 7)
    #expect(largestMagnitude([]) == 0)
  }
}
