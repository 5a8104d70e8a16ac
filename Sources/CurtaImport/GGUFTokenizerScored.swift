// SentencePiece's BPE from GGUF metadata: pieces with scores, bytes where there is no piece.
// SPDX-License-Identifier: Apache-2.0

extension GGUFTokenizer {
  /// Tables for tokenizer model "llama".
  ///
  /// Every split of a piece into two pieces is a merge; its rank is the place of the piece's score
  /// among the distinct scores, the highest first, so that of equal scores the leftmost goes first.
  mutating func scoredBPE() throws(ImportError) -> TokenizerTables {
    let scoreKey = "tokenizer.ggml.scores"
    guard let scores = try file.floats(scoreKey, limit: tokens.count) else {
      throw bad(.missingField, scoreKey, "is missing")
    }
    try checkCount(scoreKey, scores.count)

    var texts = tokens
    var byteIds = [Int?](repeating: nil, count: 256)
    for (id, type) in types.enumerated() {
      switch type {
      // A literal space never reaches the pieces: it has become U+2581.
      case .normal: texts[id] = tokens[id].contains(0x20) ? [] : spacesForMetaspace(tokens[id])
      case .unused: texts[id] = []
      case .byte:
        guard let byte = byteOfFallback(tokens[id]), byteIds[Int(byte)] == nil else {
          throw bad(
            .contradiction, GGUFTokenizer.tokensKey,
            "token \(id) is no byte like <0x0A>, or one that was there before")
        }
        byteIds[Int(byte)] = id
        texts[id] = [byte]
      case .unknown, .control, .userDefined: break
      }
    }
    let ids = try ids(of: { $0 == .normal }, texts: texts)
    try checkOptions(byteIds)

    var tables = TokenizerTables(kind: .scoredBPE, tokens: texts)
    tables.added = added()
    tables.byteIds = byteIds
    tables.normalizer = .prefixSpaceMetaspace
    tables.decoder = .stripAtStart
    tables.characters = ids.filter { isCharacterGroup($0.key) }.map(\.value)
    tables.unknown = types.firstIndex(of: .unknown)
    let distinct = Set(scores).sorted(by: >)
    let ranks = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
    for (text, id) in ids {
      guard let rank = ranks[scores[id]] else { continue }
      eachSplit(of: text) { left, right in
        if let left = ids[left], let right = ids[right] {
          tables.merges.append(.init(left: left, right: right, merged: id, rank: rank))
        }
      }
    }
    checkPieces(ids)
    return tables
  }

  /// Calls `body` with every way to cut a text between two characters.
  private func eachSplit(of text: [UInt8], _ body: ([UInt8], [UInt8]) -> Void) {
    // Longer ones are refused when the section is written.
    guard text.count > 1, text.count <= 1024 else { return }
    for split in 1..<text.count where text[split] & 0xC0 != 0x80 {
      body(Array(text[..<split]), Array(text[split...]))
    }
  }

  private mutating func checkOptions(_ byteIds: [Int?]) throws(ImportError) {
    let missing = byteIds.filter { $0 == nil }.count
    if missing > 0 {
      problems.append(
        "tokenizer model \"llama\" without a token for \(missing) of 256 bytes (supported: all)")
    }
    if !(try file.flag("tokenizer.ggml.add_space_prefix", default: true)) {
      problems.append("tokenizer.ggml.add_space_prefix = false with \"llama\" (supported: true)")
    }
    if try file.flag("tokenizer.ggml.remove_extra_whitespaces", default: false) {
      problems.append("tokenizer.ggml.remove_extra_whitespaces = true (supported: false)")
    }
  }

  /// Pieces that SentencePiece would reach through something that is no piece of its own.
  ///
  /// It merges characters that are in no piece alone, and pieces of type unused, which become
  /// something else at the end. Our tables have neither.
  private mutating func checkPieces(_ ids: [[UInt8]: Int]) {
    func isSymbol(_ text: [UInt8]) -> Bool { ids[text] != nil || isCharacterGroup(text) }
    var lost: [Int] = []
    for (text, id) in ids {
      var isLost = false
      eachSplit(of: text) { left, right in
        isLost =
          isLost
          || (isSymbol(left) && isSymbol(right) && (ids[left] == nil || ids[right] == nil))
      }
      if isLost { lost.append(id) }
    }
    for (id, type) in types.enumerated() where type == .unused {
      var isReached = false
      eachSplit(of: spacesForMetaspace(tokens[id])) { left, right in
        isReached = isReached || (isSymbol(left) && isSymbol(right))
      }
      if isReached { lost.append(id) }
    }
    if let first = lost.min() {
      problems.append(
        "\(lost.count) tokens that are merged from characters without a token, or unused: the "
          + "first is \(first) (supported: none; \(GGUFTokenizer.advice))")
    }
  }
}
