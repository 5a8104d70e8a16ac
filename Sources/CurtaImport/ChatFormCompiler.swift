// From a chat template to its data form: rendered with sentinels, taken apart, and then verified.
// SPDX-License-Identifier: Apache-2.0

/// What became of a chat template.
public struct ChatFormOutcome: Equatable, Sendable {
  public var form: ChatForm?
  /// For people: why there is no form, or what it leaves out.
  public var note: String?
  /// Paths of the files that it came from, besides those of weights and tokenizer.
  public var files: [String] = []

  public init(form: ChatForm? = nil, note: String? = nil) {
    self.form = form
    self.note = note
  }
}

struct ChatFormCompiler {
  /// Why a template has no form.
  private struct Reason: Error {
    let text: String
    init(_ text: String) { self.text = text }
  }

  private let template: ChatTemplate

  /// Compiles the template `text`, which may name `tokens`.
  static func compile(_ text: String, tokens: [String: String]) -> ChatFormOutcome {
    do throws(ChatTemplateError) {
      let template = try ChatTemplate(text, tokens: tokens)
      return ChatFormCompiler(template: template).outcome()
    } catch {
      return ChatFormOutcome(form: nil, note: "the template cannot be read: \(describe(error))")
    }
  }

  private static func describe(_ error: ChatTemplateError) -> String {
    switch error {
    case .unsupported(let text, let line): "line \(line): \(text)"
    case .raised(let text): "it raises \"\(printableName(text, limit: 120))\""
    }
  }

  private func outcome() -> ChatFormOutcome {
    do throws(Reason) {
      var form = try turns()
      guard agrees(form, system: nil) else {
        throw Reason("texts around turns change as a conversation grows")
      }
      var note: String?
      switch withSystem(form) {
      case .success(let better): form = better
      case .failure(let reason): note = "a chat takes no system message: \(reason.text)"
      }
      try checkLimits(form)
      return ChatFormOutcome(form: form, note: note)
    } catch {
      return ChatFormOutcome(form: nil, note: error.text)
    }
  }

  /// What the metadata of a file can hold.
  private func checkLimits(_ form: ChatForm) throws(Reason) {
    for (key, text) in form.textEntries {
      guard text.utf8.count <= 16_384 else { throw Reason("\(key) is longer than 16 384 bytes") }
      guard !text.utf8.contains(0) else { throw Reason("\(key) holds a NUL") }
    }
  }

  // MARK: - Rendering with sentinels

  private static let user = "QzUserOne7Qz"
  private static let answer = "QzAnswer8Qz"
  private static let second = "QzUserTwo9Qz"
  private static let system = "QzSystem6Qz"

  private func rendered(_ messages: [ChatMessage], generation: Bool = true) throws(Reason) -> String
  {
    do throws(ChatTemplateError) {
      return try template.render(messages, addGenerationPrompt: generation)
    } catch {
      throw Reason(ChatFormCompiler.describe(error))
    }
  }

  /// The texts around `sentinels`, each of which must stand once, in order.
  private func around(_ sentinels: [String], _ text: String) -> [String]? {
    var parts: [String] = []
    var rest = text[...]
    for sentinel in sentinels {
      guard let range = rest.firstRange(of: sentinel) else { return nil }
      parts.append(String(rest[..<range.lowerBound]))
      rest = rest[range.upperBound...]
    }
    parts.append(String(rest))
    return parts.contains { part in sentinels.contains { part.contains($0) } } ? nil : parts
  }

  // MARK: - Turns without a system message

