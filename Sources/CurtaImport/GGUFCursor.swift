// Walks through the header of a GGUF file; nothing is reserved before its bytes are seen.
// SPDX-License-Identifier: Apache-2.0

/// A tensor as the header has it, before its place is checked.
struct GGUFRecord {
  var name: String
  var type: GGUFTensorType
  var dimensions: [Int]
  var byteCount: Int
  /// From the start of the data section.
  var offset: UInt64
  /// Byte offsets in the file of the record and of its field `offset`.
  var recordOffset: Int
  var offsetPosition: Int
}

/// A position in a GGUF file.
struct GGUFCursor {
  let file: MappedFile
  private(set) var position: Int

  init(_ file: MappedFile, at position: Int = 0) {
    self.file = file
    self.position = position
  }

  private var remaining: Int { max(0, file.count - position) }

  mutating func take<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ field: String
  ) throws(ImportError) -> T {
    let value = try file.load(type, at: position, of: field)
    position += MemoryLayout<T>.size
    return value
  }

  /// A count of things of at least `least` bytes each, which the rest of the file can hold.
  mutating func count(
    _ field: String, least: Int, advice: String = Malformation.fetchAgain
  ) throws(ImportError) -> Int {
    let start = position
    let count = try take(UInt64.self, field)
    guard count <= UInt64(remaining / least) else {
      throw .bad(
        .truncated, file: file.path, field: field, offset: start,
        "a count of \(count), but only \(remaining) bytes are left", advice: advice)
    }
    return Int(count)
  }

  /// A string, skipped.
  mutating func string(_ field: String) throws(ImportError) -> GGUFString {
    let count = try count(field, least: 1)
    defer { position += count }
    return GGUFString(offset: position, count: count)
  }

  /// A string of 1…limit bytes of UTF-8.
  mutating func name(_ field: String, limit: Int) throws(ImportError) -> String {
    let start = position
    let string = try string(field)
    guard string.count > 0, string.count <= limit else {
      throw .bad(
        .outOfRange, file: file.path, field: field, offset: start,
        "has \(string.count) bytes, not 1…\(limit)")
    }
    let text = try file.withBytes(at: string.offset, count: string.count, of: field) {
      String(validating: $0, as: UTF8.self)
    }
    guard let text else {
      throw .bad(
        .wrongType, file: file.path, field: field, offset: string.offset, "is not UTF-8")
    }
    return text
  }

  mutating func valueType(_ field: String) throws(ImportError) -> GGUFValueType {
    let start = position
    let number = try take(UInt32.self, field)
    guard let type = GGUFValueType(rawValue: number) else {
      throw .bad(
        .unknownDataType, file: file.path, field: field, offset: start,
        "unknown value type \(number)")
    }
    return type
  }

  /// A value; strings and arrays are checked and skipped.
  mutating func value(
    _ type: GGUFValueType, of field: String, depth: Int = 0
  ) throws(ImportError) -> GGUFValue {
    switch type {
    case .uint8: return .unsigned(UInt64(try take(UInt8.self, field)))
    case .uint16: return .unsigned(UInt64(try take(UInt16.self, field)))
    case .uint32: return .unsigned(UInt64(try take(UInt32.self, field)))
    case .uint64: return .unsigned(try take(UInt64.self, field))
    case .int8: return .signed(Int64(try take(Int8.self, field)))
    case .int16: return .signed(Int64(try take(Int16.self, field)))
    case .int32: return .signed(Int64(try take(Int32.self, field)))
    case .int64: return .signed(try take(Int64.self, field))
    case .float32:
      return .real(Double(Float(bitPattern: try take(UInt32.self, field))))
    case .float64: return .real(Double(bitPattern: try take(UInt64.self, field)))
    case .bool:
      let byte = try take(UInt8.self, field)
      guard byte <= 1 else {
        throw .bad(
          .outOfRange, file: file.path, field: field, offset: position - 1,
          "\(byte) is not a bool")
      }
      return .bool(byte == 1)
    case .string: return .string(try string(field))
    case .array: return .array(try array(field, depth: depth))
    }
  }

  private mutating func array(_ field: String, depth: Int) throws(ImportError) -> GGUFArray {
    guard depth < GGUFLimit.arrayDepth else {
      throw .bad(
        .outOfRange, file: file.path, field: field, offset: position,
        "arrays are nested more than \(GGUFLimit.arrayDepth) deep")
    }
    let type = try valueType(field)
    let count = try count(field, least: type.leastBytes)
    let array = GGUFArray(type: type, count: count, offset: position)
    if type.hasFixedSize, type != .bool {
      position += count * type.leastBytes
    } else {
      for _ in 0..<count { _ = try value(type, of: field, depth: depth + 1) }
    }
    return array
  }

  /// The record of the tensor of that index.
  mutating func record(_ index: Int) throws(ImportError) -> GGUFRecord {
    let start = position
    let name = try name("name of tensor \(index)", limit: GGUFLimit.nameBytes)
    let rank = try take(UInt32.self, name)
    guard rank >= 1, rank <= GGUFLimit.rank else {
      throw .bad(
        .rankTooHigh, file: file.path, field: name, offset: position - 4,
        "\(rank) dimensions, not 1…\(GGUFLimit.rank)")
    }
    var dimensions: [Int] = []
    for _ in 0..<rank {
      let size = try take(UInt64.self, name)
      guard size >= 1, let size = Int(exactly: size) else {
        throw .bad(
          .outOfRange, file: file.path, field: name, offset: position - 8,
          "\(size) is no size of a dimension")
      }
      dimensions.append(size)
    }
    let typeOffset = position
    let number = try take(UInt32.self, name)
    guard let type = GGUFTensorType(rawValue: number) else {
      throw .bad(
        .unknownDataType, file: file.path, field: name, offset: typeOffset,
        "unknown tensor type \(number)")
    }
    guard dimensions[0] % type.blockElements == 0 else {
      throw .bad(
        .sizeMismatch, file: file.path, field: name, offset: typeOffset,
        "rows of \(dimensions[0]) are not whole \(type.name) blocks of \(type.blockElements)")
    }
    let sizes = [dimensions[0] / type.blockElements, type.blockBytes] + dimensions.dropFirst()
    guard let byteCount = checkedProduct(sizes), checkedProduct(dimensions) != nil else {
      throw .bad(
        .sizeOverflow, file: file.path, field: name, offset: start,
        "shape \(dimensions) is beyond 64 bits")
    }
    let offset = try take(UInt64.self, name)
    return GGUFRecord(
      name: name, type: type, dimensions: dimensions, byteCount: byteCount, offset: offset,
      recordOffset: start, offsetPosition: position - 8)
  }
}
