// Feeds a session and shows what comes out, as text, as ids or as events.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaCompile
import CurtaEvaluate

/// How an answer is made and when it ends.
struct AnswerRules {
  var count = 256
  var sampling = curta_sampling()
  var ignoresEnd = false
  /// Tokens that end an answer besides those of the file.
  var ends: Set<Int32> = []
  var stops: [String] = []
  /// The last token is stepped too, for what follows.
  var goesOn = false
  /// A character that is not complete waits in the session; else it is shown as U+FFFD.
  var keepsText = false
}

struct RunLoop {
  /// What goes to the standard output.
  enum Form {
    case text
    case ids
    case events(ids: Bool)
  }

  let session: HostSession
  let form: Form
  private(set) var hash: SHA256?
  private(set) var times = RunTimes()
  private(set) var stop = StopReason.count
  private let clock = ContinuousClock()

  init(_ session: HostSession, form: Form, hashes: Bool, load: Duration) {
    self.session = session
    self.form = form
    hash = hashes ? SHA256() : nil
    times.load = load
  }

  var isEvents: Bool {
    if case .events = form { return true }
    return false
  }
  private var isIds: Bool {
    switch form {
    case .text: false
    case .ids: true
    case .events(let ids): ids
    }
  }
  /// Positions that are left.
  var room: Int { Int(session.plan.context) - session.past }

  /// The line that begins the events.
  func begin(_ model: String) throws {
    guard isEvents else { return }
    let digits = String(session.plan.identity, radix: 16)
    try JSONOutput.event(
      StartEvent(
        model: model, identity: String(repeating: "0", count: 16 - digits.count) + digits,
        context: session.plan.context, chunk: session.plan.chunk, threads: session.plan.threads,
        kernels: session.kernelsName, arenaBytes: session.plan.arena_bytes,
        loadSeconds: seconds(times.load), past: session.past))
  }

  /// Says that the session was saved, loaded or reset.
  func report(_ event: String, _ path: String?) throws {
    if isEvents {
      try JSONOutput.event(SessionEvent(event: event, path: path, past: session.past))
    } else if let path {
      Terminal.note("\(event) \(printable(path)): \(grouped(session.past)) tokens")
    }
  }

  /// Feeds the prompt in chunks; Ctrl-C ends it after one of them.
  mutating func feed(_ tokens: [Int32], echo: Bool, turn: Int? = nil) throws {
    guard tokens.count <= room else {
      let left = session.past == 0 ? "" : ", of which \(room) are left"
      throw HostError.request(
        "the prompt has \(tokens.count) tokens, the context \(session.plan.context)\(left);"
          + " shorten the prompt, or raise --context up to what the file allows")
    }
    if echo, !isIds {
      for token in tokens {
        let text = try session.decode(token)
        if !isEvents { show(text) }
      }
    }
    if isEvents { try JSONOutput.event(PromptEvent(turn: turn, tokens: tokens)) }
    let start = clock.now
    var rest = tokens[...]
    while !rest.isEmpty, !Interrupt.happened {
      let part = rest.prefix(Int(session.plan.chunk))
      try step(part)
      rest = rest.dropFirst(part.count)
    }
    times.prompt += clock.now - start
    times.promptTokens += tokens.count - rest.count
  }

  /// Makes the logits that a session without any goes on from.
  mutating func refresh() throws {
    guard session.session.logits(0) == nil, let last = session.tokens.last else { return }
    try session.rewind(to: session.past - 1)
    try step([last])
  }

  private mutating func step(_ tokens: ArraySlice<Int32>) throws {
    try session.step(tokens, outputs: hash == nil ? 1 : tokens.count)
    guard hash != nil else { return }
    for row in 0..<tokens.count {
      let logits = session.logits(row)
      hash?.update(littleEndian: logits)
    }
  }

