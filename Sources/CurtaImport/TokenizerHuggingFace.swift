// Hugging Face tokenizer.json: which of its parts the runtime knows, and what they become.
// SPDX-License-Identifier: Apache-2.0

/// Reads a `tokenizer.json` and collects everything in it that Curta cannot do.
///
/// Three combinations are known: byte-level BPE (GPT-2 and its kin), BPE on characters with byte
/// fallback (SentencePiece's kin), and whole words.
struct HuggingFaceTokenizer {
  let json: TokenizerJSON
  let file: String
  var problems: [String] = []

  /// The tables of the tokenizer.json at `path`.
  static func tables(_ path: String) throws(ImportError) -> TokenizerTables {
    let mapped = try MappedFile(path)
    let bytes = try mapped.withBytes(at: 0, count: mapped.count, of: "JSON") { [UInt8]($0) }
    let json: TokenizerJSON
    do {
      json = try TokenizerJSONParser.parse(bytes)
    } catch {
      throw .bad(.notJSON, file: path, offset: error.offset, error.reason)
    }
    var reader = HuggingFaceTokenizer(json: json, file: path)
    return try reader.read()
  }

  private mutating func read() throws(ImportError) -> TokenizerTables {
    let vocabulary = try HuggingFaceVocabulary(json, file: file)
    problems += vocabulary.problems(normalized: json["normalizer"] != .null)
    for part in ["truncation", "padding"] where json[part] != .null {
      problems.append("\(part) in tokenizer.json")
    }
    var tables: TokenizerTables?
    switch json["model"]["type"].text {
    case "BPE":
      checkBPE()
      if json["model"]["byte_fallback"].flag == true {
        tables = try characterBPE(vocabulary)
      } else {
        tables = try byteBPE(vocabulary)
      }
    case "WordLevel": tables = words(vocabulary)
    case let type: problems.append("model of type \(type ?? "unknown")")
    }
    let begin = postProcessor(vocabulary)
    guard problems.isEmpty, var tables else { throw .unsupported(problems) }
    tables.begin = begin
    tables.addsBegin = begin != nil
    return tables
  }

