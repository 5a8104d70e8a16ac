// The element-wise functions of a decoder in float32: norms, activations, caps.
// SPDX-License-Identifier: Apache-2.0

import Glibc

extension Matrix {
  /// The norm of every row.
  func normed(_ layer: NormLayer, _ d: DecoderDescription) -> Matrix {
    normed(
      rowWidth: columns, weight: layer.weight, bias: layer.bias, epsilon: d.normEpsilon,
      centered: d.norm == .layer)
  }

  /// The RMS norm of every head of every row; `weight` is [headWidth].
  func headNormed(_ weight: [Float], _ epsilon: Float) -> Matrix {
    normed(rowWidth: weight.count, weight: weight, bias: nil, epsilon: epsilon, centered: false)
  }

  private func normed(
    rowWidth width: Int, weight: [Float], bias: [Float]?, epsilon: Float, centered: Bool
  ) -> Matrix {
    var result = self
    result.values.withUnsafeMutableBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: width) {
        let row = UnsafeMutableBufferPointer(rebasing: values[start..<start + width])
        var sum = 0.0
        if centered { for value in row { sum += Double(value) } }
        let mean = sum / Double(width)
        var squares = 0.0
        for value in row { squares += (Double(value) - mean) * (Double(value) - mean) }
        let scale = Float(1 / (squares / Double(width) + Double(epsilon)).squareRoot())
        for i in 0..<width { row[i] = (row[i] - Float(mean)) * scale * weight[i] }
        if let bias { for i in 0..<width { row[i] += bias[i] } }
      }
    }
    return result
  }
}

/// Applies the activation to every element.
func activate(_ values: inout [Float], _ activation: DecoderActivation) {
  func each(_ body: (Float) -> Float) {
    values.withUnsafeMutableBufferPointer { values in
      for i in values.indices { values[i] = body(values[i]) }
    }
  }
  switch activation {
  case .silu: each { $0 / (1 + expf(-$0)) }
  case .quickGelu: each { $0 / (1 + expf(-1.702 * $0)) }
  case .relu: each { max($0, 0) }
  case .geluErf: each { 0.5 * $0 * (1 + erff($0 * 0.70710678)) }
  case .geluTanh:
    each { 0.5 * $0 * (1 + tanhf(0.79788456 * ($0 + 0.044715 * $0 * $0 * $0))) }
  }
}

/// cap · tanh(x / cap) for every element.
func softCap(_ values: inout [Float], _ cap: Float) {
  values.withUnsafeMutableBufferPointer { values in
    for i in values.indices { values[i] = cap * tanhf(values[i] / cap) }
  }
}
