// Renders a chat template: its statements and expressions, within bounds of work and length.
// SPDX-License-Identifier: Apache-2.0

/// One rendering. Throws for whatever it does not do exactly as Jinja does.
struct ChatTemplateRenderer {
  typealias Value = ChatTemplateValue
  typealias Node = ChatTemplateNode

  /// Expressions that one rendering may evaluate, and bytes that it may write.
  static let workLimit = 400_000
  static let textLimit = 1 << 22
  static let callLimit = 16

  /// The innermost is last.
  private var scopes: [[String: Value]]
  private var work = 0
  private var calls = 0
  var output = ""

  init(_ variables: [String: Value]) {
    var globals = variables
    for name in ["raise_exception", "namespace", "range", "dict"] {
      globals[name] = .function(name)
    }
    scopes = [globals, [:]]
  }

  func fail(_ text: String, _ line: Int) -> ChatTemplateError { .unsupported(text, line: line) }

  /// How a list of statements ended.
  private enum End {
    case through, leave, nextRound
  }

  mutating func render(_ nodes: [Node]) throws(ChatTemplateError) -> String {
    _ = try run(nodes)
    return output
  }

  private mutating func run(_ nodes: [Node]) throws(ChatTemplateError) -> End {
    for node in nodes {
      switch node {
      case .text(let text): try write(text, 0)
      case .output(let expression):
        let value = try value(expression)
        guard let text = value.written else {
          throw fail("\(value.typeName) is written", expression.line)
        }
        try write(text, expression.line)
      case .condition(let branches):
        for branch in branches {
          if let condition = branch.condition, try !value(condition).isTrue { continue }
          let end = try run(branch.body)
          if end != .through { return end }
          break
        }
      case .loop(let loop): try run(loop)
      case .set(let name, let member, let expression):
        let value = try value(expression)
        if let member {
          guard case .namespace(let namespace) = lookUp(name) else {
            throw fail("\(name) is no namespace", expression.line)
          }
          namespace.members[member] = value
        } else {
          scopes[scopes.count - 1][name] = value
        }
      case .capture(let name, let body):
        scopes[scopes.count - 1][name] = .text(try captured(body))
      case .macro(let macro): scopes[scopes.count - 1][macro.name] = .macro(macro)
      case .leave: return .leave
      case .nextRound: return .nextRound
      }
    }
    return .through
  }

  private mutating func write(_ text: String, _ line: Int) throws(ChatTemplateError) {
    output += text
    guard output.utf8.count <= ChatTemplateRenderer.textLimit else {
      throw fail("the text grows without end", line)
    }
  }

  private mutating func captured(_ body: [Node]) throws(ChatTemplateError) -> String {
    let before = output
    output = ""
    defer { output = before }
    scopes.append([:])
    defer { scopes.removeLast() }
    _ = try run(body)
    return output
  }

  private mutating func run(_ loop: Node.Loop) throws(ChatTemplateError) {
    var items = try self.items(value(loop.items), loop.items.line)
    if let filter = loop.filter {
      var kept: [Value] = []
      for item in items {
        scopes.append(try bound(loop.names, item, loop.items.line))
        defer { scopes.removeLast() }
        if try value(filter).isTrue { kept.append(item) }
      }
      items = kept
    }
    guard !items.isEmpty else {
      scopes.append([:])
      defer { scopes.removeLast() }
      _ = try run(loop.otherwise)
      return
    }
    for index in items.indices {
      var scope = try bound(loop.names, items[index], loop.items.line)
      var state: [(key: String, value: Value)] = [
        ("index", .integer(index + 1)), ("index0", .integer(index)), ("first", .bool(index == 0)),
        ("last", .bool(index == items.count - 1)), ("length", .integer(items.count)),
        ("revindex", .integer(items.count - index)),
        ("revindex0", .integer(items.count - index - 1)),
      ]
      if index > 0 { state.append(("previtem", items[index - 1])) }
      if index + 1 < items.count { state.append(("nextitem", items[index + 1])) }
      scope["loop"] = .map(state)
      scopes.append(scope)
      defer { scopes.removeLast() }
      if try run(loop.body) == .leave { return }
    }
  }

  /// The names of a loop with what an item gives them.
  private func bound(
    _ names: [String], _ item: Value, _ line: Int
  ) throws(ChatTemplateError) -> [String: Value] {
    guard names.count > 1 else { return [names[0]: item] }
    guard case .list(let parts) = item, parts.count == names.count else {
      throw fail("a loop over \(names.count) names meets another number of values", line)
    }
    return Dictionary(
      uniqueKeysWithValues: zip(Set(names).count == names.count ? names : [], parts))
  }

  /// What a loop goes through.
  func items(_ value: Value, _ line: Int) throws(ChatTemplateError) -> [Value] {
    switch value {
    case .list(let items): return items
    case .map(let members): return members.map { .text($0.key) }
    case .text(let text): return text.unicodeScalars.map { .text(String($0)) }
    case .undefined: return []
    default: throw fail("a loop over \(value.typeName)", line)
    }
  }

  private func lookUp(_ name: String) -> Value {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    return .undefined(name)
  }

  // MARK: - Expressions

