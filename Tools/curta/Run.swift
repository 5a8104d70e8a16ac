// `curta run`: text from a model, as it comes.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CCurta
import CurtaCompile
import CurtaEvaluate
import CurtaFormat
import Foundation

/// `1,2,3`
struct TokenList: ExpressibleByArgument {
  let tokens: [Int32]

  init?(argument: String) {
    let parts = argument.split(separator: ",")
      .map { Int32($0.trimmingCharacters(in: .whitespaces)) }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    tokens = parts.compactMap(\.self)
  }
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let a model write.",
    discussion: """
      The text goes to the standard output, timings to the standard error. It ends with the \
      model's end token, after -n tokens, with the context, or with Ctrl-C. The same file, \
      prompt, seed and flags give the same text on every computer.

      EXAMPLE:
        curta run stories.curta -p "Once upon a time" -n 200 --temp 0.8 --seed 7
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Option(name: .shortAndLong, help: "The text to go on from.")
  var prompt: String?

  @Option(help: "The prompt as token ids, 1,2,3; the answer is ids as well.")
  var tokens: TokenList?

  @Option(
    name: .customShort("n"),
    help: ArgumentHelp("Tokens to write at most.", valueName: "count"))
  var count: Int = 256

  @OptionGroup(title: "Sampling")
  var sampling: SamplingFlags

  @Option(name: .shortAndLong, help: "Threads.")
  var threads: UInt32 = 1

  @Option(name: .shortAndLong, help: "Positions, prompt and answer together (default: the file's).")
  var context: UInt32?

  @Option(help: "Most tokens of the prompt in a step (default: 64).")
  var chunk: UInt32?

  @Option(help: "Instruction set: auto, scalar, avx2, neon, neon_dotprod.")
  var kernels = "auto"

  @Flag(help: "Go on after the end token.")
  var ignoreEnd = false

  @Flag(help: "Leave the prompt out of the output.")
  var noEcho = false

  @Flag(
    name: [.customLong("logits-hash"), .customLong("hash")],
    help: "Print the SHA-256 of the logits of all tokens, the last one included.")
  var logitsHash = false

  @Flag(help: "Print events as lines of JSON instead of text.")
  var json = false

  func validate() throws {
    guard prompt == nil || tokens == nil else {
      throw ValidationError("--prompt and --tokens exclude each other.")
    }
    guard count >= 0 else { throw ValidationError("-n is at least 0.") }
    guard threads >= 1 else { throw ValidationError("--threads is at least 1.") }
  }

  func run() throws {
    try reporting {
      var options = HostOptions()
      options.context = context ?? 0
      options.chunk = chunk ?? 0
      options.threads = threads
      options.kernels = try HostSession.kernels(named: kernels)
      let mapping = try FileMapping(file)
      if logitsHash { options.outputs = try planSession(mapping, options).chunk }
      let session = try HostSession(mapping, options)
      var writer = Writer(session, isText: tokens == nil, json: json, hashes: logitsHash)
      Interrupt.catchOnce()
      try writer.feed(promptTokens(session), echo: !noEcho)
      try writer.write(
        count, sampling: sampling.resolved(InspectedFile.metadata(mapping.bytes)),
        seed: sampling.seed, ignoresEnd: ignoreEnd)
      try writer.finish()
    }
  }

  private func promptTokens(_ session: HostSession) throws -> [Int32] {
    if let tokens { return tokens.tokens }
    guard let tokenizer = session.session.tokenizer else {
      throw HostError.request("\(file) has no tokenizer; give the prompt with --tokens 1,2,3")
    }
    do {
      var ids = try tokenizer.tokens(of: prompt ?? "")
      if ids.isEmpty, tokenizer.bos >= 0 { ids = [tokenizer.bos] }
      guard !ids.isEmpty else { throw HostError.request("the prompt is empty; give one with -p") }
      return ids
    } catch let error as CurtaError {
      throw HostError.file(path: file, error)
    }
  }
}

/// Feeds a session and shows what comes out.
private struct Writer {
  private let session: HostSession
  private let json: Bool
  /// Text, or token ids.
  private var stream: TextStream?
  private var hash: SHA256?
  private let clock = ContinuousClock()
  private var promptCount = 0
  private var promptTime = Duration.zero
  private var written: [Int32] = []
  private var writeTime = Duration.zero
  private var stop = StopReason.count

  enum StopReason: String, Encodable {
    case count, end, context, interrupted
  }

  init(_ session: HostSession, isText: Bool, json: Bool, hashes: Bool) {
    self.session = session
    self.json = json
    if isText, let tokenizer = session.session.tokenizer {
      stream = TextStream(tokenizer, atStart: true)
    }
    hash = hashes ? SHA256() : nil
  }

  /// Feeds the prompt in chunks.
  mutating func feed(_ tokens: [Int32], echo: Bool) throws {
    let room = Int(session.plan.context)
    guard tokens.count <= room else {
      throw HostError.request(
        "the prompt has \(tokens.count) tokens, the context \(room); shorten it")
    }
    for token in tokens {
      let text = try stream?.next(token) ?? ""
      if echo, !json { show(text) }
    }
    if json { try JSONOutput.event(PromptEvent(tokens: tokens)) }
    let start = clock.now
    var rest = tokens[...]
    while !rest.isEmpty, !Interrupt.happened {
      let part = rest.prefix(Int(session.plan.chunk))
      try step(part)
      rest = rest.dropFirst(part.count)
    }
    promptTime = clock.now - start
    promptCount = tokens.count - rest.count
  }

  private mutating func step(_ tokens: ArraySlice<Int32>) throws {
    try session.step(tokens, outputs: hash == nil ? 1 : tokens.count)
    guard hash != nil else { return }
    for row in 0..<tokens.count {
      let logits = session.logits(row)
      hash?.update(littleEndian: logits)
    }
  }

  /// Writes up to `count` tokens.
  mutating func write(
    _ count: Int, sampling: curta_sampling, seed: UInt64, ignoresEnd: Bool
  ) throws {
    session.seed(seed)
    let start = clock.now
    stop = try writeAll(count, sampling: sampling, ignoresEnd: ignoresEnd)
    writeTime = clock.now - start
  }

  private mutating func writeAll(
    _ count: Int, sampling: curta_sampling, ignoresEnd: Bool
  ) throws -> StopReason {
    while written.count < count {
      if Interrupt.happened { return .interrupted }
      let token = try session.sample(sampling)
      if !ignoresEnd, session.isEnd(token) { return .end }
      written.append(token)
      let text = try stream?.next(token) ?? ""
      if json {
        try JSONOutput.event(TokenEvent(token: token, text: stream == nil ? nil : text))
      } else if stream != nil {
        show(text)
      } else {
        Terminal.write((written.count > 1 ? "," : "") + "\(token)")
      }
      // The last token is needed by nobody but the hash.
      guard written.count < count || hash != nil else { break }
      guard session.past < Int(session.plan.context) else { return .context }
      try step([token])
    }
    return .count
  }

  /// A model may write anything; a terminal gets no control characters from it.
  private func show(_ text: String) {
    Terminal.write(
      Terminal.outputIsTerminal ? printable(text, keepingLines: true) : text)
  }

  /// The end of the text, the hash and the timings.
  mutating func finish() throws {
    let tail = try stream?.end() ?? ""
    if json {
      try JSONOutput.event(
        EndEvent(
          stop: stop, tail: tail, promptTokens: promptCount, tokens: written.count,
          promptSeconds: seconds(promptTime), decodeSeconds: seconds(writeTime),
          arenaBytes: session.plan.arena_bytes, threads: session.plan.threads,
          kernels: session.kernelsName, logitsSha256: hash?.hexDigest()))
      return
    }
    show(tail)
    Terminal.line()
    if let hash { Terminal.line(hash.hexDigest()) }
    Terminal.note("")
    note("prompt", promptCount, promptTime)
    note("decode", written.count, writeTime)
    Terminal.note(
      "arena \(grouped(session.plan.arena_bytes)) bytes, threads \(session.plan.threads),"
        + " kernels \(session.kernelsName), ended by \(stop.rawValue)")
  }

  private func note(_ name: String, _ count: Int, _ time: Duration) {
    let rate = time > .zero ? Double(count) / seconds(time) : 0
    Terminal.note(
      "\(name) \(count) tokens in \(decimal(seconds(time), 3)) s, \(decimal(rate, 1)) tokens/s")
  }
}

private struct PromptEvent: Encodable {
  let schema = "curta.run/1"
  let event = "prompt"
  let tokens: [Int32]
}

private struct TokenEvent: Encodable {
  let event = "token"
  let token: Int32
  let text: String?
}

private struct EndEvent: Encodable {
  let event = "end"
  let stop: Writer.StopReason
  let tail: String
  let promptTokens, tokens: Int
  let promptSeconds, decodeSeconds: Double
  let arenaBytes: UInt64
  let threads: UInt32
  let kernels: String
  let logitsSha256: String?
}
