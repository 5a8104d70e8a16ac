// Hugging Face tokenizer.json: which of its parts the runtime knows, and what they become.
// SPDX-License-Identifier: Apache-2.0

/// Reads a `tokenizer.json` and collects everything in it that Curta cannot do.
///
/// Known models: byte-level BPE (GPT-2, Llama 3, Qwen and their kin), BPE on characters
/// (SentencePiece's kin), unigram, WordPiece, and whole words. Truncation and padding are for
/// batches and are left to the caller.
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
    problems += vocabulary.problems()
    var tables: TokenizerTables?
    switch json["model"]["type"].text {
    case "BPE":
      checkBPE()
      let isByteLevel = steps(json["pre_tokenizer"], "pretokenizers")
        .contains { $0["type"].text == "ByteLevel" }
      tables = isByteLevel ? try byteBPE(vocabulary) : try characterBPE(vocabulary)
    case "Unigram": tables = try unigram(vocabulary)
    case "WordPiece": tables = wordPiece(vocabulary)
    case "WordLevel": tables = words(vocabulary)
    case let type: problems.append("model of type \(type ?? "unknown")")
    }
    if tables != nil { addTokens(vocabulary, to: &tables!) }
    let (begin, last) = postProcessor(vocabulary)
    guard problems.isEmpty, var tables else { throw .unsupported(problems) }
    tables.begin = begin
    tables.addsBegin = begin != nil
    tables.last = last
    return tables
  }

  /// The parts of a sequence, of a single part itself, of nothing none.
  func steps(_ part: TokenizerJSON, _ name: String) -> [TokenizerJSON] {
    if part == .null { return [] }
    return part["type"].text == "Sequence" ? part[name].items : [part]
  }

  func name(_ part: TokenizerJSON) -> String {
    guard part != .null else { return "null" }
    let inner = ["normalizers", "pretokenizers", "decoders", "processors"]
      .flatMap { part[$0].items }.map { $0["type"].text ?? "?" }
    let type = part["type"].text ?? "?"
    return inner.isEmpty ? type : "\(type)[\(inner.joined(separator: ", "))]"
  }

  // MARK: - Added tokens

  /// Sets the added tokens, which models may have left out or changed.
  private mutating func addTokens(
    _ vocabulary: HuggingFaceVocabulary, to tables: inout TokenizerTables
  ) {
    tables.added = vocabulary.added
    for (id, options) in vocabulary.options {
      var options = options
      // Without a normalizer the normalized text is the text.
      if options.contains(.normalized), json["normalizer"] == .null {
        options.remove(.normalized)
      }
      if options.contains(.normalized) { normalize(id, vocabulary, &tables) }
      tables.addedOptions[id] = options
    }
    // The text of these is looked for as `▁`, but it is one of spaces too.
    for id in vocabulary.added.keys where vocabulary.added[id] == false {
      let isRaw = tables.addedOptions[id]?.contains(.normalized) != true
      let isSpaced = vocabulary.tokens[id].starts(with: [0xE2, 0x96, 0x81])
      if isRaw, isSpaced, tables.normalizer.contains(.metaspace) { tables.added[id] = nil }
    }
    let takesSpace = vocabulary.options.values.contains {
      !$0.isDisjoint(with: [.stripLeft, .stripRight])
    }
    let ranges = tables.ranges ?? CharacterRange.all(for: tables.preTokenizer)
    if takesSpace, ranges.isEmpty { tables.ranges = CharacterRange.spaces }
  }

  /// Gives an added token the text that it has after normalization.
  private mutating func normalize(
    _ id: Int, _ vocabulary: HuggingFaceVocabulary, _ tables: inout TokenizerTables
  ) {
    var text = vocabulary.tokens[id]
    let shown = String(decoding: text, as: UTF8.self)
    let adds = !tables.normalizer.isDisjoint(with: [.prefix, .words])
    guard text.allSatisfy({ (0x21...0x7E).contains($0) }), !adds || prepends else {
      problems.append("added token '\(shown)' that is looked for in normalized text")
      return
    }
    if prepends { text.insert(0x20, at: 0) }
    if lowercases { text = Array(String(decoding: text, as: UTF8.self).lowercased().utf8) }
    tables.tokens[id] = text
  }

  /// Whether the normalizer puts a space before everything, and whether it makes it lower case.
  private var prepends: Bool {
    steps(json["normalizer"], "normalizers").contains { $0["type"].text == "Prepend" }
  }

  private var lowercases: Bool {
    steps(json["normalizer"], "normalizers").contains { $0["lowercase"].flag == true }
  }

  // MARK: - Post-processor

  /// The ids that the template puts first and last, if there are any.
  private mutating func postProcessor(
    _ vocabulary: HuggingFaceVocabulary
  ) -> (first: Int?, last: Int?) {
    var first: Int?
    var last: Int?
    for part in steps(json["post_processor"], "processors") {
      switch part["type"].text {
      case "ByteLevel": break  // changes offsets only
      case "TemplateProcessing":
        let single = part["single"].items
        guard let text = single.firstIndex(where: { $0["Sequence"] != .null }),
          text <= 1, single.count - text <= 2, first == nil, last == nil
        else {
          problems.append("post_processor TemplateProcessing other than one token first and last")
          break
        }
        if text == 1 { first = special(single[0], part, vocabulary) }
        if single.count - text == 2 { last = special(single[text + 1], part, vocabulary) }
      case "BertProcessing", "RobertaProcessing":
        first = known(part["cls"].items.last?.id, vocabulary)
        last = known(part["sep"].items.last?.id, vocabulary)
      default: problems.append("post_processor \(name(part))")
      }
    }
    return (first, last)
  }

  private mutating func special(
    _ item: TokenizerJSON, _ part: TokenizerJSON, _ vocabulary: HuggingFaceVocabulary
  ) -> Int? {
    let ids = item["SpecialToken"]["id"].text.map { part["special_tokens"][$0]["ids"].items } ?? []
    return known(ids.count == 1 ? ids[0].id : nil, vocabulary)
  }

  private mutating func known(_ id: Int?, _ vocabulary: HuggingFaceVocabulary) -> Int? {
    if let id, vocabulary.tokens.indices.contains(id) { return id }
    problems.append("post_processor with a token that is not one id of the vocabulary")
    return nil
  }
}
