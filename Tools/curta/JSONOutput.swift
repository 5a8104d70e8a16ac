// Results for programs: one JSON object with a versioned schema.
// SPDX-License-Identifier: Apache-2.0

import Foundation

enum JSONOutput {
  /// Prints a value as indented JSON with sorted keys in snake_case.
  static func print(_ value: some Encodable) throws {
    Terminal.line(try text(value, pretty: true))
  }

  /// Prints a value as one line.
  static func event(_ value: some Encodable) throws {
    Terminal.line(try text(value, pretty: false))
  }

  private static func text(_ value: some Encodable, pretty: Bool) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
