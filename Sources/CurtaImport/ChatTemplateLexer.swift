// Cuts a chat template into text, tags and their words, with the white space rules of transformers.
// SPDX-License-Identifier: Apache-2.0

/// A word of an expression or statement.
enum ChatTemplateWord: Equatable {
  case name(String)
  case text(String)
  case integer(Int)
  case sign(String)
}

/// A piece of a template.
struct ChatTemplatePiece {
  enum Kind {
    case text(String)
    /// `{{ … }}`
    case output([ChatTemplateWord])
    /// `{% … %}`
    case statement([ChatTemplateWord])
  }
  var kind: Kind
  let line: Int
}

/// Jinja's lexer with `trim_blocks`, `lstrip_blocks` and no newline at the end.
struct ChatTemplateLexer {
  private let source: [Unicode.Scalar]
  private var at = 0
  private var line = 1
  private var pieces: [ChatTemplatePiece] = []

  /// Scalars of a template at most.
  static let limit = 1 << 20

  static func pieces(_ text: String) throws(ChatTemplateError) -> [ChatTemplatePiece] {
    var scalars: [Unicode.Scalar] = []
    for scalar in text.unicodeScalars {
      // Jinja reads all line ends as one.
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    for i in scalars.indices where scalars[i] == "\r" { scalars[i] = "\n" }
    if scalars.last == "\n" { scalars.removeLast() }
    guard scalars.count <= limit else {
      throw .unsupported("the template has more than \(limit) characters", line: 1)
    }
    var lexer = ChatTemplateLexer(source: scalars)
    try lexer.run()
    return lexer.pieces
  }

  private init(source: [Unicode.Scalar]) { self.source = source }

  private func fail(_ text: String) -> ChatTemplateError { .unsupported(text, line: line) }

  private func stands(_ text: String, at index: Int) -> Bool {
    source[index...].starts(with: text.unicodeScalars)
  }

  private mutating func run() throws(ChatTemplateError) {
    var text: [Unicode.Scalar] = []
    var trimsNewline = false
    var stripsLeft = false
    while at < source.count {
      guard source[at] == "{", at + 1 < source.count, "{%#".unicodeScalars.contains(source[at + 1])
      else {
        text.append(source[at])
        at += 1
        continue
      }
      let kind = source[at + 1]
      at += 2
      var strips = false
      var keeps = false
      if at < source.count, source[at] == "-" {
        strips = true
        at += 1
      } else if at < source.count, source[at] == "+" {
        keeps = true
        at += 1
      }
      let startsLine = pieces.isEmpty
      append(
        text, trimsNewline: trimsNewline, stripsLeft: stripsLeft, stripsRight: strips,
        stripsIndent: kind != "{" && !keeps, startsLine: startsLine)
      text = []
      trimsNewline = kind != "{"
      stripsLeft = try tag(kind, keepsNewline: &trimsNewline)
    }
    append(
      text, trimsNewline: trimsNewline, stripsLeft: stripsLeft, stripsRight: false,
      stripsIndent: false, startsLine: pieces.isEmpty)
  }

  /// Adds text between tags, without the white space that the tags around it remove.
  private mutating func append(
    _ text: [Unicode.Scalar], trimsNewline: Bool, stripsLeft: Bool, stripsRight: Bool,
    stripsIndent: Bool, startsLine: Bool
  ) {
    var rest = text[...]
    let lineBefore = line
    line += text.count { $0 == "\n" }
    if stripsRight {
      while let last = rest.last, last.properties.isWhitespace { rest.removeLast() }
    } else if stripsIndent {
      // Blanks from the beginning of the line to the tag.
      let blanks = rest.reversed().prefix { $0 == " " || $0 == "\t" }.count
      let before = rest.dropLast(blanks)
      if before.last == "\n" || (before.isEmpty && startsLine) { rest = before }
    }
    if stripsLeft {
      rest = rest.drop { $0.properties.isWhitespace }
    } else if trimsNewline, rest.first == "\n" {
      rest.removeFirst()
    }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: rest)
    pieces.append(.init(kind: .text(String(view)), line: lineBefore))
  }

