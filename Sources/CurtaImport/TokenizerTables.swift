// What a tokenizer section holds, and how it is laid out in bytes.
// SPDX-License-Identifier: Apache-2.0

/// The contents of a tokenizer section before it becomes bytes.
struct TokenizerTables {
  enum Kind: UInt32 {
    case byteBPE = 1
    case scoredBPE, word, unigram, wordPiece

    var hasMerges: Bool { self == .byteBPE || self == .scoredBPE }
    var hasByteIds: Bool { hasMerges || self == .unigram }
  }
  enum PreTokenizer: UInt32 {
    case none, gpt2, whitespace, digitsGPT2, llama3, qwen2, spaces, bert
  }
  enum Decoder: UInt32 {
    case concatenate, spaced, stripAtStart, stripAfterBos, wordPiece, wordPieceClean
    case stripAllAtStart
  }

  /// Bits of the header field `normalizer`.
  struct Normalizer: OptionSet {
    let rawValue: UInt32

    static let prefix = Normalizer(rawValue: 1 << 0)
    static let prefixFirst = Normalizer(rawValue: 1 << 1)
    static let prefixUnlessSpace = Normalizer(rawValue: 1 << 2)
    static let metaspace = Normalizer(rawValue: 1 << 3)
    static let collapse = Normalizer(rawValue: 1 << 4)
    static let stripStart = Normalizer(rawValue: 1 << 5)
    static let stripEnd = Normalizer(rawValue: 1 << 6)
    static let trimEnd = Normalizer(rawValue: 1 << 7)
    static let repair = Normalizer(rawValue: 1 << 8)
    static let hangul = Normalizer(rawValue: 1 << 9)
    static let words = Normalizer(rawValue: 1 << 10)
    static let classes = Normalizer(rawValue: 1 << 11)
  }

  /// How an added token is looked for.
  struct AddedOptions: OptionSet {
    let rawValue: UInt32

    static let stripLeft = AddedOptions(rawValue: 1 << 24)
    static let stripRight = AddedOptions(rawValue: 1 << 25)
    /// In the normalized text.
    static let normalized = AddedOptions(rawValue: 1 << 31)
  }

  /// Two neighbouring tokens and the token they become; the lowest rank goes first.
  struct Merge {
    var left: Int
    var right: Int
    var merged: Int
    var rank: Int
  }

  /// Text that the normalizer puts in place of another.
  struct Replacement: Equatable {
    var source: [UInt8]
    var replacement: [UInt8]
  }

  var kind: Kind
  var preTokenizer = PreTokenizer.none
  var normalizer: Normalizer = []
  var decoder = Decoder.concatenate
  /// Whether texts start with `begin`.
  var addsBegin = false
  var begin: Int?
  /// Id that is put after a text.
  var last: Int?
  var unknown: Int?
  /// Whether a run of characters without a token becomes one `unknown`.
  var fusesUnknown = false
  /// Whether a piece that is in `words` becomes that token without merges.
  var takesWholePieces = false
  /// Whether sums of scores are those of 32-bit floats.
  var roundsSums = false
  var unknownScore: Int32 = 0
  /// The most characters of a word that WordPiece cuts.
  var wordLimit = 0
  var ends: [Int] = []
  /// Bytes of each id; an id that is not used has none.
  var tokens: [[UInt8]]
  /// Ids found in the text before anything else; true for control tokens.
  var added: [Int: Bool] = [:]
  var addedOptions: [Int: AddedOptions] = [:]
  /// [256] id of each byte, for byte-level BPE, scored BPE and unigram.
  var byteIds: [Int?] = []
  /// Ids that single characters start from.
  var characters: [Int] = []
  var words: [Int] = []
  /// Score of each id in `words` of unigram.
  var scores: [Int: Int32] = [:]
  var merges: [Merge] = []
  /// Classes of characters; nil for those that the pre-tokenizer needs.
  var ranges: [CharacterRange]?
  var map: [Replacement] = []
  /// Canonical combining classes and compositions, for a normalizer that orders and composes.
  var canonical = CanonicalTables()

