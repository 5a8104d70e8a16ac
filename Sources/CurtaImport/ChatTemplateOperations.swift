// Operators, members, tests, filters and methods of chat templates.
// SPDX-License-Identifier: Apache-2.0

extension ChatTemplateRenderer {
  func member(
    _ base: Value, _ key: Value, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    switch (base, key) {
    case (.map(let members), .text(let name)):
      return members.first { $0.key == name }?.value ?? .undefined(name)
    case (.namespace(let namespace), .text(let name)):
      return namespace.members[name] ?? .undefined(name)
    case (.list(let items), .integer(let index)):
      let at = index < 0 ? items.count + index : index
      return items.indices.contains(at) ? items[at] : .undefined("[\(index)]")
    case (.text(let text), .integer(let index)):
      let scalars = Array(text.unicodeScalars)
      let at = index < 0 ? scalars.count + index : index
      return scalars.indices.contains(at) ? .text(String(scalars[at])) : .undefined("[\(index)]")
    case (.undefined, _): throw fail("a member of \(base.typeName)", line)
    default: return .undefined(key.written ?? key.typeName)
    }
  }

  func sliced(
    _ base: Value, _ from: Int?, _ to: Int?, _ step: Int?, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    let step = step ?? 1
    guard step != 0, step.magnitude < 1 << 20 else { throw fail("a slice by no step", line) }
    func indices(_ count: Int) -> StrideTo<Int> {
      func bound(_ given: Int?, _ standard: Int) -> Int {
        guard let given else { return standard }
        let at = given < 0 ? max(given, -count - 1) + count : given
        return step > 0 ? min(max(at, 0), count) : min(max(at, -1), count - 1)
      }
      return stride(
        from: bound(from, step > 0 ? 0 : count - 1), to: bound(to, step > 0 ? count : -1), by: step)
    }
    switch base {
    case .list(let items): return .list(indices(items.count).map { items[$0] })
    case .text(let text):
      let scalars = Array(text.unicodeScalars)
      var view = String.UnicodeScalarView()
      view.append(contentsOf: indices(scalars.count).map { scalars[$0] })
      return .text(String(view))
    default: throw fail("a slice of \(base.typeName)", line)
    }
  }

  func binary(
    _ sign: String, _ a: Value, _ b: Value, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    switch sign {
    case "==": return .bool(Value.equal(a, b))
    case "!=": return .bool(!Value.equal(a, b))
    case "in": return .bool(try contains(b, a, line))
    case "not in": return .bool(try !contains(b, a, line))
    case "~":
      guard let x = a.written, let y = b.written else {
        throw fail("'~' of \(a.typeName) and \(b.typeName)", line)
      }
      return .text(x + y)
    default: break
    }
    if case .text(let x) = a, case .text(let y) = b {
      let order = x.unicodeScalars.lexicographicallyPrecedes(y.unicodeScalars)
      let isSame = x.utf8.elementsEqual(y.utf8)
      switch sign {
      case "+": return .text(x + y)
      case "<": return .bool(order)
      case "<=": return .bool(order || isSame)
      case ">": return .bool(!order && !isSame)
      case ">=": return .bool(!order)
      default: break
      }
    }
    if sign == "+", case .list(let x) = a, case .list(let y) = b { return .list(x + y) }
    if sign == "*", case .text(let text) = a, let n = b.number, n <= 1000 {
      return .text(String(repeating: text, count: max(n, 0)))
    }
    guard let x = a.number, let y = b.number else {
      throw fail("'\(sign)' of \(a.typeName) and \(b.typeName)", line)
    }
    switch sign {
    case "+": return .integer(x &+ y)
    case "-": return .integer(x &- y)
    case "*": return .integer(x &* y)
    case "//", "%":
      guard y > 0 else { throw fail("'\(sign)' by a number that is not positive", line) }
      let rest = ((x % y) + y) % y
      return .integer(sign == "%" ? rest : (x - rest) / y)
    case "<": return .bool(x < y)
    case "<=": return .bool(x <= y)
    case ">": return .bool(x > y)
    case ">=": return .bool(x >= y)
    default: throw fail("'\(sign)' is not supported", line)
    }
  }