  /// Writes an answer, and says in `stop` why it ended.
  mutating func answer(_ rules: AnswerRules, turn: Int? = nil, before: RunTimes) throws {
    let start = clock.now
    var matcher = StopMatcher(rules.stops)
    var answer = Answer(start: session.past)
    stop = try write(rules, &answer, &matcher)
    if stop == .stop { try forgetStop(answer) }
    times.decode += clock.now - start
    times.decodedTokens += answer.count
    // What waits for the rest of a character is shown only where no more can come.
    let rest = stop == .stop || rules.keepsText ? "" : try endText()
    var tail = matcher.next(rest)
    tail += matcher.end()
    try end(turn, tail: tail, stopText: matcher.found, since: before)
  }

  /// Ends the decoded text; the next token begins a new one.
  func endText() throws -> String { isIds ? "" : try session.decode(-1) }

  private struct Answer {
    /// Tokens in the session before it.
    let start: Int
    var count = 0
    /// Bytes of text that each token completes, and bytes shown.
    var lengths: [Int] = []
    var shown = 0
  }

  private mutating func write(
    _ rules: AnswerRules, _ answer: inout Answer, _ matcher: inout StopMatcher
  ) throws -> StopReason {
    while answer.count < rules.count {
      if Interrupt.happened { return .interrupted }
      let token = try session.sample(rules.sampling)
      if !rules.ignoresEnd, session.isEnd(token) || rules.ends.contains(token) { return .end }
      answer.count += 1
      let text = isIds ? "" : try session.decode(token)
      let visible = matcher.next(text)
      answer.lengths.append(text.utf8.count)
      answer.shown += visible.utf8.count
      try write(token, visible, isFirst: answer.count == 1)
      if matcher.found != nil { return .stop }
      // The last token is needed by nobody but the hash, and what follows.
      guard answer.count < rules.count || hash != nil || rules.goesOn else { break }
      guard room > 0 else { return .context }
      try step([token])
    }
    return .count
  }

  private func write(_ token: Int32, _ text: String, isFirst: Bool) throws {
    switch form {
    case .text: show(text)
    case .ids: Terminal.write((isFirst ? "" : ",") + "\(token)")
    case .events(let ids):
      try JSONOutput.event(TokenEvent(token: token, text: ids ? nil : text))
    }
  }

  /// Takes the tokens of a stop string, and what they begin in, out of the session.
  private func forgetStop(_ answer: Answer) throws {
    var bytes = 0
    var keep = 0
    for length in answer.lengths {
      bytes += length
      guard bytes <= answer.shown else { break }
      keep += 1
    }
    if answer.start + keep < session.past { try session.rewind(to: answer.start + keep) }
    _ = try endText()
  }

  /// A model may write anything; a terminal gets no control characters from it.
  func show(_ text: String) {
    Terminal.write(Terminal.outputIsTerminal ? printable(text, keepingLines: true) : text)
  }

  /// The end of an answer: the rest of its text, or the event.
  private func end(
    _ turn: Int?, tail: String, stopText: String?, since before: RunTimes
  ) throws {
    guard isEvents else {
      show(tail)
      return Terminal.line()
    }
    let own = times.since(before)
    try JSONOutput.event(
      EndEvent(
        turn: turn, stop: stop, stopText: stopText, tail: tail, promptTokens: own.promptTokens,
        tokens: own.decodedTokens, loadSeconds: seconds(own.load),
        promptSeconds: seconds(own.prompt), decodeSeconds: seconds(own.decode),
        promptTokensPerSecond: RunTimes.rate(own.promptTokens, own.prompt),
        decodeTokensPerSecond: RunTimes.rate(own.decodedTokens, own.decode), past: session.past,
        arenaBytes: session.plan.arena_bytes, threads: session.plan.threads,
        kernels: session.kernelsName, logitsSha256: hash?.hexDigest()))
  }

  /// The hash, and the timings on the standard error.
  func finish() {
    guard !isEvents else { return }
    if let hash { Terminal.line(hash.hexDigest()) }
    Terminal.note("")
    times.note()
    Terminal.note(
      "arena \(grouped(session.plan.arena_bytes)) bytes, threads \(session.plan.threads),"
        + " kernels \(session.kernelsName), ended by \(stop.rawValue)")
  }
}