  mutating func value(_ expression: Node.Expression) throws(ChatTemplateError) -> Value {
    work += 1
    let line = expression.line
    guard work <= ChatTemplateRenderer.workLimit else { throw fail("the work has no end", line) }
    switch expression.kind {
    case .value(let value): return value
    case .name(let name): return lookUp(name)
    case .list(let items):
      var values: [Value] = []
      for item in items { values.append(try value(item)) }
      return .list(values)
    case .map(let members):
      var values: [(key: String, value: Value)] = []
      for member in members {
        guard case .text(let key) = try value(member.key) else {
          throw fail("a key is no text", line)
        }
        values.removeAll { $0.key == key }
        values.append((key, try value(member.value)))
      }
      return .map(values)
    case .member(let base, let key): return try member(value(base), value(key), line)
    case .slice(let base, let from, let to, let step):
      return try sliced(value(base), optional(from), optional(to), optional(step), line)
    case .call(let callee, let arguments): return try call(callee, arguments, line)
    case .filter(let base, let name, let arguments):
      let base = try value(base)
      return try filter(name, base, self.arguments(arguments), line)
    case .test(let base, let name, let argument, let isNegated):
      let base = try value(base)
      let other = try argument.map { argument throws(ChatTemplateError) in try value(argument) }
      return .bool(try ChatTemplateRenderer.test(name, base, other, line) != isNegated)
    case .not(let base): return .bool(try !value(base).isTrue)
    case .minus(let base):
      guard let number = try value(base).number else { throw fail("'-' before no number", line) }
      return .integer(0 &- number)
    case .and(let left, let right):
      let first = try value(left)
      return first.isTrue ? try value(right) : first
    case .or(let left, let right):
      let first = try value(left)
      return first.isTrue ? first : try value(right)
    case .binary(let sign, let left, let right):
      return try binary(sign, value(left), value(right), line)
    case .choice(let then, let condition, let otherwise):
      if try value(condition).isTrue { return try value(then) }
      guard let otherwise else { return .undefined("if without else") }
      return try value(otherwise)
    }
  }

  private mutating func optional(
    _ expression: Node.Expression?
  ) throws(ChatTemplateError) -> Int? {
    guard let expression else { return nil }
    let bound = try value(expression)
    if case .none = bound { return nil }
    guard let number = bound.number else { throw fail("a slice by no number", expression.line) }
    return number
  }

  /// Arguments with their values.
  struct Called {
    var positions: [Value] = []
    var names: [String: Value] = [:]

    /// The argument of that place or name.
    func get(_ index: Int, _ name: String) -> Value? {
      index < positions.count ? positions[index] : names[name]
    }
  }

  private mutating func arguments(
    _ given: Node.Arguments
  ) throws(ChatTemplateError) -> Called {
    var called = Called()
    for argument in given.positions { called.positions.append(try value(argument)) }
    for argument in given.names { called.names[argument.name] = try value(argument.value) }
    return called
  }

  private mutating func call(
    _ callee: Node.Expression, _ given: Node.Arguments, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    // A method of a value.
    if case .member(let base, let key) = callee.kind,
      case .value(.text(let name)) = key.kind
    {
      let base = try value(base)
      if case .namespace = base {
      } else {
        return try method(name, of: base, arguments(given), line)
      }
    }
    let function = try value(callee)
    let called = try arguments(given)
    switch function {
    case .macro(let macro): return try run(macro, called, line)
    case .function(let name): return try globalFunction(name, called, line)
    default: throw fail("\(function.typeName) is called", line)
    }
  }

  private mutating func run(
    _ macro: Value.Macro, _ called: Called, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    calls += 1
    defer { calls -= 1 }
    guard calls <= ChatTemplateRenderer.callLimit else {
      throw fail("macros call each other too deeply", line)
    }
    guard called.positions.count <= macro.parameters.count else {
      throw fail("\(macro.name) is called with too many arguments", line)
    }
    var scope: [String: Value] = [:]
    for (index, parameter) in macro.parameters.enumerated() {
      if let given = called.get(index, parameter.name) {
        scope[parameter.name] = given
      } else if let standard = parameter.standard {
        scope[parameter.name] = try value(standard)
      } else {
        scope[parameter.name] = .undefined(parameter.name)
      }
    }
    // A macro sees the globals and its arguments, and what was set outside of loops.
    let outer = scopes
    scopes = Array(scopes.prefix(2)) + [scope]
    defer { scopes = outer }
    return .text(try captured(macro.body))
  }

  private func globalFunction(
    _ name: String, _ called: Called, _ line: Int
  ) throws(ChatTemplateError) -> Value {
    switch name {
    case "raise_exception": throw .raised(called.positions.first?.written ?? "")
    case "namespace": return .namespace(.init(called.names))
    case "dict": return .map(called.names.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    default:  // range
      let bounds = called.positions.compactMap(\.number)
      guard bounds.count == called.positions.count, (1...3).contains(bounds.count) else {
        throw fail("range() without numbers", line)
      }
      let from = bounds.count > 1 ? bounds[0] : 0
      let to = bounds.count > 1 ? bounds[1] : bounds[0]
      let step = bounds.count > 2 ? bounds[2] : 1
      guard step != 0, abs(from) < 1 << 20, abs(to) < 1 << 20, abs(to - from) <= 100_000 else {
        throw fail("range() over too many numbers", line)
      }
      return .list(stride(from: from, to: to, by: step).map { .integer($0) })
    }
  }
}
