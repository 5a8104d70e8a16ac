// The metadata section: typed key-values, sorted.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// The value of a metadata key.
public enum MetadataValue: Sendable, Equatable {
  case integer(UInt64)
  /// UTF-8 without NUL, at most 65 536 bytes.
  case text(String)
}

/// The bytes of the metadata section (`Formats/curta-file.md` section 6), keys ascending.
///
/// Throws `WriteError.invalid` naming the key where a key or a text breaks a rule.
public func metadataSection(_ entries: [String: MetadataValue]) throws(WriteError) -> [UInt8] {
  guard entries.count <= Int(Limits.metadataEntries) else {
    throw .invalid(
      part: "metadata",
      reason: "there are \(entries.count) keys; at most \(Limits.metadataEntries) fit")
  }
  var bytes: [UInt8] = []
  bytes.append(little: UInt32(entries.count))
  let sorted = entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
  for (key, value) in sorted {
    guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy(isKeyByte) else {
      throw .invalid(
        part: "metadata key '\(key)'", reason: "1 to 255 of a-z 0-9 . _ - are possible")
    }
    bytes.append(little: UInt16(key.utf8.count))
    bytes += Array(key.utf8)
    switch value {
    case .integer(let integer):
      bytes.append(1)
      bytes.append(little: integer)
    case .text(let text):
      guard text.utf8.count <= Int(Limits.text), !text.utf8.contains(0) else {
        throw .invalid(
          part: "metadata key '\(key)'",
          reason: "a text of \(text.utf8.count) bytes; at most \(Limits.text) without NUL fit")
      }
      bytes.append(2)
      bytes.append(little: UInt32(text.utf8.count))
      bytes += Array(text.utf8)
    }
  }
  return bytes
}

private func isKeyByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
  case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
  default: false
  }
}
