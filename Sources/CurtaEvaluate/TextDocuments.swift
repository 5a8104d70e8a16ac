// The texts that a model is measured on.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file of text: one document, or a JSON list of them.
public struct TextDocuments: Sendable, Equatable {
  public var texts: [String]
  /// Whether the file was a list.
  public var isList: Bool

  /// Reads UTF-8 text; a file that ends in `.json` is a list of strings. Throws `HostError`.
  public init(_ path: String) throws(HostError) {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .system(path: path, reason: error.localizedDescription)
    }
    isList = path.hasSuffix(".json")
    if isList {
      guard let list = try? JSONDecoder().decode([String].self, from: data) else {
        throw .request("\(path): not a JSON list of strings; give such a list or plain text")
      }
      texts = list
    } else {
      guard let text = String(data: data, encoding: .utf8) else {
        throw .request("\(path): not UTF-8 text; convert it first, for instance with iconv")
      }
      texts = [text]
    }
  }

  public init(_ texts: [String]) {
    self.texts = texts
    isList = true
  }
}

/// Which documents of a list are taken.
public enum DocumentSelection: Sendable, Equatable {
  case all
  /// The documents from the first to the second index, both counted from 0 and both included.
  case range(ClosedRange<Int>)
  case last(Int)

  /// The selected texts. Throws `HostError.request` where there are none.
  public func apply(_ documents: TextDocuments) throws(HostError) -> [String] {
    let texts = documents.texts
    let chosen: ArraySlice<String>
    switch self {
    case .all: chosen = texts[...]
    case .last(let count): chosen = texts.suffix(max(0, count))
    case .range(let range):
      guard range.lowerBound >= 0, range.upperBound < texts.count else {
        throw .request(
          "documents \(range.lowerBound)..\(range.upperBound): the file has \(texts.count),"
            + " numbered from 0")
      }
      chosen = texts[range]
    }
    guard !chosen.isEmpty else { throw .request("no documents: the text file is empty") }
    return Array(chosen)
  }
}
