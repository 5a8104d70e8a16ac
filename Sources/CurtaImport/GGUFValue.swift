// Values of GGUF metadata: scalars are read at once, arrays and strings stay in the file.
// SPDX-License-Identifier: Apache-2.0

/// The type of a metadata value.
enum GGUFValueType: UInt32, Sendable {
  case uint8 = 0
  case int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

  /// Bytes of a value in an array, the least where they differ.
  var leastBytes: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .string: 8
    case .array: 12
    }
  }

  var hasFixedSize: Bool { self != .string && self != .array }
}

/// Where a string is.
struct GGUFString: Equatable, Sendable {
  let offset: Int
  let count: Int
}

/// An array that has been checked but not read.
struct GGUFArray: Equatable, Sendable {
  let type: GGUFValueType
  let count: Int
  /// Byte offset of the first value.
  let offset: Int
}

/// A metadata value.
enum GGUFValue: Equatable, Sendable {
  case unsigned(UInt64)
  case signed(Int64)
  case real(Double)
  case bool(Bool)
  case string(GGUFString)
  case array(GGUFArray)

  /// The integer, nil for other types and beyond 63 bits.
  var integer: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .signed(let value): Int(value)
    default: nil
    }
  }

  /// The number, as far as it is one.
  var number: Double? {
    switch self {
    case .unsigned(let value): Double(value)
    case .signed(let value): Double(value)
    case .real(let value): value
    default: nil
    }
  }

  /// What it is, for messages.
  var kind: String {
    switch self {
    case .unsigned(let value): "\(value)"
    case .signed(let value): "\(value)"
    case .real(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .string(let text): "a string of \(text.count) bytes"
    case .array(let array): "an array of \(array.count) \(array.type)"
    }
  }
}

/// A metadata value and its byte offset in the file.
struct GGUFEntry: Equatable, Sendable {
  let offset: Int
  let value: GGUFValue
}

// MARK: - Arrays

extension GGUFFile {
  /// The text of a string; throws where it is not UTF-8.
  func text(_ string: GGUFString, of field: String) throws(ImportError) -> String {
    let text = try file.withBytes(at: string.offset, count: string.count, of: field) {
      String(validating: $0, as: UTF8.self)
    }
    guard let text else {
      throw .bad(
        .wrongType, file: path, field: field, offset: string.offset, "is not UTF-8")
    }
    return text
  }

  /// The bytes of the strings of an array under `key`; nil where there is none.
  ///
  /// An array of more than `limit` is refused before anything is reserved for it.
  func strings(_ key: String, limit: Int) throws(ImportError) -> [[UInt8]]? {
    guard let array = try array(key, limit: limit) else { return nil }
    guard array.type == .string else { throw wrongType(key, "an array of strings") }
    var cursor = GGUFCursor(file, at: array.offset)
    var strings: [[UInt8]] = []
    strings.reserveCapacity(array.count)
    for _ in 0..<array.count {
      let string = try cursor.string(key)
      strings.append(
        try file.withBytes(at: string.offset, count: string.count, of: key) { [UInt8]($0) })
    }
    return strings
  }

  /// The integers of an array under `key`, at most `limit`; nil where there is none.
  func integers(_ key: String, limit: Int) throws(ImportError) -> [Int]? {
    guard let array = try array(key, limit: limit) else { return nil }
    var cursor = GGUFCursor(file, at: array.offset)
    var integers: [Int] = []
    guard array.type.hasFixedSize else { throw wrongType(key, "an array of integers") }
    integers.reserveCapacity(array.count)
    for _ in 0..<array.count {
      guard let integer = try cursor.value(array.type, of: key).integer else {
        throw wrongType(key, "an array of integers")
      }
      integers.append(integer)
    }
    return integers
  }

  /// The flags of an array under `key`, at most `limit`; nil where there is none.
  func flags(_ key: String, limit: Int) throws(ImportError) -> [Bool]? {
    guard let array = try array(key, limit: limit) else { return nil }
    var cursor = GGUFCursor(file, at: array.offset)
    var flags: [Bool] = []
    for _ in 0..<array.count {
      guard array.type == .bool, case .bool(let flag) = try cursor.value(.bool, of: key) else {
        throw wrongType(key, "an array of bools")
      }
      flags.append(flag)
    }
    return flags
  }

  /// The float32 values of an array under `key`, at most `limit`; nil where there is none.
  func floats(_ key: String, limit: Int) throws(ImportError) -> [Float]? {
    guard let array = try array(key, limit: limit) else { return nil }
    guard array.type == .float32 else { throw wrongType(key, "an array of float32") }
    let floats = try file.withBytes(at: array.offset, count: 4 * array.count, of: key) {
      decodeFloats($0, .float32)
    }
    guard let floats else {
      throw .bad(
        .notFinite, file: path, field: key, offset: array.offset,
        "holds an infinity or something that is not a number")
    }
    return floats
  }

  private func array(_ key: String, limit: Int) throws(ImportError) -> GGUFArray? {
    guard let entry = metadata[key] else { return nil }
    guard case .array(let array) = entry.value else { throw wrongType(key, "an array") }
    guard array.count <= limit else {
      throw .bad(
        .outOfRange, file: path, field: key, offset: entry.offset,
        "has \(array.count) values, more than \(limit)")
    }
    return array
  }
}

// MARK: - Scalars

extension GGUFFile {
  /// An error that says what the value under `key` should have been.
  func wrongType(_ key: String, _ expected: String) -> ImportError {
    let entry = metadata[key]
    return .bad(
      .wrongType, file: path, field: key, offset: entry?.offset,
      "must be \(expected), not \(entry?.value.kind ?? "missing")")
  }

  /// An integer in `range`.
  func integer(
    _ key: String, in range: ClosedRange<Int>, default absent: Int? = nil
  ) throws(ImportError) -> Int {
    guard let entry = metadata[key] else {
      guard let absent else { throw .bad(.missingField, file: path, field: key, "is missing") }
      return absent
    }
    switch entry.value {
    case .signed, .unsigned: break
    default: throw wrongType(key, "an integer")
    }
    guard let value = entry.value.integer, range.contains(value) else {
      throw .bad(
        .outOfRange, file: path, field: key, offset: entry.offset,
        "\(entry.value.kind) is not in \(range.lowerBound)…\(range.upperBound)")
    }
    return value
  }

  /// A finite number above zero.
  func positive(_ key: String, default absent: Double? = nil) throws(ImportError) -> Double {
    guard let entry = metadata[key] else {
      guard let absent else { throw .bad(.missingField, file: path, field: key, "is missing") }
      return absent
    }
    guard let value = entry.value.number else { throw wrongType(key, "a number") }
    guard value.isFinite, value > 0 else {
      throw .bad(
        .outOfRange, file: path, field: key, offset: entry.offset,
        "\(value) is not a finite number above 0")
    }
    return value
  }

  func flag(_ key: String, default absent: Bool) throws(ImportError) -> Bool {
    guard let entry = metadata[key] else { return absent }
    guard case .bool(let value) = entry.value else { throw wrongType(key, "a bool") }
    return value
  }

  /// The string under `key`; nil where there is none.
  func text(_ key: String) throws(ImportError) -> String? {
    guard let entry = metadata[key] else { return nil }
    guard case .string(let string) = entry.value else { throw wrongType(key, "a string") }
    return try text(string, of: key)
  }
}
