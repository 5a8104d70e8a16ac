// A float matrix to int16 codes with one scale a row: norm weights, and what must stay fine.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Quantization to 16 bits: a row's largest magnitude becomes a code of about 32767.
public enum WideQuantizer {
  /// Quantizes `weights` [rows][columns] with an error of at most half a step, which is
  /// (1 + 2^−15) / 32767 of the row's largest magnitude where the row keeps a 16-bit mantissa.
  ///
  /// Throws `QuantizeError` for weights that are not finite or beyond the exponents.
  public static func quantize(_ weights: Matrix) throws(QuantizeError) -> WideTensor {
    guard weights.rows > 0, weights.columns > 0 else { throw .unsupported("an empty matrix") }
    if let place = weights.values.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(row: place / weights.columns, column: place % weights.columns)
    }
    let steps = (0..<weights.rows).map { largestMagnitude(Array(weights.row($0))) / 32767 }
    let exponent = try mantissaExponent(largest: steps.max() ?? 0)
    var mantissas: [UInt16] = []
    var codes: [Int16] = []
    codes.reserveCapacity(weights.values.count)
    for row in 0..<weights.rows {
      // Up, so that no code is above 32767.
      let ideal = scalbn(Double(steps[row]), exponent).rounded(.up)
      let mantissa = min(max(ideal, 1), 65535)
      mantissas.append(UInt16(mantissa))
      let step = scalbn(mantissa, -exponent)
      for weight in weights.row(row) {
        codes.append(Int16(min(max((Double(weight) / step).rounded(), -32767), 32767)))
      }
    }
    return WideTensor(
      rows: weights.rows, columns: weights.columns, exponent: exponent, codes: codes,
      mantissas: mantissas)
  }

  /// Quantizes a vector, such as a norm's weights, as a tensor of one row.
  public static func quantize(vector: [Float]) throws(QuantizeError) -> WideTensor {
    try quantize(Matrix(rows: 1, columns: vector.count, values: vector))
  }
}
