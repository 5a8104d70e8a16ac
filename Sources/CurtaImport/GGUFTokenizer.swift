// The tokenizer in the metadata of a GGUF file, by the names that llama.cpp gives its models.
// SPDX-License-Identifier: Apache-2.0

/// Begin and end tokens of a GGUF file.
struct GGUFMarks {
  let begin: Int32?
  /// The proper one first.
  let ends: [Int32]
  let addsBegin: Bool

  init(_ file: GGUFFile, vocabularySize: Int) throws(ImportError) {
    func id(_ name: String) throws(ImportError) -> Int32? {
      let key = "tokenizer.ggml.\(name)_token_id"
      guard file.metadata[key] != nil else { return nil }
      return Int32(try file.integer(key, in: 0...vocabularySize - 1))
    }
    begin = try id("bos")
    var ends: [Int32] = []
    for name in ["eos", "eot", "eom"] {
      if let end = try id(name), !ends.contains(end) { ends.append(end) }
    }
    self.ends = ends
    addsBegin = try GGUFTokenizer.addsBegin(file)
  }
}

/// Reads the keys `tokenizer.ggml.*`:
///
/// - `model`: "gpt2" is byte-level BPE, "llama" SentencePiece's BPE, "t5" its unigram model, "bert"
///   WordPiece
/// - `pre`: the pre-tokenizer of "gpt2", by the names of llama.cpp
/// - `tokens`: their texts; `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
///   6 byte; `merges`: two texts with a space between, of "gpt2"; `scores`: of "llama"
///   and "t5"
struct GGUFTokenizer {
  typealias TokenType = ScoredPieces.PieceType

  static let modelKey = "tokenizer.ggml.model"
  static let tokensKey = "tokenizer.ggml.tokens"
  static let advice = "or give the model's tokenizer.json with --tokenizer"
  /// As `Formats/curta-tokenizer.md` has them.
  static let tokenLimit = 1 << 20
  static let mergeLimit = 1 << 22

  let file: GGUFFile
  var problems: [String] = []
  /// Text of each id as the file has it.
  var tokens: [[UInt8]] = []
  var types: [TokenType] = []

  static func exists(in file: GGUFFile) -> Bool {
    file.metadata[modelKey] != nil || file.metadata[tokensKey] != nil
  }

  /// Everything in the tokenizer that Curta cannot do.
  static func problems(_ file: GGUFFile) throws(ImportError) -> [String] {
    var reader = GGUFTokenizer(file: file)
    _ = try reader.read()
    return reader.problems
  }

  /// The tables of the tokenizer of the GGUF file at `path`.
  static func tables(_ path: String) throws(ImportError) -> TokenizerTables {
    var reader = GGUFTokenizer(file: try GGUFFile(path))
    let tables = try reader.read()
    guard reader.problems.isEmpty, let tables else { throw .unsupported(reader.problems) }
    return tables
  }

  init(file: GGUFFile) { self.file = file }

  private mutating func read() throws(ImportError) -> TokenizerTables? {
    guard let model = try file.text(GGUFTokenizer.modelKey) else {
      throw .bad(.missingField, file: file.path, field: GGUFTokenizer.modelKey, "is missing")
    }
    let isBert = model == "bert"
    let addsEnd = try file.flag(
      isBert ? "tokenizer.ggml.add_sep_token" : "tokenizer.ggml.add_eos_token",
      default: model == "t5" || isBert)
    guard ["gpt2", "llama", "t5", "bert"].contains(model) else {
      problems.append(
        "\(GGUFTokenizer.modelKey) = \"\(printableName(model, limit: 64))\" (supported: \"gpt2\", "
          + "\"llama\", \"t5\", \"bert\"; \(GGUFTokenizer.advice))")
      return nil
    }
    try readVocabulary()
    var tables: TokenizerTables
    switch model {
    case "gpt2": tables = try byteBPE()
    case "llama": tables = try scoredBPE()
    case "t5": tables = try unigram()
    default: tables = try wordPiece()
    }
    tables.begin = try id("bos")
    if isBert, tables.begin == nil { tables.begin = try id("cls") }
    let addsBegin = try GGUFTokenizer.addsBegin(file)
    tables.addsBegin = addsBegin && tables.begin != nil
    guard addsEnd else { return tables }
    let end = try id(isBert ? "seperator" : "eos")
    if model == "gpt2" || model == "llama" || end == nil {
      problems.append("tokenizer.ggml.add_eos_token = true with \"\(model)\" (supported: false)")
    }
    tables.last = end
    return tables
  }

