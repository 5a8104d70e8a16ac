// Why a tensor cannot be quantized or a recipe cannot be read.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Why a tensor cannot be quantized.
public enum QuantizeError: Error, Equatable, Sendable {
  /// A weight is infinite or not a number.
  case notFinite(row: Int, column: Int)
  /// A step between codes that no exponent in −64…64 reaches.
  case tooLarge(step: Float)
  /// An argument that the encoding does not have, such as 9 bits.
  case unsupported(String)
}

extension QuantizeError: CustomStringConvertible, LocalizedError {
  public var description: String {
    switch self {
    case .notFinite(let row, let column):
      "the weight in row \(row), column \(column) is not a finite number"
    case .tooLarge(let step):
      "the weights are too large to encode: a step between codes would be \(step)"
    case .unsupported(let what): what
    }
  }

  public var errorDescription: String? { description }
}
