// Activations rounded to int8 and back in float arithmetic, where the program quantizes them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The float-arithmetic simulation of the program's activation codes.
public enum FakeQuantization {
  /// Rounds every site's rows to 127 steps a side with one float scale a row, as the program does:
  /// a row per token, or per (token, head) for q, k and v.
  ///
  /// With `hadamard`, q and k pass the orthonormal Hadamard first; their products stay the same.
  public static func transform(hadamard: Bool) -> SiteTransform {
    SiteTransform { site, _, values, rowWidth in
      if site == .residual { return }
      if hadamard, site == .query || site == .key { rotate(&values, rowWidth) }
      round(&values, rowWidth)
    }
  }

  /// Each row [rowWidth] to the nearest of −127…127 times its largest magnitude / 127.
  static func round(_ values: inout [Float], _ rowWidth: Int) {
    values.withUnsafeMutableBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: rowWidth) {
        var largest: Float = 0
        for i in start..<start + rowWidth { largest = max(largest, abs(values[i])) }
        guard largest > 0 else { continue }
        let step = largest / 127
        for i in start..<start + rowWidth { values[i] = (values[i] / step).rounded() * step }
      }
    }
  }

  /// Each row [rowWidth] times the Sylvester-Hadamard matrix over √rowWidth, a power of two.
  static func rotate(_ values: inout [Float], _ rowWidth: Int) {
    let scale = 1 / Float(rowWidth).squareRoot()
    values.withUnsafeMutableBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: rowWidth) {
        var half = 1
        while half < rowWidth {
          for i in 0..<rowWidth where i & half == 0 {
            let (a, b) = (values[start + i], values[start + i + half])
            values[start + i] = a + b
            values[start + i + half] = a - b
          }
          half *= 2
        }
        for i in start..<start + rowWidth { values[i] *= scale }
      }
    }
  }
}
