// Values of a chat template, as Jinja has them.
// SPDX-License-Identifier: Apache-2.0

/// Why a template gives no text.
enum ChatTemplateError: Error, Equatable {
  /// Something that this interpreter does not do, or that is wrong; with its line.
  case unsupported(String, line: Int)
  /// The template itself said so, by `raise_exception`.
  case raised(String)
}

/// A value while a template is rendered.
indirect enum ChatTemplateValue {
  /// The name has no value; the text says which.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case text(String)
  case list([ChatTemplateValue])
  /// In order of insertion; keys are texts.
  case map([(key: String, value: ChatTemplateValue)])
  case namespace(Namespace)
  case macro(Macro)
  /// A function of the environment.
  case function(String)

  /// What `namespace()` makes: the one thing whose members can be changed.
  final class Namespace {
    var members: [String: ChatTemplateValue]
    init(_ members: [String: ChatTemplateValue]) { self.members = members }
  }

  /// What `{% macro %}` makes.
  final class Macro {
    let name: String
    let parameters: [(name: String, standard: ChatTemplateNode.Expression?)]
    let body: [ChatTemplateNode]
    init(
      name: String, parameters: [(name: String, standard: ChatTemplateNode.Expression?)],
      body: [ChatTemplateNode]
    ) {
      self.name = name
      self.parameters = parameters
      self.body = body
    }
  }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .text(let value): !value.isEmpty
    case .list(let values): !values.isEmpty
    case .map(let members): !members.isEmpty
    case .namespace, .macro, .function: true
    }
  }

  /// The text that `{{ }}` writes; nil where Python's would not be of use in a prompt.
  var written: String? {
    switch self {
    case .undefined: ""
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .text(let value): value
    case .list, .map, .namespace, .macro, .function: nil
    }
  }

  var typeName: String {
    switch self {
    case .undefined(let name): "undefined (\(name))"
    case .none: "none"
    case .bool: "a boolean"
    case .integer: "a number"
    case .text: "a text"
    case .list: "a list"
    case .map: "a mapping"
    case .namespace: "a namespace"
    case .macro, .function: "a function"
    }
  }

  /// Equality as Python has it: True is 1.
  static func equal(_ a: Self, _ b: Self) -> Bool {
    switch (a, b) {
    case (.undefined, .undefined), (.none, .none): true
    case (.text(let x), .text(let y)): x.utf8.elementsEqual(y.utf8)
    case (.list(let x), .list(let y)): x.count == y.count && zip(x, y).allSatisfy(equal)
    case (.map(let x), .map(let y)):
      x.count == y.count
        && x.allSatisfy { member in
          y.contains { $0.key == member.key && equal($0.value, member.value) }
        }
    case (.namespace(let x), .namespace(let y)): x === y
    default: if let x = a.number, let y = b.number { x == y } else { false }
    }
  }

  /// A number, or 0 and 1 for booleans.
  var number: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  /// As JSON, with a space after commas and colons, as Python's json.dumps does.
  var json: String? {
    switch self {
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return "\(value)"
    case .text(let value): return ChatTemplateValue.quoted(value)
    case .list(let values):
      let parts = values.map(\.json)
      guard !parts.contains(nil) else { return nil }
      return "[" + parts.compactMap(\.self).joined(separator: ", ") + "]"
    case .map(let members):
      let parts = members.map { member in
        member.value.json.map { ChatTemplateValue.quoted(member.key) + ": " + $0 }
      }
      guard !parts.contains(nil) else { return nil }
      return "{" + parts.compactMap(\.self).joined(separator: ", ") + "}"
    case .undefined, .namespace, .macro, .function: return nil
    }
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "\u{0}"..<"\u{20}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

extension String {
  /// Without white space, or without the scalars of `others`, at its ends.
  func stripped(_ others: String? = nil, left: Bool = true, right: Bool = true) -> String {
    let set = others.map { Set($0.unicodeScalars) }
    func drops(_ scalar: Unicode.Scalar) -> Bool {
      set?.contains(scalar) ?? scalar.properties.isWhitespace
    }
    var rest = unicodeScalars[...]
    if left { rest = rest.drop(while: drops) }
    if right { while let last = rest.last, drops(last) { rest.removeLast() } }
    return String(String.UnicodeScalarView(rest))
  }
}