  /// Options of the model that change ids and that the runtime does not have.
  private mutating func checkBPE() {
    let model = json["model"]
    if model["dropout"] != .null, model["dropout"] != .number(0) { problems.append("BPE dropout") }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = model[name].bytes, !text.isEmpty { problems.append("BPE \(name)") }
    }
    if model["ignore_merges"].flag == true { problems.append("BPE ignore_merges") }
  }

  // MARK: - Kinds

  private mutating func byteBPE(
    _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> TokenizerTables {
    var tokens = vocabulary.tokens
    var ids: [[UInt8]: Int] = [:]
    for (id, token) in tokens.enumerated() where vocabulary.added[id] == nil && !token.isEmpty {
      if let bytes = ByteLevelAlphabet.bytes(of: token) { tokens[id] = bytes }
      ids[token] = id
    }
    var tables = TokenizerTables(kind: .byteBPE, tokens: tokens)
    tables.added = vocabulary.added
    tables.byteIds = (0..<256).map { ids[ByteLevelAlphabet.text(of: UInt8($0))] }
    // A byte without a token is left out, as `tokenizers` does where it has no unk_token.
    if tables.byteIds.contains(where: { $0 == nil }), json["model"]["unk_token"] != .null {
      problems.append("byte-level BPE with unk_token, without a token for every byte")
    }
    tables.merges = try merges(ids, tokens)
    tables.preTokenizer = byteLevelPreTokenizer()
    if json["normalizer"] != .null { problems.append("normalizer \(name(json["normalizer"]))") }
    if json["decoder"]["type"].text != "ByteLevel" {
      problems.append("decoder \(name(json["decoder"])) with byte-level BPE")
    }
    return tables
  }

  private mutating func characterBPE(
    _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> TokenizerTables {
    var tokens = vocabulary.tokens
    var ids: [[UInt8]: Int] = [:]
    var byteIds = [Int?](repeating: nil, count: 256)
    for (id, token) in tokens.enumerated() where vocabulary.added[id] == nil && !token.isEmpty {
      if let byte = byteOfFallback(token) {
        byteIds[Int(byte)] = id
        tokens[id] = [byte]
      } else {
        ids[token] = id
        tokens[id] = spacesForMetaspace(token)
      }
    }
    var tables = TokenizerTables(kind: .scoredBPE, tokens: tokens)
    tables.added = vocabulary.added
    tables.byteIds = byteIds
    if byteIds.contains(where: { $0 == nil }) {
      problems.append("byte_fallback without a token for every byte")
    }
    // A literal space never reaches the model: the normalizer has made it U+2581.
    tables.characters = ids.filter { isOneScalar($0.key) && $0.key != [0x20] }.map(\.value)
    tables.merges = try merges(ids, tokens)
    tables.unknown = json["model"]["unk_token"].bytes.flatMap { vocabulary.ids[$0] }
    tables.normalizer = .prefixSpaceMetaspace
    tables.decoder = .stripAtStart
    if json["normalizer"] != HuggingFaceTokenizer.metaspaceNormalizer {
      problems.append("normalizer \(name(json["normalizer"])) with byte_fallback")
    }
    if json["pre_tokenizer"] != .null {
      problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with byte_fallback")
    }
    if json["decoder"] != HuggingFaceTokenizer.metaspaceDecoder {
      problems.append("decoder \(name(json["decoder"])) with byte_fallback")
    }
    return tables
  }

  private mutating func words(_ vocabulary: HuggingFaceVocabulary) -> TokenizerTables {
    var tables = TokenizerTables(kind: .word, tokens: vocabulary.tokens)
    tables.added = vocabulary.added
    tables.words = vocabulary.tokens.indices.filter {
      !vocabulary.tokens[$0].isEmpty && vocabulary.added[$0] != true
    }
    tables.preTokenizer = .whitespace
    tables.decoder = .spaced
    tables.unknown = json["model"]["unk_token"].bytes.flatMap { vocabulary.ids[$0] }
    if tables.unknown == nil { problems.append("WordLevel without an unk_token") }
    if json["pre_tokenizer"]["type"].text != "WhitespaceSplit" {
      problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with WordLevel")
    }
    for part in ["normalizer", "decoder"] where json[part] != .null {
      problems.append("\(part) \(name(json[part])) with WordLevel")
    }
    return tables
  }

  // MARK: - Parts

  private mutating func byteLevelPreTokenizer() -> TokenizerTables.PreTokenizer {
    var last = json["pre_tokenizer"]
    var digits = false
    if last["type"].text == "Sequence" {
      let parts = last["pretokenizers"].items
      if parts.count == 2, parts[0]["type"].text == "Digits",
        parts[0]["individual_digits"].flag == true
      {
        digits = true
        last = parts[1]
      }
    }
    guard last["type"].text == "ByteLevel", last["add_prefix_space"].flag == false else {
      problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with byte-level BPE")
      return .none
    }
    if last["use_regex"].flag ?? true { return digits ? .digitsGPT2 : .gpt2 }
    if digits { problems.append("pre_tokenizer Digits with ByteLevel that has no use_regex") }
    return .none
  }

  /// The id that the template puts first, if there is one.
  private mutating func postProcessor(_ vocabulary: HuggingFaceVocabulary) -> Int? {
    let whole = json["post_processor"]
    let isSequence = whole["type"].text == "Sequence"
    var begin: Int?
    for part in isSequence ? whole["processors"].items : [whole] where part != .null {
      switch part["type"].text {
      case "ByteLevel": break  // changes offsets only
      case "TemplateProcessing":
        let single = part["single"].items
        let first = single.first?["SpecialToken"]["id"].text
        let ids = first.map { part["special_tokens"][$0]["ids"].items } ?? []
        if single.count == 1, single[0]["Sequence"] != .null { break }
        guard single.count == 2, single[1]["Sequence"] != .null, ids.count == 1, begin == nil,
          let id = ids[0].id, vocabulary.tokens.indices.contains(id)
        else {
          problems.append("post_processor TemplateProcessing other than one token first")
          break
        }
        begin = id
      default: problems.append("post_processor \(name(part))")
      }
    }
    return begin
  }

  /// The merge list with ids; later entries of a pair replace earlier ones, as in `tokenizers`.
  private mutating func merges(
    _ ids: [[UInt8]: Int], _ tokens: [[UInt8]]
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

  private func name(_ part: TokenizerJSON) -> String {
    guard part != .null else { return "null" }
    let inner = ["normalizers", "pretokenizers", "decoders", "processors"]
      .flatMap { part[$0].items }.map { $0["type"].text ?? "?" }
    let type = part["type"].text ?? "?"
    return inner.isEmpty ? type : "\(type)[\(inner.joined(separator: ", "))]"
  }
}
