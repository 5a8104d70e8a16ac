// Why a checkpoint that was read cannot become a file.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import Foundation

/// Why a checkpoint that was read cannot become a file.
public enum ConversionError: Error, Equatable, Sendable {
  /// The model is beyond what the format or the program can express: everything that is.
  case unsupported([String])
  /// A residual stream that weights cannot turn: all that is in the way.
  case rotation([String])
  /// A tensor that cannot be quantized.
  case tensor(name: String, QuantizeError)
}

extension ConversionError: CustomStringConvertible, LocalizedError {
  public var description: String {
    switch self {
    case .unsupported(let list):
      "this model needs what a .curta file cannot hold:" + list.map { "\n  - \($0)" }.joined()
    case .rotation(let list):
      "the weights of this model cannot turn its residual stream ('rotate' of the recipe); it has:"
        + list.map { "\n  - \($0)" }.joined()
    case .tensor(let name, let error):
      "tensor \(name): \(error); check the checkpoint"
    }
  }

  public var errorDescription: String? { description }
}
