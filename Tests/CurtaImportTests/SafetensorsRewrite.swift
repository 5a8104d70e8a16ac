// Changes the names in a model's files, for layouts that other exporters leave behind.
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import CurtaImport

/// A folder of the recorded models, to be written with changes.
struct RecordedFolder {
  var config: [String: Any]
  /// Name and the header's entry of every tensor.
  var tensors: [String: [String: Any]]
  private var data: Data
  private let expected: Data

  init(_ name: String) throws {
    let folder = TinyModels.recorded.appendingPathComponent(name)
    func object(_ data: Data) throws -> [String: Any] {
      guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
        throw CocoaError(.fileReadCorruptFile)
      }
      return object
    }
    config = try object(Data(contentsOf: folder.appendingPathComponent("config.json")))
    let file = try Data(contentsOf: folder.appendingPathComponent("model.safetensors"))
    let length = (0..<8).reduce(0) { $0 | Int(file[$1]) << (8 * $1) }
    tensors = try object(file[8..<8 + length]).compactMapValues { $0 as? [String: Any] }
    tensors["__metadata__"] = nil
    data = file[(8 + length)...]
    expected = try Data(contentsOf: folder.appendingPathComponent("expected.bin"))
  }

  /// Gives every tensor another name.
  mutating func rename(_ change: (String) -> String) {
    tensors = Dictionary(uniqueKeysWithValues: tensors.map { (change($0.key), $0.value) })
  }

  /// Adds a tensor of float16 zeros.
  mutating func add(_ name: String, _ shape: [Int]) {
    let count = 2 * shape.reduce(1, *)
    tensors[name] = [
      "dtype": "F16", "shape": shape, "data_offsets": [data.count, data.count + count],
    ]
    data.append(Data(count: count))
  }

  func write(_ folder: URL) throws {
    try JSONSerialization.data(withJSONObject: config)
      .write(to: folder.appendingPathComponent("config.json"))
    let header = try JSONSerialization.data(withJSONObject: tensors)
    var file = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
    file.append(header)
    file.append(data)
    try file.write(to: folder.appendingPathComponent("model.safetensors"))
    try expected.write(to: folder.appendingPathComponent("expected.bin"))
  }

  /// Largest difference of a logit from the recorded ones.
  func worstError() throws -> Float {
    try withScratch { folder in
      try write(folder)
      return try TinyModels.worstError(folder)
    }
  }

  /// What is unsupported about it.
  func unsupported() throws -> [String] {
    try withScratch { folder in
      try write(folder)
      return unsupportedList { _ = try loadCheckpoint(folder.path) }
    }
  }

  /// What is wrong with it.
  func malformed() throws -> Malformation? {
    try withScratch { folder in
      try write(folder)
      return malformation { _ = try loadCheckpoint(folder.path).weights() }
    }
  }
}