  private func turns() throws(Reason) -> ChatForm {
    typealias Compiler = ChatFormCompiler
    let one = [ChatMessage(.user, Compiler.user)]
    let two = one + [ChatMessage(.assistant, Compiler.answer)]
    let three = two + [ChatMessage(.user, Compiler.second)]
    guard let single = around([Compiler.user], try rendered(one)) else {
      throw Reason("what the user says is not written once and as it is")
    }
    guard
      let several = around(
        [Compiler.user, Compiler.answer, Compiler.second], try rendered(three))
    else { throw Reason("a turn is not written once and as it is") }
    guard several[0] == single[0], several[3] == single[1] else {
      throw Reason("the texts around the first turn change when others follow")
    }
    let (before, asked, between) = (Pieces(single[0]), Pieces(several[1]), Pieces(several[2]))
    let asks = Pieces(single[1])

    // Where nobody is asked to speak, fewer texts follow; some templates add an end of text.
    let bare = (try? rendered(one, generation: false)).flatMap { around([Compiler.user], $0) }
    let done = (try? rendered(two, generation: false))
      .flatMap { around([Compiler.user, Compiler.answer], $0) }

    var form = ChatForm()
    let suffix = asked.commonPrefix(asks)
    let closing = bare.map { Pieces($0[1]).commonPrefix(asks) } ?? suffix
    let userSuffix = asks.split(least: 0, most: min(suffix, closing))
    form.userSuffix = asks.text(..<userSuffix)
    form.generation = asks.text(userSuffix...)
    form.assistantPrefix = asked.text(userSuffix...)

    let shared = between.commonSuffix(before)
    let least = between.count - shared
    let most = done.map { Pieces($0[2]).commonPrefix(between) } ?? least
    let end = between.split(least: min(least, most), most: most)
    form.assistantSuffix = between.text(..<end)
    form.userPrefix = between.text(end...)
    guard single[0].utf8.reversed().starts(with: form.userPrefix.utf8.reversed()) else {
      throw Reason("the text before a turn changes as a conversation grows")
    }
    form.begin = String(single[0].unicodeScalars.dropLast(form.userPrefix.unicodeScalars.count))
    form.stop = Pieces(form.assistantSuffix).firstMarker ?? form.assistantSuffix.stripped()
    if form.stop.isEmpty { form.stop = form.userPrefix.stripped() }
    form.trims = trims(form)
    return form
  }

  /// Which contents lose white space at their ends.
  private func trims(_ form: ChatForm) -> UInt64 {
    let spaced = " \n a word \n"
    var trims: UInt64 = 0
    var form = form
    form.trims = 0
    func differs(_ messages: [ChatMessage], _ role: ChatMessage.Role) {
      guard let text = try? rendered(messages) else { return }
      var other = form
      other.trims |= ChatForm.bit(role)
      if form.render(messages) != text, other.render(messages) == text {
        trims |= ChatForm.bit(role)
      }
    }
    differs([ChatMessage(.user, spaced)], .user)
    differs(
      [ChatMessage(.user, "a"), ChatMessage(.assistant, spaced), ChatMessage(.user, "b")],
      .assistant)
    differs([ChatMessage(.system, spaced), ChatMessage(.user, "a")], .system)
    return trims
  }

  // MARK: - System message

  private func withSystem(_ form: ChatForm) -> Result<ChatForm, Reason> {
    do throws(Reason) {
      let text = try rendered([
        ChatMessage(.system, ChatFormCompiler.system), ChatMessage(.user, ChatFormCompiler.user),
      ])
      guard let parts = around([ChatFormCompiler.system, ChatFormCompiler.user], text) else {
        throw Reason("the template does not write it once, before the user's")
      }
      for candidate in candidates(form, before: parts[0], between: parts[1]) {
        var candidate = candidate
        candidate.trims = trims(candidate)
        if agrees(candidate, system: "Be brief."), agrees(candidate, system: nil) {
          return .success(candidate)
        }
      }
      throw Reason("where it stands depends on more than the first turn")
    } catch {
      return .failure(error)
    }
  }

  /// Ways to read the texts around a system message.
  private func candidates(_ form: ChatForm, before: String, between: String) -> [ChatForm] {
    var found: [ChatForm] = []
    if between.hasBytes(atEnd: form.userPrefix) {
      var turn = form
      turn.systemPlace = .turn
      turn.systemSuffix = between.droppingLast(form.userPrefix)
      if before.hasBytes(atStart: form.begin) {
        turn.systemPrefix = before.droppingFirst(form.begin)
        found.append(turn)
      }
      // What stands at the beginning without one is a message of the template's own.
      if form.begin.hasBytes(atStart: before) {
        let rest = form.begin.droppingFirst(before)
        if rest.hasBytes(atEnd: turn.systemSuffix) {
          turn.systemStandard = rest.droppingLast(turn.systemSuffix)
          // The begin token stands by itself unless turns begin with it.
          let token = template.tokens["bos_token"] ?? ""
          let isOwn = !token.isEmpty && !form.userPrefix.hasBytes(atStart: token)
          turn.begin = isOwn && before.hasBytes(atStart: token) ? token : ""
          turn.systemPrefix = before.droppingFirst(turn.begin)
          found.append(turn)
        }
      }
    }
    let start = form.begin + form.userPrefix
    if before.hasBytes(atStart: start) {
      var merged = form
      merged.systemPlace = .firstUser
      merged.systemPrefix = before.droppingFirst(start)
      merged.systemSuffix = between
      found.append(merged)
    }
    return found
  }

