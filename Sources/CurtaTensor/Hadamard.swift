// The Walsh-Hadamard transform of consecutive blocks.
// SPDX-License-Identifier: Apache-2.0

/// Each block of `block` numbers, a power of two that divides their count, times the
/// Sylvester-Hadamard matrix times `scale`. With scale 1 / sqrt(block) it is its own inverse.
public func hadamard(_ values: inout [Float], block: Int, scale: Float) {
  precondition(block > 0 && block & (block - 1) == 0 && values.count % block == 0)
  values.withUnsafeMutableBufferPointer { values in
    for start in stride(from: 0, to: values.count, by: block) {
      var half = 1
      while half < block {
        for base in stride(from: start, to: start + block, by: 2 * half) {
          for i in base..<base + half {
            let (a, b) = (values[i], values[i + half])
            values[i] = a + b
            values[i + half] = a - b
          }
        }
        half *= 2
      }
      for i in 0..<block { values[start + i] *= scale }
    }
  }
}
