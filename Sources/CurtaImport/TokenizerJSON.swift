// A small JSON reader that keeps strings as bytes and objects in order.
// SPDX-License-Identifier: Apache-2.0

/// A JSON value.
///
/// Foundation's reader makes objects dictionaries of `String`, and Swift strings that look alike
/// (`é` as one or as two scalars) are equal: a vocabulary loses tokens that way.
indirect enum TokenizerJSON: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string([UInt8])
  case array([TokenizerJSON])
  case object([Member])

  struct Member: Equatable, Sendable {
    var key: [UInt8]
    var value: TokenizerJSON
  }

  /// The value of the first member of that name; null for anything else.
  subscript(_ key: String) -> TokenizerJSON {
    guard case .object(let members) = self else { return .null }
    let bytes = Array(key.utf8)
    return members.first { $0.key == bytes }?.value ?? .null
  }

  var items: [TokenizerJSON] {
    if case .array(let items) = self { items } else { [] }
  }

  var bytes: [UInt8]? {
    if case .string(let bytes) = self { bytes } else { nil }
  }

  /// The string, for names and messages.
  var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

  var flag: Bool? {
    if case .bool(let flag) = self { flag } else { nil }
  }

  /// A whole number that an id can be.
  var id: Int? {
    guard case .number(let value) = self, value >= 0, value < 2_147_483_648 else { return nil }
    return Int(exactly: value)
  }
}

/// Reads one JSON document from UTF-8 bytes.
struct TokenizerJSONParser {
  struct Failure: Error {
    var reason: String
    var offset: Int
  }

  /// How deep arrays and objects may nest.
  static let maximumDepth = 64

  private let bytes: [UInt8]
  private var position = 0

  static func parse(_ bytes: [UInt8]) throws(Failure) -> TokenizerJSON {
    var parser = TokenizerJSONParser(bytes)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.position == bytes.count else { throw parser.failure("text after the end") }
    return value
  }

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  private func failure(_ reason: String) -> Failure { Failure(reason: reason, offset: position) }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || (0x09...0x0D).contains(byte) { position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(Failure) -> TokenizerJSON {
    guard depth < TokenizerJSONParser.maximumDepth else { throw failure("nested too deeply") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth)
    case UInt8(ascii: "["): return try array(depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  private mutating func object(_ depth: Int) throws(Failure) -> TokenizerJSON {
    position += 1
    var members: [TokenizerJSON.Member] = []
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw failure("a name is missing") }
      let key = try string()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw failure("':' is missing") }
      members.append(.init(key: key, value: try value(depth: depth + 1)))
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw failure("'}' is missing") }
    return .object(members)
  }

  private mutating func array(_ depth: Int) throws(Failure) -> TokenizerJSON {
    position += 1
    var items: [TokenizerJSON] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(items) }
    repeat {
      items.append(try value(depth: depth + 1))
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw failure("']' is missing") }
    return .array(items)
  }

  private mutating func word(
    _ text: String, _ value: TokenizerJSON
  ) throws(Failure) -> TokenizerJSON {
    for byte in text.utf8 where !take(byte) { throw failure("'\(text)' is misspelt") }
    return value
  }

  private mutating func number() throws(Failure) -> TokenizerJSON {
    let start = position
    while let byte = next, Array("+-.0123456789eE".utf8).contains(byte) { position += 1 }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let value = Double(text) else { throw failure("not a value") }
    return .number(value)
  }

  private mutating func string() throws(Failure) -> [UInt8] {
    position += 1
    var out: [UInt8] = []
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return out
      case UInt8(ascii: "\\"): try escape(into: &out)
      case 0..<0x20: throw failure("a control character in a string")
      default: out.append(byte)
      }
    }
    throw failure("a string does not end")
  }

  private mutating func escape(into out: inout [UInt8]) throws(Failure) {
    guard let byte = next else { throw failure("a string does not end") }
    position += 1
    switch byte {
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "u"):
      var value = try hex4()
      if (0xD800..<0xDC00).contains(value) {
        guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
          throw failure("half of a surrogate pair")
        }
        let low = try hex4()
        guard (0xDC00..<0xE000).contains(low) else { throw failure("half of a surrogate pair") }
        value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(value) else { throw failure("half of a surrogate pair") }
      out += Array(String(Character(scalar)).utf8)
    default: throw failure("an unknown escape")
    }
  }

  private mutating func hex4() throws(Failure) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("four hexadecimal digits are missing")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}