  // MARK: - Verification

  /// Texts that people say; none begins or ends with white space.
  private static let said = [
    "Hello there!", "What is 7 * 6?\nAnd 2 + 2?", "caf\u{E9} \u{1F980} \u{4F60}\u{597D}", "a",
    "[x] {y} <z> % # | \"q\" 'r' \\n", "Thanks.  Bye", "1. one\n\n2. two", "</p> {{ no }} {% no %}",
    "Why?", "the end",
  ]

  /// Whether form and template write the same for conversations of one to five turns.
  private func agrees(_ form: ChatForm, system: String?) -> Bool {
    for start in 0..<4 {
      var messages =
        system.map { [ChatMessage(.system, start == 1 ? $0 + "\nThen stop." : $0)] } ?? []
      for turn in 0..<5 {
        func say(_ step: Int) -> String {
          ChatFormCompiler.said[(3 * start + 2 * turn + step) % ChatFormCompiler.said.count]
        }
        messages.append(ChatMessage(.user, say(0)))
        guard let text = try? rendered(messages), let own = form.render(messages),
          text.utf8.elementsEqual(own.utf8)
        else { return false }
        messages.append(ChatMessage(.assistant, say(1)))
      }
    }
    return true
  }
}

extension String {
  fileprivate func hasBytes(atStart other: String) -> Bool { utf8.starts(with: other.utf8) }

  fileprivate func hasBytes(atEnd other: String) -> Bool {
    utf8.reversed().starts(with: other.utf8.reversed())
  }

  fileprivate func droppingFirst(_ other: String) -> String {
    String(unicodeScalars.dropFirst(other.unicodeScalars.count))
  }

  fileprivate func droppingLast(_ other: String) -> String {
    String(unicodeScalars.dropLast(other.unicodeScalars.count))
  }
}

/// A text cut into markers such as `<|im_end|>`, `</s>` and `[INST]`, and single characters: texts
/// are compared and divided between these, never inside one.
private struct Pieces {
  private let pieces: [String]

  init(_ text: String) {
    let scalars = Array(text.unicodeScalars)
    var pieces: [String] = []
    var at = 0
    while at < scalars.count {
      let size = Pieces.marker(scalars[at...]) ?? 1
      var view = String.UnicodeScalarView()
      view.append(contentsOf: scalars[at..<at + size])
      pieces.append(String(view))
      at += size
    }
    self.pieces = pieces
  }

  /// The length of the marker that a text begins with.
  private static func marker(_ text: ArraySlice<Unicode.Scalar>) -> Int? {
    let end: Unicode.Scalar
    switch text.first {
    case "<": end = ">"
    case "[": end = "]"
    default: return nil
    }
    let inside = text.dropFirst().prefix(40).prefix {
      $0 != end && $0 != "<" && $0 != "[" && !$0.properties.isWhitespace
    }
    let last = inside.endIndex
    guard !inside.isEmpty, last < text.endIndex, text[last] == end else { return nil }
    return inside.count + 2
  }

  var count: Int { pieces.count }

  func text(_ range: PartialRangeUpTo<Int>) -> String { pieces[range].joined() }
  func text(_ range: PartialRangeFrom<Int>) -> String { pieces[range].joined() }

  func commonPrefix(_ other: Pieces) -> Int {
    zip(pieces, other.pieces).prefix { $0.0 == $0.1 }.count
  }

  func commonSuffix(_ other: Pieces) -> Int {
    zip(pieces.reversed(), other.pieces.reversed()).prefix { $0.0 == $0.1 }.count
  }

  private func isMarker(_ index: Int) -> Bool { pieces[index].unicodeScalars.count > 1 }

  var firstMarker: String? { pieces.indices.first(where: isMarker).map { pieces[$0] } }

  /// Where to divide: before the last marker that may begin the second half, else as late as can be.
  func split(least: Int, most: Int) -> Int {
    if most == count { return most }
    for at in stride(from: most, through: least, by: -1) where isMarker(at) { return at }
    return most
  }
}
