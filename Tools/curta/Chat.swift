// A chat: lines of the standard input are turns, answers come as they are made.
// SPDX-License-Identifier: Apache-2.0

import CurtaEvaluate
import CurtaFormat
import CurtaImport
import CurtaRuntime

struct Chat {
  private let session: HostSession
  private let encoder: ChatEncoder
  private let system: String?
  private let prompt: String?
  private let rules: AnswerRules
  private var input = RunInput()
  private var turn = 0
  /// Where nobody sits before it, an error ends the chat.
  private let isInteractive = RunInput.isTerminal

  /// Throws `HostError` where the file has no form of a chat, or no system message and one is given.
  init(
    _ run: Run, _ session: HostSession, _ rules: AnswerRules, _ metadata: [InspectedFile.Entry]
  ) throws {
    self.session = session
    guard let form = ChatForm(metadata) else {
      throw HostError.request(
        "\(run.file) has no chat form: its checkpoint had no chat template, or one that cannot be"
          + " compiled (curta convert says why). Use -p with the text that the model expects")
    }
    guard let tokenizer = session.session.tokenizer else {
      throw HostError.request("\(run.file) has no tokenizer, which a chat needs")
    }
    guard run.system == nil || form.systemPlace != .none else {
      throw HostError.request("\(run.file) takes no system message; leave --system out")
    }
    encoder = ChatEncoder(form: form, tokenizer: tokenizer)
    system = run.system
    prompt = run.prompt
    self.rules = try encoder.completed(rules)
  }

  /// Talks until the input ends, /quit, or after the one turn of -p.
  func run(_ loop: inout RunLoop) throws {
    var chat = self
    Interrupt.catchAll()
    if let prompt { return try chat.say(prompt, &loop) }
    if isInteractive {
      Terminal.note("Ctrl-C ends an answer, Ctrl-D the chat; /help lists commands.")
    }
    while true {
      if isInteractive { Terminal.mutter("> ") }
      switch try chat.input.line() {
      case .end:
        if isInteractive { Terminal.note("") }
        return
      case .interrupted:
        guard isInteractive else { return }
        Interrupt.clear()
        Terminal.note("\nCtrl-D or /quit ends the chat.")
      case .text(let line):
        do {
          guard try chat.follow(line, &loop) else { return }
        } catch {
          guard isInteractive else { throw error }
          let message = Failure(error).message
          if loop.isEvents { try JSONOutput.event(ErrorEvent(message: message)) }
          Terminal.note("curta: " + printable(message, keepingLines: true))
        }
      }
    }
  }

  /// Does what a line says; false at the end of the chat.
  private mutating func follow(_ line: String, _ loop: inout RunLoop) throws -> Bool {
    let words = line.split(separator: " ", maxSplits: 1)
    let argument = words.count > 1 ? String(words[1]) : ""
    guard let command = words.first, line.hasPrefix("/") else {
      if !line.allSatisfy(\.isWhitespace) { try say(line, &loop) }
      return true
    }
    switch command {
    case "/quit", "/exit": return false
    case "/help": Terminal.note(Chat.help)
    case "/reset":
      try session.rewind()
      _ = try loop.endText()
      turn = 0
      try loop.report("reset", nil)
    case "/save", "/load":
      guard !argument.isEmpty else { throw HostError.request("\(command) needs a file") }
      if command == "/save" {
        try session.save(to: argument)
      } else {
        try session.restore(from: argument)
      }
      try loop.report(command == "/save" ? "saved" : "loaded", argument)
    default:
      throw HostError.request(
        "there is no command \(command); /help lists them. A turn that begins with / can begin"
          + " with a space")
    }
    return true
  }

  private static let help = """
    /reset       forget the conversation, and begin anew
    /save FILE   save the conversation
    /load FILE   go on with a saved one
    /quit        end, as Ctrl-D does
    """

  /// A turn of the user, and the answer.
  private mutating func say(_ text: String, _ loop: inout RunLoop) throws {
    let tokens = try encoder.turn(text, system: system, isFirst: session.past == 0)
    // The answer needs a position as well.
    guard tokens.count < loop.room else {
      throw HostError.request(
        "the context is full: \(session.past) of \(session.plan.context) positions are taken, and"
          + " this turn needs \(tokens.count + 1). /reset begins anew, /save FILE keeps the"
          + " conversation, a larger --context holds more")
    }
    turn += 1
    let before = loop.times
    let start = session.past
    try loop.feed(tokens, echo: false, turn: turn)
    let isWhole = session.past == start + tokens.count
    try loop.answer(rules, turn: turn, before: before)
    // A turn that was not heard to its end was not said.
    if !isWhole { try session.rewind(to: start) }
    Interrupt.clear()
    if loop.stop == .context, !loop.isEvents {
      Terminal.note("curta: the context is full; /reset begins anew, a larger --context holds more")
    }
  }
}

extension ChatForm {
  /// The form in the metadata of a file; nil where there is none.
  init?(_ metadata: [InspectedFile.Entry]) {
    var integers: [String: UInt64] = [:]
    var texts: [String: String] = [:]
    for entry in metadata {
      if let integer = entry.integer { integers[entry.key] = integer }
      if let text = entry.text { texts[entry.key] = text }
    }
    self.init(integers: integers, texts: texts)
  }
}
