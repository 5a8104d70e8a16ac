// Reads a safetensors file, strictly: the data section has no hole, overlap or leftover byte.
// SPDX-License-Identifier: Apache-2.0

/// Limits of what we read.
enum SafetensorsLimit {
  /// Bytes of a header, as the reference implementation has it.
  static let headerBytes = 100_000_000
  /// Dimensions of a tensor.
  static let rank = 8
  /// Files of a sharded checkpoint.
  static let shards = 10_000
}

/// One tensor of a safetensors file.
struct SafetensorsEntry: Equatable, Sendable {
  let name: String
  /// "F32", "I8", …
  let dataType: String
  let shape: [Int]
  /// Byte offset in the file, and length in bytes.
  let offset: Int
  let count: Int

  /// How the floats are stored; nil for a type that is not read as floats.
  var coding: FloatCoding? {
    switch dataType {
    case "F32": .float32
    case "F16": .float16
    case "BF16": .bfloat16
    default: nil
    }
  }
}

/// A mapped and validated safetensors file.
struct SafetensorsFile: Sendable {
  let file: MappedFile
  let entries: [String: SafetensorsEntry]

  /// Bytes of one element of every known type.
  private static let elementBytes: [String: Int] = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
  ]

  /// Maps the file and validates its whole header.
  init(_ path: String) throws(ImportError) {
    file = try MappedFile(path)
    let length = try file.load(UInt64.self, at: 0, of: "header length")
    guard length <= UInt64(SafetensorsLimit.headerBytes) else {
      throw .bad(
        .headerTooLarge, file: path, field: "header length", offset: 0,
        "\(length) bytes, over the limit of \(SafetensorsLimit.headerBytes)",
        advice: "check that this is a safetensors file")
    }
    let start = 8 + Int(length)
    let header = try file.withBytes(at: 8, count: Int(length), of: "header") {
      bytes throws(ImportError) -> StrictJSON in
      guard bytes.first == UInt8(ascii: "{") else {
        throw .bad(
          .notJSON, file: path, field: "header", offset: 8, "does not begin with \"{\"",
          advice: "check that this is a safetensors file")
      }
      return try StrictJSON.part(bytes, of: path, at: 8)
    }
    var list: [SafetensorsEntry] = []
    for (name, fields) in header.object ?? [:] {
      if name == "__metadata__" {
        guard let object = fields.object, object.values.allSatisfy({ $0.text != nil }) else {
          throw .bad(.wrongType, file: path, field: name, "must map strings to strings")
        }
      } else {
        list.append(try SafetensorsFile.entry(name, fields, file: path, start: start))
      }
    }
    try SafetensorsFile.checkCover(&list, start: start, end: file.count, file: path)
    entries = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0) })
  }

  /// One member of the header; `start` is where the data begins.
  private static func entry(
    _ name: String, _ fields: StrictJSON, file: String, start: Int
  ) throws(ImportError) -> SafetensorsEntry {
    guard let members = fields.object else {
      throw .bad(.wrongType, file: file, field: name, "must be an object")
    }
    for field in ["dtype", "shape", "data_offsets"] where members[field] == nil {
      throw .bad(.missingField, file: file, field: name, "has no \"\(field)\"")
    }
    guard let dataType = members["dtype"]?.text else {
      throw .bad(.wrongType, file: file, field: name, "\"dtype\" must be a string")
    }
    guard let elementBytes = elementBytes[dataType] else {
      throw .bad(
        .unknownDataType, file: file, field: name, "unknown dtype \"\(dataType)\"",
        advice: "convert the checkpoint to F32, F16 or BF16")
    }
    let shape = try sizes(members["shape"], "shape", of: name, file: file)
    guard shape.count <= SafetensorsLimit.rank else {
      throw .bad(
        .rankTooHigh, file: file, field: name,
        "\(shape.count) dimensions, over the limit of \(SafetensorsLimit.rank)")
    }
    let range = try sizes(members["data_offsets"], "data_offsets", of: name, file: file)
    guard range.count == 2, range[0] <= range[1] else {
      throw .bad(
        .outOfRange, file: file, field: name, "\"data_offsets\" must be [begin, end], not \(range)")
    }
    guard let size = checkedProduct([elementBytes] + shape) else {
      throw .bad(.sizeOverflow, file: file, field: name, "shape \(shape) is beyond 64 bits")
    }
    guard size == range[1] - range[0] else {
      throw .bad(
        .sizeMismatch, file: file, field: name,
        "\(dataType) \(shape) takes \(size) bytes, \"data_offsets\" span \(range[1] - range[0])")
    }
    let (offset, overflow) = start.addingReportingOverflow(range[0])
    guard !overflow else {
      throw .bad(.outOfRange, file: file, field: name, "\"data_offsets\" \(range) are too large")
    }
    return SafetensorsEntry(
      name: name, dataType: dataType, shape: shape, offset: offset, count: size)
  }

  /// A list of non-negative integers.
  private static func sizes(
    _ value: StrictJSON?, _ field: String, of name: String, file: String
  ) throws(ImportError) -> [Int] {
    guard let list = value?.array else {
      throw .bad(.wrongType, file: file, field: name, "\"\(field)\" must be a list")
    }
    var result: [Int] = []
    for element in list {
      guard let size = element.integer, size >= 0 else {
        throw .bad(
          .outOfRange, file: file, field: name,
          "\"\(field)\" holds \(element.summary), not a non-negative integer")
      }
      result.append(size)
    }
    return result
  }

  /// Sorts the entries and sees that they fill start ..< end with no hole, overlap or leftover.
  private static func checkCover(
    _ list: inout [SafetensorsEntry], start: Int, end: Int, file: String
  ) throws(ImportError) {
    list.sort { ($0.offset, $0.count, $0.name) < ($1.offset, $1.count, $1.name) }
    var position = start
    for entry in list {
      guard entry.offset >= position else {
        throw .bad(
          .overlap, file: file, field: entry.name, offset: entry.offset,
          "overlaps the tensor before it, which ends at byte \(position)")
      }
      guard entry.offset == position else {
        throw .bad(
          .hole, file: file, field: entry.name, offset: position,
          "\(entry.offset - position) bytes before it belong to no tensor")
      }
      guard entry.count <= end - position else {
        throw .bad(
          .truncated, file: file, field: entry.name, offset: entry.offset,
          "needs \(entry.count) bytes, the file has \(end - position) left")
      }
      position += entry.count
    }
    guard position == end else {
      throw .bad(
        .trailingBytes, file: file, offset: position,
        "\(end - position) bytes after the last tensor belong to none")
    }
  }
}

/// The product of non-negative sizes; nil past 64 bits.
func checkedProduct(_ sizes: [Int]) -> Int? {
  if sizes.contains(0) { return 0 }
  var product = 1
  for size in sizes {
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    guard !overflow else { return nil }
    product = next
  }
  return product
}