  /// Whether texts begin with the begin token: as the file says, else as llama.cpp does.
  static func addsBegin(_ file: GGUFFile) throws(ImportError) -> Bool {
    let model = try file.text(modelKey) ?? ""
    let isLlama3 = try preTokenizers[file.text("tokenizer.ggml.pre") ?? ""]?.wholePieces == true
    return try file.flag(
      "tokenizer.ggml.add_bos_token",
      default: model == "llama" || model == "bert" || (model == "gpt2" && isLlama3))
  }

  /// The token of that name, if there is one.
  func id(_ name: String) throws(ImportError) -> Int? {
    let key = "tokenizer.ggml.\(name)_token_id"
    guard file.metadata[key] != nil else { return nil }
    return try file.integer(key, in: 0...tokens.count - 1)
  }

  private mutating func readVocabulary() throws(ImportError) {
    let key = GGUFTokenizer.tokensKey
    guard let tokens = try file.strings(key, limit: GGUFTokenizer.tokenLimit), !tokens.isEmpty
    else {
      throw .bad(
        .missingField, file: file.path, field: key, offset: file.metadata[key]?.offset,
        "is missing or empty")
    }
    self.tokens = tokens
    let typeKey = "tokenizer.ggml.token_type"
    guard let numbers = try file.integers(typeKey, limit: tokens.count) else {
      types = tokens.map { _ in .normal }
      return
    }
    try checkCount(typeKey, numbers.count)
    for (id, number) in numbers.enumerated() {
      guard let type = TokenType(rawValue: number) else {
        throw bad(.outOfRange, typeKey, "token \(id) has the type \(number), not 1…6")
      }
      types.append(type)
    }
  }

  func checkCount(_ key: String, _ count: Int) throws(ImportError) {
    guard count == tokens.count else {
      throw bad(.contradiction, key, "has \(count) values for \(tokens.count) tokens")
    }
  }

  func bad(_ reason: Malformation.Reason, _ key: String, _ detail: String) -> ImportError {
    .bad(reason, file: file.path, field: key, offset: file.metadata[key]?.offset, detail)
  }

  /// Ids of those tokens that text is made of; throws where two have one text.
  func ids(
    of isWanted: (TokenType) -> Bool, texts: [[UInt8]]
  ) throws(ImportError) -> [[UInt8]: Int] {
    var ids: [[UInt8]: Int] = [:]
    ids.reserveCapacity(texts.count)
    for (id, text) in texts.enumerated() where isWanted(types[id]) && !text.isEmpty {
      guard let other = ids.updateValue(id, forKey: text) else { continue }
      throw bad(
        .duplicateName, GGUFTokenizer.tokensKey, "tokens \(other) and \(id) have the same text")
    }
    return ids
  }

  /// Tokens looked for before anything else; true for those that plain text does not become.
  func added() -> [Int: Bool] {
    var added: [Int: Bool] = [:]
    for (id, type) in types.enumerated() where !tokens[id].isEmpty {
      switch type {
      case .control, .unknown: added[id] = true
      case .userDefined: added[id] = false
      case .normal, .unused, .byte: break
      }
    }
    return added
  }
}

// MARK: - Byte-level BPE

extension GGUFTokenizer {
  /// What llama.cpp means by a name of a pre-tokenizer.
  fileprivate struct Named {
    var preTokenizer: TokenizerTables.PreTokenizer
    /// Whether a whole piece that is a token becomes it without merges.
    var wholePieces = false
    /// Whether the model was made for text in normal form C.
    var composes = false
  }

