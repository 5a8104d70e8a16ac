// WordPiece in GGUF metadata ("bert"): words begin with `▁`, what is inside of one does not.
// SPDX-License-Identifier: Apache-2.0

extension GGUFTokenizer {
  /// Tables for tokenizer model "bert"; the normalizer is BERT's for lower case.
  mutating func wordPiece() throws(ImportError) -> TokenizerTables {
    var texts = tokens
    for (id, type) in types.enumerated() {
      switch type {
      case .normal, .userDefined:
        texts[id] = inner(tokens[id])
      case .unused: texts[id] = []
      case .byte: problems.append("token \(id) of type byte with WordPiece")
      case .unknown, .control: break
      }
    }
    // Marks such as [CLS] can be of type normal: what no word begins or goes on with is one.
    var tables = TokenizerTables(kind: .wordPiece, tokens: texts)
    tables.added = added()
    for name in ["bos", "seperator", "padding", "mask", "unknown", "cls"] {
      guard let id = try id(name), !tokens[id].isEmpty else { continue }
      texts[id] = tokens[id].starts(with: mark) ? Array(tokens[id].dropFirst(3)) : tokens[id]
      tables.tokens[id] = texts[id]
      tables.added[id] = true
      if name == "unknown" { tables.unknown = id }
    }
    if tables.unknown == nil { tables.unknown = types.firstIndex(of: .unknown) }
    if tables.unknown == nil { problems.append("WordPiece without an unknown token") }
    let ids = try ids(of: { $0 == .normal || $0 == .userDefined }, texts: texts)
    tables.words = ids.values.filter { tables.added[$0] != true }
    tables.wordLimit = 100
    tables.preTokenizer = .bert
    tables.decoder = .wordPiece
    let lowercases = try file.flag("tokenizer.ggml.normalizer.lowercase", default: true)
    BertNormalizer(
      stripsAccents: try file.flag("tokenizer.ggml.normalizer.strip_accents", default: lowercases),
      lowercases: lowercases
    ).apply(to: &tables)
    return tables
  }

  private var mark: [UInt8] { [0xE2, 0x96, 0x81] }

  /// `▁word` is `word`, and `ing` is `##ing`.
  private func inner(_ token: [UInt8]) -> [UInt8] {
    token.starts(with: mark) ? Array(token.dropFirst(3)) : Array("##".utf8) + token
  }
}
