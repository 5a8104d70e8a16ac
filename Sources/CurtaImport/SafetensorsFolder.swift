// The weights of a Hugging Face folder: one safetensors file, or shards with an index.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// All tensors of a folder, from one file or many.
struct SafetensorsFolder: Sendable {
  static let singleName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"

  let files: [SafetensorsFile]
  /// Which file holds the tensor, by index in `files`.
  private let owner: [String: Int]

  /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
  init(_ folder: String) throws(ImportError) {
    let single = folder + "/" + SafetensorsFolder.singleName
    let index = folder + "/" + SafetensorsFolder.indexName
    if FileManager.default.fileExists(atPath: single) {
      files = [try SafetensorsFile(single)]
      owner = files[0].entries.mapValues { _ in 0 }
    } else if FileManager.default.fileExists(atPath: index) {
      (files, owner) = try SafetensorsFolder.shards(folder, index: index)
    } else {
      throw .unreadable(
        file: single,
        reason:
          "no such file, and no \(SafetensorsFolder.indexName) either (weights must be safetensors)"
      )
    }
  }

  /// All tensors by name.
  var stored: [String: StoredTensor] {
    var result: [String: StoredTensor] = [:]
    for (name, index) in owner {
      guard let entry = files[index].entries[name] else { continue }
      result[name] = StoredTensor(
        file: files[index].file, name: name, shape: entry.shape, offset: entry.offset,
        count: entry.count, coding: entry.coding.map { .floats($0) }, typeName: entry.dataType,
        recordOffset: entry.offset)
    }
    return result
  }

  private static func shards(
    _ folder: String, index: String
  ) throws(ImportError) -> ([SafetensorsFile], [String: Int]) {
    guard let map = try StrictJSON.file(index)["weight_map"]?.object else {
      throw .bad(.missingField, file: index, field: "weight_map", "is missing or not an object")
    }
    var shardOf: [String: String] = [:]
    for (tensor, shard) in map {
      guard let name = shard.text, isPlainName(name) else {
        throw .bad(
          .unsafeName, file: index, field: "weight_map: \(tensor)",
          "\(shard.summary) is not the plain name of a file in the same folder")
      }
      shardOf[tensor] = name
    }
    let shardNames = Set(shardOf.values).sorted()
    guard shardNames.count <= SafetensorsLimit.shards else {
      throw .bad(
        .outOfRange, file: index, field: "weight_map",
        "\(shardNames.count) files, over the limit of \(SafetensorsLimit.shards)")
    }
    var files: [SafetensorsFile] = []
    var owner: [String: Int] = [:]
    for (number, name) in shardNames.enumerated() {
      let file = try SafetensorsFile(folder + "/" + name)
      for tensor in file.entries.keys.sorted() {
        guard shardOf[tensor] == name else {
          let claim = shardOf[tensor].map { "puts it in \($0)" } ?? "does not list it"
          throw .bad(
            .contradiction, file: file.file.path, field: tensor,
            "is in this shard, but the index \(claim)")
        }
        owner[tensor] = number
      }
      files.append(file)
    }
    for (tensor, shard) in shardOf.sorted(by: { $0.key < $1.key }) where owner[tensor] == nil {
      throw .bad(
        .missingTensor, file: folder + "/" + shard, field: tensor,
        "is not in this shard, but the index says so")
    }
    return (files, owner)
  }

  /// Whether the name stays in its folder.
  private static func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".."
      && !name.unicodeScalars.contains { $0 == "/" || $0 == "\\" || $0.value == 0 }
  }
}
