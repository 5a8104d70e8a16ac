// From the words of a chat template to its tree: the part of Jinja that chat templates use.
// SPDX-License-Identifier: Apache-2.0

/// A part of a template's tree.
indirect enum ChatTemplateNode {
  case text(String)
  case output(Expression)
  case condition([(condition: Expression?, body: [ChatTemplateNode])])
  case loop(Loop)
  /// One name; or a name and a member of that namespace.
  case set(String, member: String?, Expression)
  case capture(String, body: [ChatTemplateNode])
  case macro(ChatTemplateValue.Macro)
  case leave
  case nextRound

  struct Loop {
    let names: [String]
    let items: Expression
    let filter: Expression?
    let body: [ChatTemplateNode]
    let otherwise: [ChatTemplateNode]
  }

  struct Expression {
    let kind: Kind
    let line: Int

    indirect enum Kind {
      case value(ChatTemplateValue)
      case name(String)
      case list([Expression])
      case map([(key: Expression, value: Expression)])
      case member(Expression, Expression)
      case slice(Expression, Expression?, Expression?, Expression?)
      case call(Expression, Arguments)
      case filter(Expression, String, Arguments)
      case test(Expression, String, Expression?, isNegated: Bool)
      case not(Expression)
      case minus(Expression)
      case and(Expression, Expression)
      case or(Expression, Expression)
      case binary(String, Expression, Expression)
      case choice(Expression, condition: Expression, otherwise: Expression?)
    }
  }

  struct Arguments {
    var positions: [Expression] = []
    var names: [(name: String, value: Expression)] = []
  }
}

struct ChatTemplateParser {
  typealias Expression = ChatTemplateNode.Expression
  private let pieces: [ChatTemplatePiece]
  private var next = 0
  /// Nested deeper, a template is refused.
  private var depth = 0
  private static let depthLimit = 48

  static func parse(_ text: String) throws(ChatTemplateError) -> [ChatTemplateNode] {
    var parser = ChatTemplateParser(pieces: try ChatTemplateLexer.pieces(text))
    let (nodes, end) = try parser.body(until: [])
    guard end == nil else { throw .unsupported("an end without a beginning", line: 1) }
    return nodes
  }

  private init(pieces: [ChatTemplatePiece]) { self.pieces = pieces }

  /// Nodes up to a statement that begins with one of `ends`, and that statement.
  private mutating func body(
    until ends: [String]
  ) throws(ChatTemplateError) -> ([ChatTemplateNode], ExpressionParser?) {
    depth += 1
    defer { depth -= 1 }
    var nodes: [ChatTemplateNode] = []
    while next < pieces.count {
      let piece = pieces[next]
      next += 1
      guard depth <= ChatTemplateParser.depthLimit else {
        throw .unsupported("statements are nested too deeply", line: piece.line)
      }
      switch piece.kind {
      case .text(let text):
        if !text.isEmpty { nodes.append(.text(text)) }
      case .output(let words):
        var parser = ExpressionParser(words, line: piece.line)
        nodes.append(.output(try parser.expression()))
        try parser.finish()
      case .statement(let words):
        var parser = ExpressionParser(words, line: piece.line)
        let name = try parser.name()
        if ends.contains(name) {
          parser.keyword = name
          return (nodes, parser)
        }
        if let node = try statement(name, &parser) { nodes.append(node) }
      }
    }
    guard ends.isEmpty else {
      throw .unsupported("{% \(ends.last ?? "") %} is missing", line: pieces.last?.line ?? 1)
    }
    return (nodes, nil)
  }

  private mutating func statement(
    _ name: String, _ parser: inout ExpressionParser
  ) throws(ChatTemplateError) -> ChatTemplateNode? {
    switch name {
    case "if": return try condition(&parser)
    case "for": return try loop(&parser)
    case "set": return try set(&parser)
    case "macro": return try macro(&parser)
    case "break", "continue":
      try parser.finish()
      return name == "break" ? .leave : .nextRound
    // Marks of transformers around what the assistant says; they write nothing.
    case "generation", "endgeneration":
      try parser.finish()
      return nil
    default: throw parser.fail("{% \(name) %} is not supported")
    }
  }

  private mutating func condition(
    _ parser: inout ExpressionParser
  ) throws(ChatTemplateError) -> ChatTemplateNode {
    var branches: [(condition: Expression?, body: [ChatTemplateNode])] = []
    var test: Expression? = try parser.expression()
    try parser.finish()
    while true {
      let ends = test == nil ? ["endif"] : ["elif", "else", "endif"]
      var (nodes, end) = try body(until: ends)
      branches.append((test, nodes))
      let keyword = end?.keyword ?? "endif"
      test = keyword == "elif" ? try end?.expression() : nil
      try end?.finish()
      if keyword == "endif" { return .condition(branches) }
    }
  }

  private mutating func loop(
    _ parser: inout ExpressionParser
  ) throws(ChatTemplateError) -> ChatTemplateNode {
    var names = [try parser.name()]
    while parser.take(",") { names.append(try parser.name()) }
    guard parser.takeName("in") else { throw parser.fail("{% for %} without in") }
    let items = try parser.orExpression()
    var filter: Expression?
    if parser.takeName("if") { filter = try parser.expression() }
    try parser.finish()
    let (nodes, end) = try body(until: ["else", "endfor"])
    var otherwise: [ChatTemplateNode] = []
    if end?.keyword == "else" { (otherwise, _) = try body(until: ["endfor"]) }
    return .loop(
      .init(names: names, items: items, filter: filter, body: nodes, otherwise: otherwise))
  }

  private mutating func set(
    _ parser: inout ExpressionParser
  ) throws(ChatTemplateError) -> ChatTemplateNode {
    let name = try parser.name()
    let member = parser.take(".") ? try parser.name() : nil
    if parser.take("=") {
      let value = try parser.expression()
      try parser.finish()
      return .set(name, member: member, value)
    }
    guard member == nil else { throw parser.fail("{% set %} without =") }
    try parser.finish()
    let (nodes, _) = try body(until: ["endset"])
    return .capture(name, body: nodes)
  }

  private mutating func macro(
    _ parser: inout ExpressionParser
  ) throws(ChatTemplateError) -> ChatTemplateNode {
    let name = try parser.name()
    guard parser.take("(") else { throw parser.fail("{% macro %} without parameters") }
    var parameters: [(name: String, standard: Expression?)] = []
    while !parser.take(")") {
      let parameter = try parser.name()
      parameters.append((parameter, parser.take("=") ? try parser.expression() : nil))
      guard parser.take(",") || parser.stands(")") else { throw parser.fail("a comma is missing") }
    }
    try parser.finish()
    let (nodes, _) = try body(until: ["endmacro"])
    return .macro(.init(name: name, parameters: parameters, body: nodes))
  }
}
