// Why a checkpoint cannot be read: which file, which field, which byte, and what to do.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Why a checkpoint cannot be read.
public enum ImportError: Error, Equatable, Sendable {
  /// The operating system would not give us the file.
  case unreadable(file: String, reason: String)
  /// The file is not what its format asks for.
  case malformed(Malformation)
  /// Sound, but beyond this converter: everything that is, not only the first.
  case unsupported([String])
}

/// One thing that is wrong with a file.
public struct Malformation: Equatable, Sendable {
  /// What kind of wrong: one case per reason.
  public enum Reason: String, Equatable, Sendable {
    case truncated
    case trailingBytes
    case headerTooLarge
    case notJSON
    case duplicateName
    case missingField
    case wrongType
    case outOfRange
    case unknownDataType
    case rankTooHigh
    case sizeOverflow
    case sizeMismatch
    case overlap
    case hole
    case unsafeName
    case missingTensor
    case wrongShape
    case notFinite
    case contradiction
  }

  public var reason: Reason
  public var file: String
  /// Name of the field or tensor.
  public var field: String?
  /// Byte offset in the file.
  public var offset: Int?
  /// What was found.
  public var detail: String
  /// What the reader of the message can do.
  public var advice: String

  static let fetchAgain = "fetch or export the file again"

  init(
    _ reason: Reason, file: String, field: String? = nil, offset: Int? = nil, _ detail: String,
    advice: String = Malformation.fetchAgain
  ) {
    self.reason = reason
    self.file = file
    self.field = field
    self.offset = offset
    self.detail = detail
    self.advice = advice
  }
}

extension ImportError: CustomStringConvertible, LocalizedError {
  public var description: String {
    switch self {
    case .unreadable(let file, let reason):
      return "\(file): cannot be read: \(reason); check the path and its permissions"
    case .malformed(let m):
      let field = m.field.map { ": \($0)" } ?? ""
      let offset = m.offset.map { " (at byte \($0))" } ?? ""
      return "\(m.file)\(field): \(m.detail)\(offset); \(m.advice)"
    case .unsupported(let list):
      return "this checkpoint needs what Curta does not have:"
        + list.map { "\n  - \($0)" }.joined()
    }
  }

  public var errorDescription: String? { description }
}

extension ImportError {
  /// A `malformed` error.
  static func bad(
    _ reason: Malformation.Reason, file: String, field: String? = nil, offset: Int? = nil,
    _ detail: String, advice: String = Malformation.fetchAgain
  ) -> ImportError {
    .malformed(
      Malformation(
        reason, file: file, field: field, offset: offset, detail, advice: advice))
  }
}
