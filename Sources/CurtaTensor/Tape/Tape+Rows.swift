// Derivatives of what is done to single rows: norms, activations, rotations.
// SPDX-License-Identifier: Apache-2.0

import Glibc

extension Tape {
  /// The norm of every row of x; weight and bias are [1][width].
  package func normed(
    _ x: Variable, weight: Variable, bias: Variable?, _ d: DecoderDescription
  ) -> Variable {
    let ones = NormLayer([Float](repeating: 1, count: x.value.columns))
    let product = multiply(
      standardized(
        x, x.value.normed(ones, d), ones.weight, d.normEpsilon, centered: d.norm == .layer), weight)
    return bias.map { add(product, $0) } ?? product
  }

  /// The RMS norm of every head of every row of x; `weight` is [headWidth].
  package func headNormed(_ x: Variable, _ weight: [Float], _ epsilon: Float) -> Variable {
    standardized(x, x.value.headNormed(weight, epsilon), weight, epsilon, centered: false)
  }

  /// With y = w · (x − μ) / σ, g = w · dy and z = (x − μ) / σ: dx = (g − mean g − z · mean(g z)) / σ,
  /// without the first mean where rows are not centered.
  private func standardized(
    _ x: Variable, _ value: Matrix, _ weight: [Float], _ epsilon: Float, centered: Bool
  ) -> Variable {
    record(value, [x]) { gradient in
      var result = gradient
      let width = weight.count
      result.values.withUnsafeMutableBufferPointer { slopes in
        x.value.values.withUnsafeBufferPointer { values in
          for start in stride(from: 0, to: values.count, by: width) {
            var (mean, squares) = (0.0, 0.0)
            if centered { for i in 0..<width { mean += Double(values[start + i]) } }
            mean /= Double(width)
            for i in 0..<width {
              let part = Double(values[start + i]) - mean
              squares += part * part
            }
            let inverse = 1 / (squares / Double(width) + Double(epsilon)).squareRoot()
            var (sum, product) = (0.0, 0.0)
            for i in 0..<width {
              let slope = Double(slopes[start + i] * weight[i])
              sum += slope
              product += slope * (Double(values[start + i]) - mean) * inverse
            }
            let (shift, turn) = (centered ? sum / Double(width) : 0, product / Double(width))
            for i in 0..<width {
              let z = (Double(values[start + i]) - mean) * inverse
              let slope = Double(slopes[start + i] * weight[i])
              slopes[start + i] = Float((slope - shift - z * turn) * inverse)
            }
          }
        }
      }
      x.add(result)
    }
  }

  package func activated(_ x: Variable, _ activation: DecoderActivation) -> Variable {
    var value = x.value
    activate(&value.values, activation)
    return record(value, [x]) { gradient in
      var result = gradient
      result.values.withUnsafeMutableBufferPointer { slopes in
        x.value.values.withUnsafeBufferPointer { values in
          for i in 0..<slopes.count { slopes[i] *= activation.derivative(values[i]) }
        }
      }
      x.add(result)
    }
  }

  /// Every head of x [positions][heads][headWidth], turned by its position.
  func rotated(_ x: Variable, _ rotation: Rotation) -> Variable {
    var value = x.value
    rotation.apply(&value)
    return record(value, [x]) { gradient in
      var result = gradient
      rotation.inverse.apply(&result)
      x.add(result)
    }
  }
}

extension DecoderActivation {
  /// The derivative at x.
  func derivative(_ x: Float) -> Float {
    switch self {
    case .silu: return swish(x, 1)
    case .quickGelu: return swish(x, 1.702)
    case .relu: return x > 0 ? 1 : 0
    case .geluErf:
      return 0.5 * (1 + erff(x * 0.70710678)) + x * 0.39894228 * expf(-0.5 * x * x)
    case .geluTanh:
      let t = tanhf(0.79788456 * (x + 0.044715 * x * x * x))
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456 * (1 + 0.134145 * x * x)
    }
  }

  /// The derivative of x · sigmoid(a · x).
  private func swish(_ x: Float, _ a: Float) -> Float {
    let s = 1 / (1 + expf(-a * x))
    return s + a * x * s * (1 - s)
  }
}
