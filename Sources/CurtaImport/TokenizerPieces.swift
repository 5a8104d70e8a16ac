// Pieces with scores, as SentencePiece has them: the tables for its BPE and its unigram model.
// SPDX-License-Identifier: Apache-2.0

/// The vocabulary of SentencePiece, from a tokenizer.model or from GGUF metadata.
struct ScoredPieces {
  /// Type of a piece, numbered as in both kinds of file.
  enum PieceType: Int {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  /// Texts as the file has them, `▁` for a space.
  var texts: [[UInt8]]
  var scores: [Float]
  var types: [PieceType]
  /// What the runtime cannot do.
  var problems: [String] = []

  /// Token texts, with spaces for `▁`; none for tokens that text never becomes.
  private(set) var tokens: [[UInt8]] = []
  private(set) var byteIds = [Int?](repeating: nil, count: 256)
  /// Normal and user-defined tokens by their text.
  private(set) var ids: [[UInt8]: Int] = [:]

  /// Why the pieces contradict themselves.
  struct Failure: Error {
    var reason: Malformation.Reason
    var detail: String
  }

  init(texts: [[UInt8]], scores: [Float], types: [PieceType]) throws(Failure) {
    self.texts = texts
    self.scores = scores
    self.types = types
    tokens = texts
    for (id, type) in types.enumerated() {
      switch type {
      // A literal space never reaches the pieces: it has become U+2581.
      case .normal: tokens[id] = texts[id].contains(0x20) ? [] : spacesForMetaspace(texts[id])
      case .userDefined: tokens[id] = spacesForMetaspace(texts[id])
      case .unused: tokens[id] = []
      case .byte:
        guard let byte = byteOfFallback(texts[id]), byteIds[Int(byte)] == nil else {
          throw Failure(
            reason: .contradiction,
            detail: "token \(id) is no byte like <0x0A>, or one that was there before")
        }
        byteIds[Int(byte)] = id
        tokens[id] = [byte]
      case .unknown, .control: break
      }
      guard type == .normal || type == .userDefined, !tokens[id].isEmpty else { continue }
      if let other = ids.updateValue(id, forKey: tokens[id]) {
        throw Failure(
          reason: .duplicateName, detail: "tokens \(other) and \(id) have the same text")
      }
    }
  }

  /// How many bytes have no token.
  var missingBytes: Int { byteIds.filter { $0 == nil }.count }

  /// Tokens looked for before anything else: marks, and in BPE what a user defined.
  private func added(userDefined: Bool) -> [Int: Bool] {
    var added: [Int: Bool] = [:]
    for (id, type) in types.enumerated() where !tokens[id].isEmpty {
      switch type {
      case .control, .unknown: added[id] = true
      case .userDefined: if userDefined { added[id] = false }
      case .normal, .unused, .byte: break
      }
    }
    return added
  }

  private func tables(_ kind: TokenizerTables.Kind) -> TokenizerTables {
    var tables = TokenizerTables(kind: kind, tokens: tokens)
    tables.byteIds = byteIds
    tables.unknown = types.firstIndex(of: .unknown)
    tables.fusesUnknown = true
    tables.normalizer = [.prefix, .metaspace]
    tables.decoder = .stripAtStart
    return tables
  }

  // MARK: - BPE

  /// Every split of a piece into two pieces is a merge; its rank is the place of the piece's score
  /// among the distinct scores, the highest first, so that of equal scores the leftmost goes first.
  ///
  /// - Parameter normalizedUserDefined: what a user defined is looked for after normalization.
  mutating func bpe(normalizedUserDefined: Bool) -> TokenizerTables {
    var tables = tables(.scoredBPE)
    tables.added = added(userDefined: true)
    if normalizedUserDefined {
      for (id, type) in types.enumerated() where type == .userDefined {
        tables.addedOptions[id] = .normalized
      }
    }
    let normal = ids.filter { types[$0.value] == .normal }
    tables.characters = normal.filter { isCharacterGroup($0.key) }.map(\.value)
    let distinct = Set(scores.filter { !$0.isNaN }).sorted(by: >)
    let ranks = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
    for (text, id) in normal {
      guard let rank = ranks[scores[id]] else { continue }
      eachSplit(of: text) { left, right in
        if let left = normal[left], let right = normal[right] {
          tables.merges.append(.init(left: left, right: right, merged: id, rank: rank))
        }
      }
    }
    checkPieces(normal)
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
      eachSplit(of: spacesForMetaspace(texts[id])) { left, right in
        isReached = isReached || (isSymbol(left) && isSymbol(right))
      }
      if isReached { lost.append(id) }
    }
    if let first = lost.min() {
      problems.append(
        "\(lost.count) tokens that are merged from characters without a token, or unused: the "
          + "first is \(first) (supported: none; give the model's tokenizer.json with "
          + "--tokenizer)")
    }
  }

  // MARK: - Unigram

  /// Tables whose sums are those of SentencePiece's 32-bit floats, ties included.
  mutating func unigram() -> TokenizerTables {
    var tables = tables(.unigram)
    tables.added = added(userDefined: false)
    tables.roundsSums = true
    var values: [Int: Double] = [:]
    for id in ids.values {
      // SentencePiece gives what a user defined a bonus for its bytes.
      let bonus = Float(0.1 * Double(texts[id].count - 1))
      values[id] = Double(types[id] == .userDefined ? bonus : scores[id])
    }
    let lowest = types.indices.filter { types[$0] == .normal }.map { scores[$0] }.min() ?? 0
    tables.setScores(values, unknown: Double(lowest - 10))
    if !values.values.allSatisfy(\.isFinite) { problems.append("scores that are no numbers") }
    return tables
  }
}

extension TokenizerTables {
  /// Sets the words of a unigram model with their scores as multiples of 2^-n, for the largest n
  /// with which all of them fit 32 bits.
  ///
  /// A 32-bit float of magnitude 2^(24-n) and more is such a multiple, so that sums are exact.
  mutating func setScores(_ values: [Int: Double], unknown: Double) {
    let finite = values.values.filter(\.isFinite) + [unknown]
    let largest = finite.map(\.magnitude).max() ?? 0
    var scale = 1.0
    while scale < 1_073_741_824, largest * scale * 2 < 0x7FFF_FFFF { scale *= 2 }
    words = Array(values.keys)
    func fixed(_ value: Double) -> Int32 {
      let scaled = (value * scale).rounded(.toNearestOrEven)
      return Int32(max(-2_147_483_648, min(scaled.isNaN ? 0 : scaled, 2_147_483_647)))
    }
    scores = values.mapValues(fixed)
    unknownScore = fixed(unknown)
  }
}