  private func contains(
    _ whole: Value, _ part: Value, _ line: Int
  ) throws(ChatTemplateError) -> Bool {
    switch (whole, part) {
    case (.text(let text), .text(let part)): return find(part, in: text)
    case (.list(let items), _): return items.contains { Value.equal($0, part) }
    case (.map(let members), .text(let key)): return members.contains { $0.key == key }
    case (.undefined, _): return false
    default: throw fail("'in' of \(whole.typeName)", line)
    }
  }

  private func find(_ part: String, in text: String) -> Bool {
    let (part, text) = (Array(part.utf8), Array(text.utf8))
    guard part.count <= text.count else { return false }
    return (0...text.count - part.count).contains { text[$0...].starts(with: part) }
  }

  static func test(
    _ name: String, _ value: Value, _ other: Value?, _ line: Int
  ) throws(ChatTemplateError) -> Bool {
    switch (name, value) {
    case ("defined", .undefined): return false
    case ("defined", _): return true
    case ("undefined", .undefined): return true
    case ("undefined", _): return false
    case ("none", .none): return true
    case ("none", _): return false
    case ("string", .text): return true
    case ("string", _): return false
    case ("mapping", .map): return true
    case ("mapping", _): return false
    case ("boolean", .bool): return true
    case ("boolean", _): return false
    case ("integer", .integer), ("number", .integer), ("number", .bool): return true
    case ("integer", _), ("number", _): return false
    case ("iterable", .text), ("iterable", .list), ("iterable", .map), ("iterable", .undefined),
      ("sequence", .text), ("sequence", .list), ("sequence", .map), ("sequence", .undefined):
      return true
    case ("iterable", _), ("sequence", _): return false
    case ("true", .bool(let flag)): return flag
    case ("false", .bool(let flag)): return !flag
    case ("true", _), ("false", _): return false
    case ("odd", .integer(let n)): return n % 2 != 0
    case ("even", .integer(let n)): return n % 2 == 0
    default: break
    }
    guard let other else { throw .unsupported("the test '\(name)' is not supported", line: line) }
    switch name {
    case "eq", "equalto", "sameas": return Value.equal(value, other)
    case "ne": return !Value.equal(value, other)
    case "divisibleby":
      if let x = value.number, let y = other.number, y > 0 { return x % y == 0 }
    case "in":
      if case .list(let items) = other { return items.contains { Value.equal($0, value) } }
    default: break
    }
    throw .unsupported("the test '\(name)' is not supported", line: line)
  }

  func filter(
    _ name: String, _ value: Value, _ called: Called, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    switch (name, value) {
    case ("default", _), ("d", _):
      let isAbsent: Bool
      if case .undefined = value {
        isAbsent = true
      } else {
        isAbsent = called.get(1, "boolean")?.isTrue == true && !value.isTrue
      }
      return isAbsent ? called.get(0, "default_value") ?? .text("") : value
    case ("safe", _): return value
    case ("string", _):
      if let text = value.written { return .text(text) }
    case ("tojson", _) where called.positions.isEmpty && called.names.isEmpty:
      if let json = value.json { return .text(json) }
    case ("length", .text(let text)), ("count", .text(let text)):
      return .integer(text.unicodeScalars.count)
    case ("length", _), ("count", _), ("list", _), ("first", _), ("last", _), ("reverse", _),
      ("join", _), ("selectattr", _), ("rejectattr", _), ("map", _):
      return try listFilter(name, items(value, line), called, line)
    case ("items", .map(let members)):
      return .list(members.map { .list([.text($0.key), $0.value]) })
    case ("int", .text(let text)): return .integer(Int(text) ?? 0)
    case ("int", _): if let number = value.number { return .integer(number) }
    case ("trim", _), ("upper", _), ("lower", _), ("capitalize", _), ("title", _), ("replace", _):
      if let text = value.written {
        return try method(name == "trim" ? "strip" : name, of: .text(text), called, line)
      }
    default: break
    }
    throw fail("the filter '\(name)' of \(value.typeName) is not supported", line)
  }

