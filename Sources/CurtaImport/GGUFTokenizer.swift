// The tokenizer in the metadata of a GGUF file: byte-level BPE ("gpt2") and scored BPE ("llama").
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
    let isScored = try file.text(GGUFTokenizer.modelKey) == "llama"
    addsBegin = try file.flag("tokenizer.ggml.add_bos_token", default: isScored)
  }
}

/// Reads the keys `tokenizer.ggml.*`:
///
/// - `model`: "gpt2" is byte-level BPE, "llama" SentencePiece's BPE
/// - `pre`: the pre-tokenizer of "gpt2", by the names of llama.cpp
/// - `tokens`: their texts; `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
///   6 byte; `merges`: two texts with a space between, of "gpt2"; `scores`: of "llama"
struct GGUFTokenizer {
  enum TokenType: Int {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

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
    if try file.flag("tokenizer.ggml.add_eos_token", default: false) {
      problems.append("tokenizer.ggml.add_eos_token = true (supported: false)")
    }
    guard model == "gpt2" || model == "llama" else {
      problems.append(
        "\(GGUFTokenizer.modelKey) = \"\(printableName(model, limit: 64))\" (supported: \"gpt2\", "
          + "\"llama\"; \(GGUFTokenizer.advice))")
      return nil
    }
    try readVocabulary()
    var tables = model == "gpt2" ? try byteBPE() : try scoredBPE()
    tables.addsBegin = try file.flag("tokenizer.ggml.add_bos_token", default: model == "llama")
    return tables
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
  /// The pre-tokenizers by their names in llama.cpp.
  private static let preTokenizers: [String: TokenizerTables.PreTokenizer] = [
    "gpt-2": .gpt2, "phi-2": .gpt2, "mpt": .gpt2, "olmo": .gpt2, "jais": .gpt2,
    "smollm": .digitsGPT2, "starcoder": .digitsGPT2, "refact": .digitsGPT2,
    "command-r": .digitsGPT2, "codeshell": .digitsGPT2,
  ]

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
    tables.preTokenizer = try preTokenizer()
    if try file.flag("tokenizer.ggml.add_space_prefix", default: false) {
      problems.append("tokenizer.ggml.add_space_prefix = true with \"gpt2\" (supported: false)")
    }
    return tables
  }

  private mutating func preTokenizer() throws(ImportError) -> TokenizerTables.PreTokenizer {
    let key = "tokenizer.ggml.pre"
    let supported =
      "supported: "
      + GGUFTokenizer.preTokenizers.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
      + "; \(GGUFTokenizer.advice)"
    guard let name = try file.text(key) else {
      problems.append("\(key) is missing (\(supported))")
      return .none
    }
    guard let preTokenizer = GGUFTokenizer.preTokenizers[name] else {
      problems.append("\(key) = \"\(printableName(name, limit: 64))\" (\(supported))")
      return .none
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
