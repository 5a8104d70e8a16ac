// Where the repository is, and its test vectors and tables.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The repository that these tests belong to.
public enum Repository {
  /// The folder that holds `Formats/registry.tsv`, found from this file's place.
  public static let root: URL = {
    var folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    while folder.path != "/" {
      let registry = folder.appendingPathComponent("Formats/registry.tsv").path
      if FileManager.default.fileExists(atPath: registry) { return folder }
      folder.deleteLastPathComponent()
    }
    fatalError("no Formats/registry.tsv above \(#filePath)")
  }()

  public static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: root.appendingPathComponent(path)))
  }

  public static func text(_ path: String) throws -> String {
    String(decoding: try bytes(path), as: UTF8.self)
  }

  /// The lines of a table of tab-separated columns, without comments.
  public static func table(_ path: String) throws -> [[String]] {
    try text(path).split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
  }
}

/// A file of `Formats/vectors/valid`.
public struct ValidVector: Sendable, CustomStringConvertible {
  public let name: String
  public let tokens: [Int32]
  /// SHA-256 of all rows of logits, little-endian int32.
  public let logitsHash: String
  public let identity: String
  public let bytes: [UInt8]

  public var description: String { name }

  public static let all: [ValidVector] = {
    let folder = "Formats/vectors/valid/"
    guard let rows = try? Repository.table(folder + "expected.tsv") else { return [] }
    return rows.compactMap { row in
      guard row.count >= 4, let bytes = try? Repository.bytes(folder + row[0]) else { return nil }
      return ValidVector(
        name: row[0], tokens: row[1].split(separator: ",").compactMap { Int32($0) },
        logitsHash: row[2], identity: row[3], bytes: bytes)
    }
  }()

  public static func named(_ name: String) -> ValidVector {
    guard let vector = all.first(where: { $0.name == name + ".curta" }) else {
      fatalError("no vector \(name)")
    }
    return vector
  }
}

/// A file of `Formats/vectors/invalid`.
public struct InvalidVector: Sendable, CustomStringConvertible {
  public let name: String
  /// A status as `registry.tsv` names it.
  public let status: String
  public let bytes: [UInt8]

  public var description: String { name }

  public static let all: [InvalidVector] = {
    let folder = "Formats/vectors/invalid/"
    guard let rows = try? Repository.table(folder + "expected.tsv") else { return [] }
    return rows.compactMap { row in
      guard row.count >= 2, let bytes = try? Repository.bytes(folder + row[0]) else { return nil }
      return InvalidVector(name: row[0], status: row[1], bytes: bytes)
    }
  }()
}