  private func listFilter(
    _ name: String, _ items: [Value], _ called: Called, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    switch name {
    case "length", "count": return .integer(items.count)
    case "list": return .list(items)
    case "first": return items.first ?? .undefined("first")
    case "last": return items.last ?? .undefined("last")
    case "reverse": return .list(items.reversed())
    case "join":
      let texts = items.compactMap(\.written)
      guard texts.count == items.count else { break }
      return .text(texts.joined(separator: called.get(0, "d")?.written ?? ""))
    case "map":
      guard called.positions.isEmpty, let attribute = called.names["attribute"] else { break }
      var values: [Value] = []
      for item in items { values.append(try member(item, attribute, line)) }
      return .list(values)
    case "selectattr", "rejectattr":
      guard let attribute = called.positions.first else { break }
      var kept: [Value] = []
      for item in items {
        let value = try member(item, attribute, line)
        var passes = value.isTrue
        if called.positions.count > 1, case .text(let test) = called.positions[1] {
          let other = called.positions.count > 2 ? called.positions[2] : nil
          passes = try ChatTemplateRenderer.test(test == "==" ? "eq" : test, value, other, line)
        }
        if passes == (name == "selectattr") { kept.append(item) }
      }
      return .list(kept)
    default: break
    }
    throw fail("the filter '\(name)' is not supported in this form", line)
  }

  /// `value.name(…)`
  func method(
    _ name: String, of value: Value, _ called: Called, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    var first: String?
    if case .text(let text)? = called.positions.first { first = text }
    switch (value, name) {
    case (.text(let text), "strip"): return .text(text.stripped(first))
    case (.text(let text), "lstrip"): return .text(text.stripped(first, right: false))
    case (.text(let text), "rstrip"): return .text(text.stripped(first, left: false))
    case (.text(let text), "startswith"):
      if let first { return .bool(text.utf8.starts(with: first.utf8)) }
    case (.text(let text), "endswith"):
      if let first { return .bool(text.utf8.reversed().starts(with: first.utf8.reversed())) }
    case (.text(let text), "upper"): return .text(text.uppercased())
    case (.text(let text), "lower"): return .text(text.lowercased())
    case (.text(let text), "title"), (.text(let text), "capitalize"):
      guard text.utf8.allSatisfy({ $0 < 0x80 }) else { break }
      return .text(ChatTemplateRenderer.capitalized(text, every: name == "title"))
    case (.text(let text), "split"):
      guard let first, !first.isEmpty, called.positions.count == 1 else { break }
      return .list(ChatTemplateRenderer.parts(text, first).map { .text($0) })
    case (.text(let text), "replace"):
      guard let first, !first.isEmpty, called.positions.count == 2,
        case .text(let other) = called.positions[1]
      else { break }
      return .text(ChatTemplateRenderer.parts(text, first).joined(separator: other))
    case (.map(let members), "items"):
      return .list(members.map { .list([.text($0.key), $0.value]) })
    case (.map(let members), "keys"): return .list(members.map { .text($0.key) })
    case (.map(let members), "values"): return .list(members.map(\.value))
    case (.map(let members), "get"):
      guard let first else { break }
      return members.first { $0.key == first }?.value ?? called.get(1, "default") ?? .none
    default: break
    }
    throw fail("\(value.typeName) has no method '\(name)' of this form here", line)
  }

  private static func capitalized(_ text: String, every: Bool) -> String {
    var result = ""
    var starts = true
    for character in text {
      result += starts ? character.uppercased() : character.lowercased()
      starts = every && !character.isLetter
    }
    return result
  }

  /// The parts of a text between the places where `separator` stands.
  private static func parts(_ text: String, _ separator: String) -> [String] {
    let (bytes, separator) = (Array(text.utf8), Array(separator.utf8))
    var parts: [String] = []
    var start = 0
    var at = 0
    while at + separator.count <= bytes.count {
      if bytes[at...].starts(with: separator) {
        parts.append(String(decoding: bytes[start..<at], as: UTF8.self))
        at += separator.count
        start = at
      } else {
        at += 1
      }
    }
    return parts + [String(decoding: bytes[start...], as: UTF8.self)]
  }
}