  /// Reads to the end of a tag; gives whether it strips what follows.
  private mutating func tag(
    _ kind: Unicode.Scalar, keepsNewline trims: inout Bool
  ) throws(ChatTemplateError) -> Bool {
    let start = line
    if kind == "#" {
      while at < source.count, !stands("#}", at: at) {
        if source[at] == "\n" { line += 1 }
        at += 1
      }
      guard at < source.count else { throw fail("a comment does not end") }
      let strips = source[at - 1] == "-"
      at += 2
      return strips
    }
    let end = kind == "{" ? "}}" : "%}"
    var words: [ChatTemplateWord] = []
    var open: [Unicode.Scalar] = []
    while true {
      guard at < source.count else { throw .unsupported("a tag does not end", line: start) }
      let next = source[at]
      if next.properties.isWhitespace {
        if next == "\n" { line += 1 }
        at += 1
        continue
      }
      if open.isEmpty {
        var strips = false
        var found = stands(end, at: at)
        if !found, next == "-" || next == "+", stands(end, at: at + 1) {
          found = true
          strips = next == "-"
          if next == "+" { trims = false }
          at += 1
        }
        if found {
          at += 2
          pieces.append(.init(kind: kind == "{" ? .output(words) : .statement(words), line: start))
          return strips
        }
      }
      let word = try word()
      words.append(word)
      switch word {
      case .sign("("), .sign("["), .sign("{"): open.append(next)
      case .sign(")"), .sign("]"), .sign("}"): _ = open.popLast()
      default: break
      }
    }
  }

  private static let signs = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[",
    "]", "{", "}", ",", ".", ":", "|",
  ]

  private mutating func word() throws(ChatTemplateError) -> ChatTemplateWord {
    let first = source[at]
    if first == "'" || first == "\"" { return .text(try quoted(first)) }
    func run(_ matches: (Unicode.Scalar) -> Bool) -> String {
      var text = String.UnicodeScalarView()
      while at < source.count, matches(source[at]) {
        text.append(source[at])
        at += 1
      }
      return String(text)
    }
    if ("0"..."9").contains(first) {
      let digits = run { ("0"..."9").contains($0) || $0 == "_" }
      guard let value = Int(digits.filter { $0 != "_" }),
        !(at + 1 < source.count && source[at] == "." && ("0"..."9").contains(source[at + 1]))
      else { throw fail("the number \(digits)… is not a 64-bit integer") }
      return .integer(value)
    }
    if first == "_" || first.properties.isAlphabetic {
      return .name(run { $0 == "_" || $0.properties.isAlphabetic || ("0"..."9").contains($0) })
    }
    for sign in ChatTemplateLexer.signs where stands(sign, at: at) {
      at += sign.unicodeScalars.count
      return .sign(sign)
    }
    throw fail("'\(first)' is not part of an expression")
  }

  /// A text in quotes, with Python's escapes.
  private mutating func quoted(_ quote: Unicode.Scalar) throws(ChatTemplateError) -> String {
    var text = String.UnicodeScalarView()
    at += 1
    while at < source.count, source[at] != quote {
      var scalar = source[at]
      if scalar == "\n" { line += 1 }
      at += 1
      if scalar == "\\" {
        guard at < source.count else { break }
        scalar = source[at]
        at += 1
        switch scalar {
        case "n": scalar = "\n"
        case "t": scalar = "\t"
        case "r": scalar = "\r"
        case "\\", "'", "\"": break
        case "x": scalar = try escape(2)
        case "u": scalar = try escape(4)
        case "U": scalar = try escape(8)
        case "\n": continue
        default: text.append("\\")
        }
      }
      text.append(scalar)
    }
    guard at < source.count else { throw fail("a text in quotes does not end") }
    at += 1
    return String(text)
  }

  private mutating func escape(_ count: Int) throws(ChatTemplateError) -> Unicode.Scalar {
    let digits = source[at..<min(at + count, source.count)]
    at += digits.count
    guard digits.count == count,
      let value = UInt32(String(String.UnicodeScalarView(digits)), radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw fail("an escape in a text is malformed") }
    return scalar
  }
}
