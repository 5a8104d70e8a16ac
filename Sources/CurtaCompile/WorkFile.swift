// Reads what another run of the converter left: a part of a conversion, or statistics.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaWrite
import Foundation

/// Why the work of another run cannot be taken.
public enum WorkError: Error, Equatable, Sendable {
  case unreadable(path: String, reason: String)
  /// The file was changed, cut short, or is none of the converter's.
  case damaged(path: String, reason: String)
  /// Sound, but not for this.
  case unfit(String)
}

extension WorkError: CustomStringConvertible, LocalizedError {
  public var description: String {
    switch self {
    case .unreadable(let path, let reason): "\(path): \(reason)"
    case .damaged(let path, let reason): "\(path): \(reason); make it again"
    case .unfit(let reason): reason
    }
  }

  public var errorDescription: String? { description }
}

/// A file of `writeWork`, mapped; all its hashes were checked.
final class WorkFile {
  let path: String
  let file: CurtaFile
  let metadata: [String: MetadataValue]
  /// Places in the table of tensors, by name.
  private let places: [String: UInt32]
  private let table: TensorTable
  /// Keeps the bytes.
  private let data: NSData

  /// Throws `WorkError`.
  init(_ path: String, _ kind: WorkKind) throws(WorkError) {
    self.path = path
    let attributes = try? FileManager.default.attributesOfItem(
      atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path)
    guard let attributes else { throw .unreadable(path: path, reason: "no such file") }
    guard attributes[.type] as? FileAttributeType == .typeRegular else {
      throw .unreadable(path: path, reason: "not a regular file")
    }
    do {
      data = try NSData(contentsOfFile: path, options: .alwaysMapped)
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
    let head = kind.head
    guard data.length > head.count else { throw .damaged(path: path, reason: "it is cut short") }
    let found = [UInt8](UnsafeRawBufferPointer(start: data.bytes, count: head.count))
    guard found == head else { throw .damaged(path: path, reason: WorkFile.fault(found, kind)) }
    let bytes = ByteView(data.bytes + head.count, count: data.length - head.count)
    do throws(CurtaError) {
      file = try CurtaFile(bytes)
      try file.verifyPayload()
      table = try file.tensors()
      var entries: [String: MetadataValue] = [:]
      let read = { (entry: MetadataEntry) in
        entries[entry.key.string] = entry.text.map { .text($0.string) } ?? .integer(entry.integer)
      }
      try file.metadata().forEach(read)
      metadata = entries
      var places: [String: UInt32] = [:]
      for i in 0..<table.count { places[try table[i].name.string] = i }
      self.places = places
    } catch {
      throw .damaged(
        path: path,
        reason: "it is damaged (\(error.status), byte \(error.offset + UInt64(head.count)))")
    }
  }

  /// What is wrong with the first 64 bytes.
  private static func fault(_ head: [UInt8], _ kind: WorkKind) -> String {
    let other: WorkKind = kind == .part ? .statistics : .part
    if head == other.head {
      return kind == .part ? "these are statistics, not a part" : "this is a part, not statistics"
    }
    return head.starts(with: kind.head.prefix(8))
      ? "it is of another version of the converter" : "it is not a file of the converter's own"
  }

  func text(_ key: String) -> String? {
    if case .text(let text)? = metadata[key] { return text }
    return nil
  }

  func integer(_ key: String) -> Int? {
    if case .integer(let value)? = metadata[key] { return Int(exactly: value) }
    return nil
  }

  var names: [String] { places.keys.sorted { places[$0]! < places[$1]! } }

  /// The descriptor of a tensor; nil where there is none.
  func descriptor(_ name: String) throws(CurtaError) -> TensorDescriptor? {
    guard let place = places[name] else { return nil }
    return try table[place]
  }

  /// All tensors, as they are packed.
  func tensors() throws(CurtaError) -> [TensorContents] {
    var tensors: [TensorContents] = []
    for i in 0..<table.count { tensors.append(try TensorContents(table[i], of: file)) }
    return tensors
  }

  /// The bytes of a section; nil where there is none.
  func bytes(entry: Int) throws(CurtaError) -> [UInt8]? {
    guard entry >= 0 else { return nil }
    return try file.decodedBytes(file.section(entry))
  }
}
