// Expressions of a chat template, with Jinja's precedence.
// SPDX-License-Identifier: Apache-2.0

extension ChatTemplateParser {
  /// Reads expressions from the words of one tag.
  struct ExpressionParser {
    private let words: [ChatTemplateWord]
    private let line: Int
    private var at = 0
    private var depth = 0
    /// Nodes made: a chain of operators is as deep as it is long.
    private var size = 0
    /// The word that this statement began with.
    var keyword = ""

    init(_ words: [ChatTemplateWord], line: Int) {
      self.words = words
      self.line = line
    }

    func fail(_ text: String) -> ChatTemplateError { .unsupported(text, line: line) }

    private mutating func make(_ kind: Expression.Kind) -> Expression {
      size += 1
      return .init(kind: kind, line: line)
    }

    /// The next word; nothing comes after too large an expression, which is then refused.
    private var next: ChatTemplateWord? {
      at < words.count && size <= ChatTemplateParser.expressionSizeLimit ? words[at] : nil
    }

    func stands(_ sign: String) -> Bool { next == .sign(sign) }

    mutating func take(_ sign: String) -> Bool {
      guard stands(sign) else { return false }
      at += 1
      return true
    }

    mutating func takeName(_ name: String) -> Bool {
      guard next == .name(name) else { return false }
      at += 1
      return true
    }

    private mutating func expect(_ sign: String) throws(ChatTemplateError) {
      guard take(sign) else { throw fail("'\(sign)' is missing") }
    }

    mutating func name() throws(ChatTemplateError) -> String {
      guard case .name(let name)? = next else { throw fail("a name is missing") }
      at += 1
      return name
    }

    func finish() throws(ChatTemplateError) {
      guard at == words.count else { throw fail("a tag has words behind its end") }
    }

    mutating func expression() throws(ChatTemplateError) -> Expression {
      depth += 1
      defer { depth -= 1 }
      guard depth <= ChatTemplateParser.expressionDepthLimit else {
        throw fail("an expression is nested too deeply")
      }
      var value = try orExpression()
      while takeName("if") {
        let condition = try orExpression()
        let otherwise = takeName("else") ? try expression() : nil
        value = make(.choice(value, condition: condition, otherwise: otherwise))
      }
      return value
    }

    mutating func orExpression() throws(ChatTemplateError) -> Expression {
      var left = try andExpression()
      while takeName("or") { left = make(.or(left, try andExpression())) }
      return left
    }

    private mutating func andExpression() throws(ChatTemplateError) -> Expression {
      var left = try notExpression()
      while takeName("and") { left = make(.and(left, try notExpression())) }
      return left
    }

    private mutating func notExpression() throws(ChatTemplateError) -> Expression {
      guard takeName("not") else { return try comparison() }
      depth += 1
      defer { depth -= 1 }
      guard depth <= ChatTemplateParser.expressionDepthLimit else {
        throw fail("an expression is nested too deeply")
      }
      return make(.not(try notExpression()))
    }

    private mutating func comparison() throws(ChatTemplateError) -> Expression {
      let left = try sum()
      var result: Expression?
      var previous = left
      while true {
        var sign: String?
        for candidate in ["==", "!=", "<=", ">=", "<", ">"] where take(candidate) {
          sign = candidate
          break
        }
        if sign == nil, takeName("in") { sign = "in" }
        if sign == nil, next == .name("not"), at + 1 < words.count, words[at + 1] == .name("in") {
          at += 2
          sign = "not in"
        }
        guard let sign else { return result ?? left }
        let right = try sum()
        let one = make(.binary(sign, previous, right))
        result = result.map { make(.and($0, one)) } ?? one
        previous = right
      }
    }

    private mutating func sum() throws(ChatTemplateError) -> Expression {
      var left = try joined()
      while true {
        if take("+") {
          left = make(.binary("+", left, try joined()))
        } else if take("-") {
          left = make(.binary("-", left, try joined()))
        } else {
          return left
        }
      }
    }

    private mutating func joined() throws(ChatTemplateError) -> Expression {
      var left = try product()
      while take("~") { left = make(.binary("~", left, try product())) }
      return left
    }

    private mutating func product() throws(ChatTemplateError) -> Expression {
      var left = try unary()
      while true {
        var sign: String?
        for candidate in ["*", "//", "%"] where take(candidate) {
          sign = candidate
          break
        }
        guard let sign else { break }
        left = make(.binary(sign, left, try unary()))
      }
      if stands("/") || stands("**") { throw fail("'/' and '**' are not supported") }
      return left
    }

