// Gradient descent whose steps do not depend on how large gradients are (Adam).
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Adam (Kingma and Ba 2014, arXiv 1412.6980) with its usual means over 10 and 1000 steps.
package struct Adam {
  private var means: [Float]
  private var squares: [Float]
  private var steps = 0

  /// For `count` numbers that did not move yet.
  package init(count: Int) {
    means = [Float](repeating: 0, count: count)
    squares = means
  }

  /// Each of the numbers goes about `rate` against its gradient; one whose gradients were all 0 stays.
  package mutating func step(
    _ values: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>, rate: Float
  ) {
    steps += 1
    let meanScale = rate / (1 - powf(0.9, Float(steps)))
    let squareScale = 1 / (1 - powf(0.999, Float(steps)))
    means.withUnsafeMutableBufferPointer { means in
      squares.withUnsafeMutableBufferPointer { squares in
        for i in 0..<means.count {
          let slope = gradient[i]
          means[i] = 0.9 * means[i] + 0.1 * slope
          squares[i] = 0.999 * squares[i] + 0.001 * slope * slope
          let length = (squares[i] * squareScale).squareRoot() + 1e-18
          values[i] -= means[i] * meanScale / length
        }
      }
    }
  }
}
