// `curta run`: text from a model, as it comes.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CCurta
import CurtaCompile
import CurtaEvaluate
import CurtaFormat

/// `1,2,3`
struct TokenList: ExpressibleByArgument {
  let tokens: [Int32]

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
      .map { part in Int32(part.drop { $0 == " " }) }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    tokens = parts.compactMap(\.self)
  }
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let a model write, or talk with it.",
    discussion: """
      The text goes to the standard output, timings to the standard error. It ends with the \
      model's end token, a stop string, after -n tokens, with the context, or with Ctrl-C. The same \
      file, prompt, seed and flags give the same text on every computer.

      Without -p and --tokens the prompt is the standard input, when that is not a terminal.

      With --chat each line of the standard input is a turn, and Ctrl-C ends an answer. Lines that \
      begin with / are commands: /help lists them. With -p that is the only turn.

      EXAMPLES:
        curta run stories.curta -p "Once upon a time" -n 200 --temp 0.8 --seed 7
        curta run assistant.curta --chat --system "Answer in one sentence."
        curta run model.curta --save-session a.session < prompt.txt
        curta run model.curta --load-session a.session -p " And then"
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Option(
    name: .shortAndLong, help: "The text to go on from; - is the standard input.")
  var prompt: String?

  @Option(help: "The prompt as token ids, 1,2,3; the answer is ids as well.")
  var tokens: TokenList?

  @Option(
    name: .customShort("n"),
    help: ArgumentHelp("Tokens to write at most; of each answer.", valueName: "count"))
  var count: Int = 256

  @Option(
    help: ArgumentHelp(
      "End before this text, which is not printed; may be given again.", valueName: "text"))
  var stop: [String] = []

  @Flag(help: "Talk with the model, in the form that its file suggests.")
  var chat = false

  @Option(help: ArgumentHelp("What the model is told before a chat.", valueName: "text"))
  var system: String?

  @Option(help: ArgumentHelp("Go on with a session saved there.", valueName: "file"))
  var loadSession: String?

  @Option(help: ArgumentHelp("Save the session there at the end.", valueName: "file"))
  var saveSession: String?

  @OptionGroup(title: "Sampling")
  var sampling: SamplingFlags

  @Option(name: .shortAndLong, help: "Threads.")
  var threads: UInt32 = 1

  @Option(name: .shortAndLong, help: "Positions, prompt and answer together (default: the file's).")
  var context: UInt32?

  @Option(help: "Most tokens of the prompt in a step (default: 128).")
  var chunk: UInt32?

  @OptionGroup(title: "Memory")
  var weights: WeightFlags

  @Option(
    help: """
      Instruction set: auto, scalar, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod,
      neon_i8mm.
      """)
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
    guard !stop.contains("") else { throw ValidationError("--stop needs a text.") }
    guard stop.isEmpty || tokens == nil else {
      throw ValidationError("--stop and --tokens exclude each other: ids have no text.")
    }
    guard chat || system == nil else { throw ValidationError("--system needs --chat.") }
    guard !chat || tokens == nil else {
      throw ValidationError("--chat and --tokens exclude each other.")
    }
    guard !chat || !ignoreEnd else {
      throw ValidationError("--chat and --ignore-end exclude each other.")
    }
    guard !chat || prompt != "-" else {
      throw ValidationError("--chat reads turns from the standard input: leave -p - out.")
    }
  }

  func run() throws {
    try reporting {
      let clock = ContinuousClock()
      let start = clock.now
      let mapping = try FileMapping(file, forRunning: weights.limit == 0)
      let session = try HostSession(mapping, options(mapping))
      guard session.session.image == nil else {
        throw HostError.request(
          "\(mapping.path) takes images, not text; use curta classify or curta embed")
      }
      let form: RunLoop.Form =
        json ? .events(ids: tokens != nil) : tokens != nil ? .ids : .text
      var loop = RunLoop(session, form: form, hashes: logitsHash, load: clock.now - start)
      let metadata = try InspectedFile.metadata(mapping.bytes)
      let rules = rules(metadata)
      if let loadSession { try session.restore(from: loadSession) }
      if let seed = sampling.seed { session.seed(seed) }
      if chat {
        let chat = try Chat(self, session, rules, metadata)
        try loop.begin(file)
        try chat.run(&loop)
      } else {
        try write(&loop, rules)
      }
      if let saveSession {
        try session.save(to: saveSession)
        try loop.report("saved", saveSession)
      }
      loop.finish()
    }
  }

  private func write(_ loop: inout RunLoop, _ rules: AnswerRules) throws {
    let prompt = try promptTokens(loop.session)
    try loop.begin(file)
    Interrupt.catchOnce()
    let before = loop.times
    try loop.feed(prompt, echo: !noEcho)
    try loop.refresh()
    try loop.answer(rules, before: before)
  }

  private func options(_ mapping: FileMapping) throws -> HostOptions {
    var options = HostOptions()
    options.context = context ?? 0
    options.chunk = chunk ?? 0
    options.threads = threads
    options.weightLimit = weights.limit
    options.kernels = try HostSession.kernels(named: kernels)
    if logitsHash { options.outputs = try planSession(mapping, options).chunk }
    return options
  }

  private func rules(_ metadata: [InspectedFile.Entry]) -> AnswerRules {
    var rules = AnswerRules()
    rules.count = count
    rules.sampling = sampling.resolved(metadata)
    rules.ignoresEnd = ignoreEnd
    rules.stops = stop
    rules.goesOn = chat || saveSession != nil
    rules.keepsText = !chat && saveSession != nil
    return rules
  }

  private func promptTokens(_ session: HostSession) throws -> [Int32] {
    if let tokens { return tokens.tokens }
    guard let tokenizer = session.session.tokenizer else {
      throw HostError.request("\(file) has no tokenizer; give the prompt with --tokens 1,2,3")
    }
    do {
      let begins = session.past == 0
      var ids = try tokenizer.tokens(of: promptText(), addBos: begins)
      if ids.isEmpty, begins, tokenizer.bos >= 0 { ids = [tokenizer.bos] }
      guard !ids.isEmpty || !begins else {
        throw HostError.request("the prompt is empty; give one with -p")
      }
      return ids
    } catch let error as CurtaError {
      throw HostError.file(path: file, error)
    }
  }

  private func promptText() throws -> String {
    switch prompt {
    case "-": return try RunInput.whole()
    case .some(let text): return text
    // A loaded session needs no prompt.
    case nil:
      guard !RunInput.isTerminal, loadSession == nil else { return "" }
      return try RunInput.whole()
    }
  }
}