    private mutating func unary() throws(ChatTemplateError) -> Expression {
      if take("-") {
        depth += 1
        defer { depth -= 1 }
        guard depth <= ChatTemplateParser.expressionDepthLimit else {
          throw fail("an expression is nested too deeply")
        }
        return make(.minus(try unary()))
      }
      return try filtered(postfix(primary()))
    }

    private mutating func primary() throws(ChatTemplateError) -> Expression {
      guard let word = next else { throw fail("a value is missing") }
      at += 1
      switch word {
      case .integer(let value): return make(.value(.integer(value)))
      case .text(var text):
        // Texts side by side are one.
        while case .text(let more)? = next {
          text += more
          at += 1
        }
        return make(.value(.text(text)))
      case .name(let name):
        switch name {
        case "true", "True": return make(.value(.bool(true)))
        case "false", "False": return make(.value(.bool(false)))
        case "none", "None": return make(.value(.none))
        default: return make(.name(name))
        }
      case .sign("("):
        let value = try expression()
        if stands(",") {
          var items = [value]
          while take(","), !stands(")") { items.append(try expression()) }
          try expect(")")
          return make(.list(items))
        }
        try expect(")")
        return value
      case .sign("["):
        var items: [Expression] = []
        while !take("]") {
          items.append(try expression())
          guard take(",") || stands("]") else { throw fail("']' is missing") }
        }
        return make(.list(items))
      case .sign("{"):
        var members: [(key: Expression, value: Expression)] = []
        while !take("}") {
          let key = try expression()
          try expect(":")
          members.append((key, try expression()))
          guard take(",") || stands("}") else { throw fail("'}' is missing") }
        }
        return make(.map(members))
      case .sign(let sign): throw fail("'\(sign)' stands where a value should")
      }
    }

    private mutating func postfix(_ value: Expression) throws(ChatTemplateError) -> Expression {
      var value = value
      while true {
        if take(".") {
          value = make(.member(value, make(.value(.text(try name())))))
        } else if take("[") {
          value = try item(of: value)
        } else if stands("(") {
          value = make(.call(value, try arguments()))
        } else {
          return value
        }
      }
    }

    private mutating func item(of value: Expression) throws(ChatTemplateError) -> Expression {
      let first = stands(":") ? nil : try expression()
      guard stands(":") else {
        try expect("]")
        guard let first else { throw fail("an index is missing") }
        return make(.member(value, first))
      }
      var parts: [Expression?] = [first]
      while parts.count < 3, take(":") {
        parts.append(stands(":") || stands("]") ? nil : try expression())
      }
      try expect("]")
      return make(.slice(value, parts[0], parts[1], parts.count > 2 ? parts[2] : nil))
    }

    private mutating func arguments() throws(ChatTemplateError) -> ChatTemplateNode.Arguments {
      var arguments = ChatTemplateNode.Arguments()
      try expect("(")
      while !take(")") {
        if case .name(let name)? = next, at + 1 < words.count, words[at + 1] == .sign("=") {
          at += 2
          arguments.names.append((name, try expression()))
        } else {
          arguments.positions.append(try expression())
        }
        guard take(",") || stands(")") else { throw fail("')' is missing") }
      }
      return arguments
    }

    /// Filters and tests.
    private mutating func filtered(_ value: Expression) throws(ChatTemplateError) -> Expression {
      var value = value
      while true {
        if take("|") {
          let name = try name()
          let arguments = stands("(") ? try arguments() : .init()
          value = make(.filter(value, name, arguments))
        } else if takeName("is") {
          let isNegated = takeName("not")
          let name = try name()
          value = make(.test(value, name, try testArgument(), isNegated: isNegated))
        } else {
          return value
        }
      }
    }

    /// What a test compares with: `is divisibleby 2`, `is equalto("x")`.
    private mutating func testArgument() throws(ChatTemplateError) -> Expression? {
      switch next {
      case .sign("("):
        let arguments = try arguments()
        guard arguments.names.isEmpty, arguments.positions.count == 1 else {
          throw fail("a test takes one argument")
        }
        return arguments.positions[0]
      case .text, .integer: return try postfix(primary())
      case .name(let name) where !["and", "or", "not", "else", "if", "is", "in"].contains(name):
        return try postfix(primary())
      default: return nil
      }
    }
  }

  /// Expressions nested deeper, or of more nodes, are refused.
  static let expressionDepthLimit = 48
  static let expressionSizeLimit = 400
}
