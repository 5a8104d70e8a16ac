// What a tokenizer section holds, and how it is laid out in bytes.
// SPDX-License-Identifier: Apache-2.0

/// The contents of a tokenizer section before it becomes bytes.
struct TokenizerTables {
  enum Kind: UInt32 {
    case byteBPE = 1
    case scoredBPE, word
  }
  enum PreTokenizer: UInt32 { case none, gpt2, whitespace, digitsGPT2 }
  enum Normalizer: UInt32 { case none, prefixSpace, prefixSpaceMetaspace }
  enum Decoder: UInt32 { case concatenate, spaced, stripAtStart, stripAfterBos }

  /// Two neighbouring tokens and the token they become; the lowest rank goes first.
  struct Merge {
    var left: Int
    var right: Int
    var merged: Int
    var rank: Int
  }

  var kind: Kind
  var preTokenizer = PreTokenizer.none
  var normalizer = Normalizer.none
  var decoder = Decoder.concatenate
  /// Whether texts start with `begin`.
  var addsBegin = false
  var begin: Int?
  var unknown: Int?
  var ends: [Int] = []
  /// Bytes of each id; an id that is not used has none.
  var tokens: [[UInt8]]
  /// Ids found in the text before anything else; true for control tokens.
  var added: [Int: Bool] = [:]
  /// [256] id of each byte, for the two kinds of BPE.
  var byteIds: [Int?] = []
  /// Ids that single characters start from.
  var characters: [Int] = []
  var words: [Int] = []
  var merges: [Merge] = []

  /// The section's bytes, as `Formats/curta-tokenizer.md` lays them out.
  ///
  /// - Throws: `ImportError.unsupported` where a limit of the format is passed.
  func section(file: String) throws(ImportError) -> [UInt8] {
    let ranges = CharacterRange.all(for: preTokenizer)
    let sortedEnds = Set(ends).sorted()
    let textBytes = tokens.reduce(0) { $0 + $1.count }
    try checkLimits(textBytes)
    for id in sortedEnds + [begin, unknown].compactMap({ $0 }) where !tokens.indices.contains(id) {
      throw .bad(
        .outOfRange, file: file, field: "begin, end and unknown tokens",
        "id \(id), but there are only \(tokens.count) tokens",
        advice: "use the tokenizer that belongs to this configuration")
    }

    var out = LittleEndianWriter()
    out.append(1)  // layout
    out.append(kind.rawValue)
    out.append(preTokenizer.rawValue)
    out.append(normalizer.rawValue)
    out.append(decoder.rawValue)
    out.append(addsBegin ? 1 : 0)
    out.append(begin)
    out.append(unknown)
    for count in [
      tokens.count, sortedEnds.count, added.count, characters.count, words.count, merges.count,
      ranges.count, textBytes,
    ] {
      out.append(UInt32(count))
    }

    var offset: UInt32 = 0
    for (id, token) in tokens.enumerated() {
      let flags: UInt32 = added[id].map { $0 ? 3 << 30 : 1 << 30 } ?? 0
      out.append(offset | flags)
      offset += UInt32(token.count)
    }
    out.append(offset)
    for id in sortedEnds { out.append(UInt32(id)) }
    for id in sortedByText(added.keys) { out.append(UInt32(id)) }
    for id in byteIds { out.append(id) }
    for id in sortedByText(characters) {
      for i in 0..<4 { out.bytes.append(i < tokens[id].count ? tokens[id][i] : 0) }
      out.append(UInt32(id))
    }
    for id in sortedByText(words) { out.append(UInt32(id)) }
    if kind != .word { appendMerges(to: &out) }
    for range in ranges {
      out.append(range.first)
      out.append(range.last | range.kind.rawValue << 24)
    }
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
  private func checkLimits(_ textBytes: Int) throws(ImportError) {
    let longest = tokens.map(\.count).max() ?? 0
    let longestAdded = added.keys.map { tokens[$0].count }.max() ?? 0
    let limits = [
      ("tokens", tokens.count, 1 << 20), ("bytes of one token", longest, 1024),
      ("end tokens", Set(ends).count, 64), ("added tokens", added.count, 4096),
      ("bytes of one added token", longestAdded, 128), ("merges", merges.count, 1 << 22),
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
}