  fileprivate static let preTokenizers: [String: Named] = {
    var named: [String: Named] = [:]
    for name in ["gpt-2", "phi-2", "mpt", "olmo", "jais"] {
      named[name] = Named(preTokenizer: .gpt2)
    }
    for name in ["smollm", "starcoder", "refact", "command-r", "codeshell"] {
      named[name] = Named(preTokenizer: .digitsGPT2)
    }
    for name in ["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"] {
      named[name] = Named(preTokenizer: .llama3, wholePieces: true)
    }
    for name in ["dbrx", "smaug-bpe"] { named[name] = Named(preTokenizer: .llama3) }
    for name in ["qwen2", "deepseek-r1-qwen"] {
      named[name] = Named(preTokenizer: .qwen2, composes: true)
    }
    named["stablelm2"] = Named(preTokenizer: .qwen2)
    return named
  }()

  fileprivate mutating func byteBPE() throws(ImportError) -> TokenizerTables {
    let ids = try ids(of: { $0 == .normal }, texts: tokens)
    var texts = tokens
    for (id, type) in types.enumerated() {
      switch type {
      case .normal: texts[id] = ByteLevelAlphabet.bytes(of: tokens[id]) ?? tokens[id]
      case .unused: texts[id] = []
      case .byte: problems.append("token \(id) of type byte with byte-level BPE")
      case .unknown, .control, .userDefined: break
      }
    }
    var tables = TokenizerTables(kind: .byteBPE, tokens: texts)
    tables.added = added()
    // A byte without a token is left out, as llama.cpp does.
    tables.byteIds = (0..<256).map { ids[ByteLevelAlphabet.text(of: UInt8($0))] }
    tables.merges = try merges(ids, texts)
    let named = try preTokenizer()
    tables.preTokenizer = named.preTokenizer
    if named.composes { tables.normalizeToC(compatible: false) }
    if named.wholePieces {
      tables.takesWholePieces = true
      tables.words = Array(ids.values)
    }
    if try file.flag("tokenizer.ggml.add_space_prefix", default: false) {
      problems.append("tokenizer.ggml.add_space_prefix = true with \"gpt2\" (supported: false)")
    }
    return tables
  }

  private mutating func preTokenizer() throws(ImportError) -> Named {
    let key = "tokenizer.ggml.pre"
    let supported =
      "supported: "
      + GGUFTokenizer.preTokenizers.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
      + "; \(GGUFTokenizer.advice)"
    guard let name = try file.text(key) else {
      problems.append("\(key) is missing (\(supported))")
      return Named(preTokenizer: .none)
    }
    guard let preTokenizer = GGUFTokenizer.preTokenizers[name] else {
      problems.append("\(key) = \"\(printableName(name, limit: 64))\" (\(supported))")
      return Named(preTokenizer: .none)
    }
    return preTokenizer
  }

  /// The merges with ids; of two of the same pair the first counts, as in llama.cpp.
  private func merges(
    _ ids: [[UInt8]: Int], _ texts: [[UInt8]]
  ) throws(ImportError) -> [TokenizerTables.Merge] {
    let key = "tokenizer.ggml.merges"
    guard let lines = try file.strings(key, limit: GGUFTokenizer.mergeLimit) else {
      throw bad(.missingField, key, "is missing")
    }
    struct Pair: Hashable {
      var left: Int
      var right: Int
    }
    var seen: Set<Pair> = []
    var merges: [TokenizerTables.Merge] = []
    for (rank, line) in lines.enumerated() {
      // A token may begin with a space, but none of this alphabet does.
      guard let space = line.dropFirst().firstIndex(of: 0x20) else {
        throw bad(.wrongType, key, "merge \(rank) is not two texts with a space between")
      }
      let (first, second) = (Array(line[..<space]), Array(line[(space + 1)...]))
      guard let left = ids[first], let right = ids[second], let merged = ids[first + second],
        texts[left] + texts[right] == texts[merged]
      else {
        throw bad(.contradiction, key, "merge \(rank) is not two tokens that make a third")
      }
      guard seen.insert(Pair(left: left, right: right)).inserted else { continue }
      merges.append(.init(left: left, right: right, merged: merged, rank: rank))
    }
    return merges
  }
}
