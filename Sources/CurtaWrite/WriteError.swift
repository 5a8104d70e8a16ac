// Why a file was not written: what was wrong with the contents, or what the system refused.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why a file was not written.
public enum WriteError: Error, Equatable, Sendable {
  /// The contents break a rule of the format; `part` names the tensor, op, key or buffer.
  case invalid(part: String, reason: String)
  /// The operating system refused an operation on a path.
  case system(operation: String, path: String, reason: String)
  /// A codec library failed.
  case codec(name: String, reason: String)
  /// What was read back differs from what was written, from byte `offset` on.
  case readBack(path: String, offset: Int)
}

extension WriteError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .invalid(let part, let reason):
      return "\(part): \(reason)"
    case .system(let operation, let path, let reason):
      return "\(path): cannot \(operation): \(reason)"
    case .codec(let name, let reason):
      return "\(name): \(reason)"
    case .readBack(let path, let offset):
      return "\(path): reads back otherwise than it was written, from byte \(offset) on;"
        + " check the disk"
    }
  }
}

extension WriteError {
  /// The error of the system call that has just failed, with the text of `errno`.
  static func last(_ operation: String, _ path: String) -> WriteError {
    .system(operation: operation, path: path, reason: String(cString: strerror(errno)))
  }
}
