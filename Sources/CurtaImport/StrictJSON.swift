// JSON as RFC 8259 has it: duplicate names are refused, integers stay exact, errors have offsets.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A JSON value.
indirect enum StrictJSON: Equatable, Sendable {
  case null
  case bool(Bool)
  /// The number as written.
  case number(String)
  case string(String)
  case array([StrictJSON])
  case object([String: StrictJSON])

  /// Values nested deeper than this are refused.
  static let depthLimit = 64

  /// Why a text is not JSON.
  struct Failure: Error, Equatable {
    var isDuplicate = false
    /// Byte offset in the text.
    let offset: Int
    let detail: String
  }

  /// Parses a whole UTF-8 text. A later duplicate of a name is refused, or dropped on request.
  init(_ text: UnsafeRawBufferPointer, refusingDuplicates: Bool = true) throws(Failure) {
    var parser = StrictJSONParser(text, refusingDuplicates: refusingDuplicates)
    self = try parser.document()
  }

  /// Reads the JSON file at `path`, at most 1 GiB.
  static func file(
    _ path: String, refusingDuplicates: Bool = true
  ) throws(ImportError) -> StrictJSON {
    let file = try MappedFile(path)
    guard file.count <= 1 << 30 else {
      throw .bad(
        .headerTooLarge, file: path, "\(file.count) bytes of JSON, over the limit of 1 GiB")
    }
    return try file.withBytes(at: 0, count: file.count, of: "JSON") { bytes throws(ImportError) in
      try part(bytes, of: path, at: 0, refusingDuplicates: refusingDuplicates)
    }
  }

  /// Parses the JSON text that starts at byte `base` of a file.
  static func part(
    _ text: UnsafeRawBufferPointer, of file: String, at base: Int, refusingDuplicates: Bool = true
  ) throws(ImportError) -> StrictJSON {
    do throws(Failure) {
      return try StrictJSON(text, refusingDuplicates: refusingDuplicates)
    } catch {
      let reason: Malformation.Reason = error.isDuplicate ? .duplicateName : .notJSON
      throw .bad(reason, file: file, offset: base + error.offset, error.detail)
    }
  }

  var isNull: Bool { self == .null }

  var text: String? {
    if case .string(let text) = self { return text }
    return nil
  }

  var bool: Bool? {
    if case .bool(let bool) = self { return bool }
    return nil
  }

  /// The number where it is written as an integer and fits 64 bits.
  var integer: Int? {
    if case .number(let text) = self { return Int(text) }
    return nil
  }

  /// The number where it is finite as a double.
  var double: Double? {
    guard case .number(let text) = self, let value = Double(text), value.isFinite else {
      return nil
    }
    return value
  }

  var array: [StrictJSON]? {
    if case .array(let array) = self { return array }
    return nil
  }

  var object: [String: StrictJSON]? {
    if case .object(let object) = self { return object }
    return nil
  }

  /// The member of that name; nil where this is no object or has none.
  subscript(name: String) -> StrictJSON? { object?[name] }

  /// What kind of value this is, for messages.
  var summary: String {
    switch self {
    case .null: "null"
    case .bool(let bool): "\(bool)"
    case .number(let text): text
    case .string(let text): "\"\(text)\""
    case .array: "a list"
    case .object: "an object"
    }
  }
}

private struct StrictJSONParser {
  private let text: UnsafeRawBufferPointer
  private let refusingDuplicates: Bool
  private var position = 0

  typealias Failure = StrictJSON.Failure

  init(_ text: UnsafeRawBufferPointer, refusingDuplicates: Bool) {
    self.text = text
    self.refusingDuplicates = refusingDuplicates
  }

  mutating func document() throws(Failure) -> StrictJSON {
    let result = try value(depth: 0)
    skipSpace()
    guard position == text.count else { throw fail("something follows the JSON value") }
    return result
  }

  private func fail(_ detail: String) -> Failure {
    Failure(offset: position, detail: detail)
  }

  /// The byte at the position, nil at the end.
  private var next: UInt8? { position < text.count ? text[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
      position += 1
    }
  }

  private mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ byte: Unicode.Scalar) throws(Failure) {
    guard take(byte) else { throw fail("\"\(byte)\" expected") }
  }

  private mutating func word(_ word: StaticString, _ value: StrictJSON) throws(Failure)
    -> StrictJSON
  {
    for index in 0..<word.utf8CodeUnitCount {
      guard next == word.utf8Start[index] else { throw fail("not a JSON value") }
      position += 1
    }
    return value
  }

  private mutating func value(depth: Int) throws(Failure) -> StrictJSON {
    guard depth <= StrictJSON.depthLimit else { throw fail("nested too deeply") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case nil: throw fail("the JSON text ends too early")
    default: return .number(try number())
    }
  }

  private mutating func object(depth: Int) throws(Failure) -> StrictJSON {
    try expect("{")
    var members: [String: StrictJSON] = [:]
    skipSpace()
    if take("}") { return .object(members) }
    repeat {
      skipSpace()
      let start = position
      let name = try string()
      skipSpace()
      try expect(":")
      let member = try value(depth: depth + 1)
      if members[name] == nil {
        members[name] = member
      } else if refusingDuplicates {
        throw Failure(isDuplicate: true, offset: start, detail: "\"\(name)\" appears twice")
      }
      skipSpace()
    } while take(",")
    try expect("}")
    return .object(members)
  }

  private mutating func array(depth: Int) throws(Failure) -> StrictJSON {
    try expect("[")
    var elements: [StrictJSON] = []
    skipSpace()
    if take("]") { return .array(elements) }
    repeat {
      elements.append(try value(depth: depth + 1))
      skipSpace()
    } while take(",")
    try expect("]")
    return .array(elements)
  }

  /// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
  private mutating func number() throws(Failure) -> String {
    let start = position
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    return String(decoding: text[start..<position], as: UTF8.self)
  }

  private mutating func digits() throws(Failure) {
    let start = position
    while let byte = next, byte >= 0x30, byte <= 0x39 { position += 1 }
    guard position > start else { throw fail("not a JSON value") }
  }

  private mutating func string() throws(Failure) -> String {
    try expect("\"")
    var units: [UInt8] = []
    while true {
      guard let byte = next else { throw fail("a string does not end") }
      if byte == UInt8(ascii: "\"") { break }
      guard byte >= 0x20 else { throw fail("a control character in a string") }
      position += 1
      if byte == UInt8(ascii: "\\") {
        units.append(contentsOf: Array(String(Character(try escape())).utf8))
      } else {
        units.append(byte)
      }
    }
    guard let result = String(validating: units, as: UTF8.self) else {
      throw fail("a string that is not UTF-8 ends here")
    }
    position += 1
    return result
  }

  /// The scalar of an escape, its backslash already taken.
  private mutating func escape() throws(Failure) -> Unicode.Scalar {
    guard let byte = next else { throw fail("a string does not end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): break
    default: throw fail("an unknown escape")
    }
    var code = try hexadecimal()
    if code & 0xFC00 == 0xD800, take("\\"), take("u") {
      let low = try hexadecimal()
      guard low & 0xFC00 == 0xDC00 else { throw fail("half of a surrogate pair") }
      code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
    }
    guard let scalar = Unicode.Scalar(code) else { throw fail("half of a surrogate pair") }
    return scalar
  }

  private mutating func hexadecimal() throws(Failure) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw fail("four hexadecimal digits expected")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
