// A folder of finished tensors, from which a conversion that was cut off goes on.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaWrite
import Foundation

/// Finished tensors on disk, each layer and each tensor outside the layers a file of its own.
///
/// They lie in a folder named after a hash of all that decides their bytes (source, recipe, inputs,
/// options, version of the converter), so that other conversions neither find nor harm them. Files
/// appear whole or not at all (`writeWork`) and are checked when they are read.
final class KeptParts {
  private let folder: String
  private let key: [String: MetadataValue]
  private var found = 0
  private var made = 0
  private var damaged: [String] = []

  /// Throws `WriteError` where the folder cannot be made.
  init(_ folder: String, key: [String: MetadataValue]) throws {
    self.key = key
    let name = hashText(try metadataSection(key)).prefix(16)
    self.folder = folder + "/" + name
    do {
      try FileManager.default.createDirectory(
        atPath: self.folder, withIntermediateDirectories: true)
    } catch {
      throw WriteError.system(
        operation: "make the folder", path: self.folder, reason: error.localizedDescription)
    }
  }

  private func path(_ places: Range<Int>) -> String {
    "\(folder)/\(places.lowerBound)-\(places.upperBound - 1).part"
  }

  /// The tensors planned for `places`, packed and, where asked for, as integers; nil where they are
  /// not there or damaged.
  func find(
    _ planned: ArraySlice<PlannedTensor>, _ places: Range<Int>, _ needsValues: Bool
  ) -> (contents: [TensorContents], tensors: [QuantizedTensor])? {
    let path = path(places)
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    do {
      let part = try WorkFile(path, .part)
      guard part.metadata == key else {
        throw WorkError.damaged(path: path, reason: "it is of another conversion")
      }
      let contents = try part.tensors()
      guard
        contents.map(\.name) == planned.map(\.name),
        zip(contents, planned).allSatisfy({ $0.rows == $1.rows && $0.columns == $1.columns })
      else { throw WorkError.damaged(path: path, reason: "its tensors are others") }
      var tensors: [QuantizedTensor] = []
      if needsValues {
        for name in part.names {
          guard let descriptor = try part.descriptor(name) else { continue }
          tensors.append(try TensorReader(part.file, descriptor).quantized())
        }
      }
      found += 1
      return (contents, tensors)
    } catch {
      damaged.append("\(error)".replacingOccurrences(of: "; make it again", with: ""))
      return nil
    }
  }

  /// Writes the finished tensors of `places`. Throws `WriteError`.
  func keep(_ contents: [TensorContents], _ places: Range<Int>) throws(WriteError) {
    made += 1
    try writeWork(
      .part, FileContents(metadata: key, tensors: contents, programBytes: [0]), to: path(places))
  }

  /// What was found and what was not.
  var notes: [String] {
    let taken = "\(found) of \(found + made) kept parts were taken from \(folder)"
    return damaged.map { $0 + "; it was made again" } + (found > 0 ? [taken] : [])
  }
}
