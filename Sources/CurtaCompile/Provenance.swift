// What a file says of its origin and use: source hashes, recipe, tool, sizes, sampling, chat, labels.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaWrite
import Foundation

/// Version of the converter, as `tool` in the metadata of its files.
public let converterName = "curta 0.1.0"

enum Provenance {
  /// Lines of `sha256sum`: hash, two spaces, name.
  ///
  /// Throws `ImportError.unreadable`.
  static func listing(_ files: [SourceFile]) throws(ImportError) -> String {
    var text = ""
    for file in files.sorted(by: { $0.name < $1.name }) {
      text += "\(try hash(file.path))  \(file.name)\n"
    }
    return text
  }

  /// SHA-256 of a file, read in pieces of 1 MiB.
  private static func hash(_ path: String) throws(ImportError) -> String {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw .unreadable(file: path, reason: "cannot be opened")
    }
    defer { try? file.close() }
    var hash = SHA256()
    do {
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
        piece.withUnsafeBytes { hash.update($0) }
      }
    } catch {
      throw .unreadable(file: path, reason: error.localizedDescription)
    }
    return hash.hexDigest()
  }

  /// The metadata of a converted checkpoint. The same checkpoint gives the same entries: no times,
  /// no paths, no names of machines.
  static func metadata(
    _ checkpoint: Checkpoint, name: String, recipe: Recipe
  ) throws(ImportError) -> [String: MetadataValue] {
    var entries = try origin(checkpoint.sourceFiles, name, recipe)
    entries["architecture"] = .text("llama")
    entries["parameters"] = .integer(UInt64(checkpoint.source.parameterCount))
    entries["float32.bytes"] = .integer(UInt64(checkpoint.floatBytes))
    let defaults = checkpoint.defaults
    if let temperature = defaults.temperature {
      entries["sampling.temperature.q16"] = .integer(UInt64((temperature * 0x1p16).rounded()))
    }
    if let topK = defaults.topK { entries["sampling.top_k"] = .integer(UInt64(topK)) }
    if let topP = defaults.topP {
      entries["sampling.top_p.q16"] = .integer(UInt64((topP * 0x1p16).rounded()))
    }
    if let chat = checkpoint.chat.form {
      for (key, value) in chat.integerEntries { entries[key] = .integer(value) }
      for (key, text) in chat.textEntries { entries[key] = .text(text) }
    }
    return entries
  }

  /// The same of a vision transformer; `visionMetadata` comes besides.
  static func metadata(
    _ checkpoint: VisionCheckpoint, name: String, recipe: Recipe
  ) throws(ImportError) -> [String: MetadataValue] {
    var entries = try origin(checkpoint.sourceFiles, name, recipe)
    let parameters = UInt64(checkpoint.weights.parameterCount)
    entries["architecture"] = .text("vit")
    entries["parameters"] = .integer(parameters)
    entries["float32.bytes"] = .integer(4 * parameters)
    return entries
  }

  /// What the rows of output are: `output`, and the names of `labels` line by line, where there are
  /// any and they fit.
  static func visionMetadata(_ d: VisionDescription) -> [String: MetadataValue] {
    var entries: [String: MetadataValue] = ["output": .text(d.hasHead ? "labels" : "features")]
    // A name is one line of text without NUL.
    let names = d.labels.map { label in
      String(label.map { $0.isNewline || $0 == "\0" ? " " : $0 })
    }
    let text = names.joined(separator: "\n")
    if d.hasHead, !names.isEmpty, text.utf8.count <= Int(Limits.text) {
      entries["labels"] = .text(text)
    }
    return entries
  }

  /// Where a file comes from.
  private static func origin(
    _ files: [SourceFile], _ name: String, _ recipe: Recipe
  ) throws(ImportError) -> [String: MetadataValue] {
    let listing = try listing(files)
    var hash = SHA256()
    hash.update(Array(listing.utf8))
    return [
      "name": .text(name), "source.files": .text(listing), "source.hash": .text(hash.hexDigest()),
      "recipe": .text(recipe.name), "tool": .text(converterName),
    ]
  }
}

extension [String: MetadataValue] {
  /// Adds what the conversion chose: the scaled channels, as far as a text may be long.
  mutating func record(_ model: LoweredModel) {
    let text = model.smoothing
    guard !text.isEmpty, text.utf8.count <= Int(Limits.text) else { return }
    self["recipe.smoothing"] = .text(text)
  }
}