  /// The section's bytes, as `Formats/curta-tokenizer.md` lays them out.
  ///
  /// - Throws: `ImportError.unsupported` where a limit of the format is passed.
  func section(file: String) throws(ImportError) -> [UInt8] {
    let ranges = self.ranges ?? CharacterRange.all(for: preTokenizer)
    let sortedEnds = Set(ends).sorted()
    let textBytes = tokens.reduce(0) { $0 + $1.count }
    let map = TokenizerMap(self.map)
    try checkLimits(textBytes, map)
    for id in sortedEnds + [begin, last, unknown].compactMap({ $0 })
    where !tokens.indices.contains(id) {
      throw .bad(
        .outOfRange, file: file, field: "begin, end and unknown tokens",
        "id \(id), but there are only \(tokens.count) tokens",
        advice: "use the tokenizer that belongs to this configuration")
    }
    let normalized = added.keys.filter { addedOptions[$0]?.contains(.normalized) == true }
    let raw = added.keys.filter { addedOptions[$0]?.contains(.normalized) != true }

    var out = LittleEndianWriter()
    out.append(1)  // layout
    out.append(kind.rawValue)
    out.append(preTokenizer.rawValue)
    out.append(normalizer.rawValue)
    out.append(decoder.rawValue)
    let flags = [addsBegin, last != nil, fusesUnknown, takesWholePieces, roundsSums]
    var bits: UInt32 = 0
    for (bit, flag) in flags.enumerated() where flag { bits |= 1 << UInt32(bit) }
    out.append(bits)
    out.append(begin)
    out.append(last)
    out.append(unknown)
    out.append(UInt32(bitPattern: unknownScore))
    out.append(UInt32(wordLimit))
    let counts: [Int] = [
      tokens.count, sortedEnds.count, added.count, normalized.count, characters.count, words.count,
      merges.count, ranges.count, map.words.count, canonical.marks.count,
      canonical.compositions.count,
      map.texts.count, map.growth, textBytes,
    ]
    for count in counts { out.append(UInt32(count)) }

    var offset: UInt32 = 0
    for (id, token) in tokens.enumerated() {
      let flags: UInt32 = added[id].map { $0 ? 3 << 30 : 1 << 30 } ?? 0
      out.append(offset | flags)
      offset += UInt32(token.count)
    }
    out.append(offset)
    for id in sortedEnds { out.append(UInt32(id)) }
    for id in sortedByText(raw) + sortedByText(normalized) {
      let options = addedOptions[id] ?? []
      out.append(UInt32(id) | options.intersection([.stripLeft, .stripRight]).rawValue)
    }
    for id in byteIds { out.append(id) }
    for id in sortedByText(characters) {
      for i in 0..<4 { out.bytes.append(i < tokens[id].count ? tokens[id][i] : 0) }
      out.append(UInt32(id))
    }
    let sortedWords = sortedByText(words)
    for id in sortedWords { out.append(UInt32(id)) }
    if kind == .unigram {
      for id in sortedWords { out.append(UInt32(bitPattern: scores[id] ?? 0)) }
    }
    if kind.hasMerges { appendMerges(to: &out) }
    out.append(ranges)
    for word in map.words { out.append(word) }
    out.append(canonical.marks)
    for item in canonical.compositions {
      out.append(item.first)
      out.append(item.second)
      out.append(item.composed)
    }
    out.bytes += map.texts
    for token in tokens { out.bytes += token }
    return out.bytes
  }

  private func appendMerges(to out: inout LittleEndianWriter) {
    let sorted = merges.sorted { ($0.left, $0.right) < ($1.left, $1.right) }
    var next = 0
    for left in 0...tokens.count {
      while next < sorted.count, sorted[next].left < left { next += 1 }
      out.append(UInt32(next))
    }
    for merge in sorted {
      out.append(UInt32(merge.right))
      out.append(UInt32(merge.merged))
      out.append(UInt32(merge.rank))
    }
  }

  private func sortedByText(_ ids: some Sequence<Int>) -> [Int] {
    ids.sorted { tokens[$0].lexicographicallyPrecedes(tokens[$1]) }
  }

  /// The limits of `Formats/curta-tokenizer.md`, section "Limits".
  private func checkLimits(_ textBytes: Int, _ map: TokenizerMap) throws(ImportError) {
    let longest = tokens.map(\.count).max() ?? 0
    let longestAdded = added.keys.map { tokens[$0].count }.max() ?? 0
    let longestEntry = self.map.map(\.replacement.count).max() ?? 0
    let limits: [(String, Int, Int)] = [
      ("tokens", tokens.count, 1 << 20), ("bytes of one token", longest, 1024),
      ("end tokens", Set(ends).count, 64), ("added tokens", added.count, 1 << 14),
      ("bytes of one added token", longestAdded, 128), ("merges", merges.count, 1 << 22),
      ("words of the normalizer's map", map.words.count, 1 << 22),
      ("bytes of all replacements", map.texts.count, 1 << 21),
      ("bytes of one replacement", longestEntry, 255),
      ("times the bytes by a replacement", map.growth, 32),
      ("characters of a word", wordLimit, 1 << 12),
      ("bytes of all tokens", textBytes, 1 << 28),
    ]
    let passed = limits.filter { $0.1 > $0.2 }.map { "\($0.1) \($0.0) (at most \($0.2))" }
    guard passed.isEmpty else { throw .unsupported(passed) }
    let texts = Set(added.keys.map { tokens[$0] })
    guard texts.count == added.count else { throw .unsupported(["added tokens of one text"]) }
  }
}

/// Bytes with 32-bit little-endian numbers.
struct LittleEndianWriter {
  var bytes: [UInt8] = []

  mutating func append(_ value: UInt32) {
    for shift in stride(from: UInt32(0), to: 32, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }

  /// An id, or all ones for none.
  mutating func append(_ id: Int?) { append(id.map { UInt32($0) } ?? UInt32.max) }

  mutating func append(_ ranges: [CharacterRange]) {
    for range in ranges {
      append(range.first)
      append(range.last | range.kind << 24)
    }
  }
}
