// BPE in tokenizer.json: on bytes as GPT-2 writes them, or on characters as SentencePiece does.
// SPDX-License-Identifier: Apache-2.0

extension HuggingFaceTokenizer {
  /// Options of the model that change ids and that the runtime does not have.
  mutating func checkBPE() {
    let model = json["model"]
    if model["dropout"] != .null, model["dropout"] != .number(0) { problems.append("BPE dropout") }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = model[name].bytes, !text.isEmpty { problems.append("BPE \(name)") }
    }
  }

  mutating func byteBPE(
    _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> TokenizerTables {
    var tokens = vocabulary.tokens
    var ids: [[UInt8]: Int] = [:]
    for (id, token) in tokens.enumerated() where vocabulary.added[id] == nil && !token.isEmpty {
      if let bytes = ByteLevelAlphabet.bytes(of: token) { tokens[id] = bytes }
      ids[token] = id
    }
    var tables = TokenizerTables(kind: .byteBPE, tokens: tokens)
    tables.byteIds = (0..<256).map { ids[ByteLevelAlphabet.text(of: UInt8($0))] }
    // A byte without a token is left out, as `tokenizers` does where it has no unk_token.
    if tables.byteIds.contains(where: { $0 == nil }) { setUnknown(vocabulary, &tables) }
    tables.merges = try merges(ids, tokens, vocabulary)
    setWholePieces(ids, &tables)
    byteLevelPreTokenizer(&tables)
    let normalizers = steps(json["normalizer"], "normalizers")
    switch normalizers.map({ $0["type"].text }) {
    case []: break
    case ["NFC"]: tables.normalizeToC(compatible: false)
    case ["NFKC"]: tables.normalizeToC(compatible: true)
    default: problems.append("normalizer \(name(json["normalizer"])) with byte-level BPE")
    }
    if json["decoder"]["type"].text != "ByteLevel" {
      problems.append("decoder \(name(json["decoder"])) with byte-level BPE")
    }
    return tables
  }

  mutating func characterBPE(
    _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> TokenizerTables {
    let fallsBack = json["model"]["byte_fallback"].flag == true
    var tokens = vocabulary.tokens
    var ids: [[UInt8]: Int] = [:]
    var byteIds = [Int?](repeating: nil, count: 256)
    for (id, token) in tokens.enumerated() where vocabulary.added[id] != true && !token.isEmpty {
      if fallsBack, let byte = byteOfFallback(token) {
        byteIds[Int(byte)] = id
        tokens[id] = [byte]
      } else {
        ids[token] = id
        tokens[id] = spacesForMetaspace(token)
      }
    }
    var tables = TokenizerTables(kind: .scoredBPE, tokens: tokens)
    tables.byteIds = byteIds
    // A literal space never reaches the model: the normalizer has made it U+2581.
    tables.characters = ids.filter { isOneScalar($0.key) && $0.key != [0x20] }.map(\.value)
    tables.merges = try merges(ids, tokens, vocabulary)
    setWholePieces(ids, &tables)
    setUnknown(vocabulary, &tables)
    readSpaces(&tables, model: "BPE")
    return tables
  }

  private mutating func setUnknown(
    _ vocabulary: HuggingFaceVocabulary, _ tables: inout TokenizerTables
  ) {
    tables.unknown = json["model"]["unk_token"].bytes.flatMap { vocabulary.ids[$0] }
    tables.fusesUnknown = json["model"]["fuse_unk"].flag == true && tables.unknown != nil
  }

  private func setWholePieces(_ ids: [[UInt8]: Int], _ tables: inout TokenizerTables) {
    guard json["model"]["ignore_merges"].flag == true else { return }
    tables.takesWholePieces = true
    tables.words = Array(ids.values)
  }

  // MARK: - Byte-level pre-tokenizers

  /// The regular expressions of Split that the runtime has by name.
  private static let patterns: [String: TokenizerTables.PreTokenizer] = [
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
      + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#: .llama3,
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
      + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#: .qwen2,
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: .gpt2,
    #"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: .gpt2,
  ]

  private mutating func byteLevelPreTokenizer(_ tables: inout TokenizerTables) {
    let parts = steps(json["pre_tokenizer"], "pretokenizers")
    guard let last = parts.last, last["type"].text == "ByteLevel", parts.count <= 2 else {
      return refuse()
    }
    let usesRegex = last["use_regex"].flag ?? true
    let addsSpace = last["add_prefix_space"].flag ?? true
    if addsSpace { tables.normalizer.formUnion([.prefix, .prefixUnlessSpace]) }
    guard parts.count == 2 else {
      tables.preTokenizer = usesRegex ? .gpt2 : .none
      return
    }
    let first = parts[0]
    if first["type"].text == "Digits", first["individual_digits"].flag == true, usesRegex,
      !addsSpace
    {
      tables.preTokenizer = .digitsGPT2
    } else if first["type"].text == "Split", first["behavior"].text == "Isolated",
      first["invert"].flag != true, !usesRegex, !addsSpace,
      let known = HuggingFaceTokenizer.patterns[first["pattern"]["Regex"].text ?? ""]
    {
      tables.preTokenizer = known
    } else {
      refuse()
    }
  }

  private mutating func refuse() {
    problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with byte-level BPE")
  }

  // MARK: - Merges

  /// The merge list with ids; later entries of a pair replace earlier ones, as in `tokenizers`.
  private mutating func merges(
    _ ids: [[UInt8]: Int], _ tokens: [[UInt8]], _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> [TokenizerTables.Merge] {
    struct Pair: Hashable {
      var left: Int
      var right: Int
    }
    var merges: [Pair: TokenizerTables.Merge] = [:]
    for (rank, item) in json["model"]["merges"].items.enumerated() {
      var parts = item.items.compactMap(\.bytes)
      if let line = item.bytes { parts = line.split(separator: 0x20).map(Array.init) }
      guard parts.count == 2, let left = ids[parts[0]], let right = ids[parts[1]],
        let merged = ids[parts[0] + parts[1]]
      else {
        // Text never becomes an added token by merging, as it is looked for before.
        if parts.count == 2, vocabulary.ids[parts[0] + parts[1]] != nil,
          (parts + [parts[0] + parts[1]]).contains(where: { part in
            vocabulary.ids[part].map { vocabulary.added[$0] != nil } ?? false
          })
        {
          continue
        }
        throw .bad(
          .contradiction, file: file, field: "merge \(rank)", "not two tokens that make a third")
      }
      guard tokens[left] + tokens[right] == tokens[merged] else {
        problems.append("merge \(rank), whose tokens are not its text")
        continue
      }
      merges[Pair(left: left, right: right)] = .init(
        left: left, right: right, merged: merged, rank: rank)
    }
    return Array(merges.values)
  }
}
