// The other models of tokenizer.json: unigram, WordPiece and whole words.
// SPDX-License-Identifier: Apache-2.0

extension HuggingFaceTokenizer {
  mutating func unigram(
    _ vocabulary: HuggingFaceVocabulary
  ) throws(ImportError) -> TokenizerTables {
    let fallsBack = json["model"]["byte_fallback"].flag == true
    var tokens = vocabulary.tokens
    var byteIds = [Int?](repeating: nil, count: 256)
    var values: [Int: Double] = [:]
    var texts: Set<[UInt8]> = []
    for (id, token) in tokens.enumerated() where vocabulary.added[id] != true {
      if fallsBack, let byte = byteOfFallback(token) {
        byteIds[Int(byte)] = id
        tokens[id] = [byte]
      } else if !token.isEmpty, !token.contains(0x20), let score = vocabulary.scores[id] {
        // A literal space never reaches the model: it has become U+2581.
        tokens[id] = spacesForMetaspace(token)
        texts.insert(tokens[id])
        values[id] = score
      }
    }
    guard texts.count == values.count, values.values.allSatisfy(\.isFinite) else {
      throw .bad(
        .duplicateName, file: file, field: "model.vocab", "tokens of one text, or without a score")
    }
    var tables = TokenizerTables(kind: .unigram, tokens: tokens)
    tables.byteIds = byteIds
    tables.setScores(values, unknown: (vocabulary.scores.values.min() ?? 0) - 10)
    tables.unknown = json["model"]["unk_id"].id
    tables.fusesUnknown = true
    readSpaces(&tables, model: "Unigram")
    return tables
  }

  mutating func wordPiece(_ vocabulary: HuggingFaceVocabulary) -> TokenizerTables {
    var tables = wordTables(.wordPiece, vocabulary)
    let model = json["model"]
    if (model["continuing_subword_prefix"].text ?? "##") != "##" {
      problems.append("WordPiece with a continuing_subword_prefix other than ##")
    }
    tables.wordLimit = model["max_input_chars_per_word"].id ?? 100
    switch json["pre_tokenizer"]["type"].text {
    case "BertPreTokenizer": tables.preTokenizer = .bert
    case "WhitespaceSplit": break
    default: problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with WordPiece")
    }
    let normalizer = json["normalizer"]
    switch normalizer["type"].text {
    case "BertNormalizer":
      let lowercases = normalizer["lowercase"].flag ?? true
      BertNormalizer(
        cleansText: normalizer["clean_text"].flag ?? true,
        spacesIdeographs: normalizer["handle_chinese_chars"].flag ?? true,
        stripsAccents: normalizer["strip_accents"].flag ?? lowercases, lowercases: lowercases
      ).apply(to: &tables)
    case nil where normalizer == .null: break
    default: problems.append("normalizer \(name(normalizer)) with WordPiece")
    }
    let decoder = json["decoder"]
    if decoder["type"].text == "WordPiece", (decoder["prefix"].text ?? "##") == "##" {
      tables.decoder = decoder["cleanup"].flag ?? true ? .wordPieceClean : .wordPiece
    } else if decoder != .null {
      problems.append("decoder \(name(decoder)) with WordPiece")
    }
    return tables
  }

  mutating func words(_ vocabulary: HuggingFaceVocabulary) -> TokenizerTables {
    let tables = wordTables(.word, vocabulary)
    if json["pre_tokenizer"]["type"].text != "WhitespaceSplit" {
      problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with WordLevel")
    }
    for part in ["normalizer", "decoder"] where json[part] != .null {
      problems.append("\(part) \(name(json[part])) with WordLevel")
    }
    return tables
  }

  /// What both kinds of words share: all tokens but control tokens are words.
  private mutating func wordTables(
    _ kind: TokenizerTables.Kind, _ vocabulary: HuggingFaceVocabulary
  ) -> TokenizerTables {
    var tables = TokenizerTables(kind: kind, tokens: vocabulary.tokens)
    tables.words = vocabulary.tokens.indices.filter {
      !vocabulary.tokens[$0].isEmpty && vocabulary.added[$0] != true
    }
    tables.preTokenizer = .whitespace
    tables.decoder = .spaced
    tables.unknown = json["model"]["unk_token"].bytes.flatMap { vocabulary.ids[$0] }
    if tables.unknown == nil {
      problems.append("\(json["model"]["type"].text ?? "model") without an unk_token")
    }
    return tables
  }
}
