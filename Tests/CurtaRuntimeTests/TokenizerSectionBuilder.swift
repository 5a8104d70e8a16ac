// Small tokenizer sections made by hand, so that each field can be made wrong on its own.
// SPDX-License-Identifier: Apache-2.0

/// A section as `Formats/curta-tokenizer.md` lays it out; nothing is checked here.
struct SectionBuilder {
  struct Merge {
    var left: Int
    var right: Int
    var merged: Int
    var rank: UInt32
  }

  var layout: UInt32 = 1
  var kind: UInt32
  var pretokenizer: UInt32 = 0
  var normalizer: UInt32 = 0
  var decoder: UInt32 = 0
  var flags: UInt32 = 0
  var bos: Int32 = -1
  var eos: Int32 = -1
  var unknown: Int32 = -1
  var unknownScore: Int32 = 0
  var wordLimit: UInt32 = 0
  var tokens: [[UInt8]] = []
  var ends: [UInt32] = []
  var added: [Int: Bool] = [:]  // id: control
  var addedFlags: [Int: UInt32] = [:]  // id: bits 24 and 25
  var normalizedAdded: Set<Int> = []
  var byteIds: [UInt32] = []
  var characters: [Int] = []
  var words: [Int] = []
  var scores: [Int: Int32] = [:]
  var merges: [Merge] = []
  var ranges: [(UInt32, UInt32, UInt32)] = []  // first, last, class
  var map: [UInt32] = []
  var replacements: [UInt8] = []
  var mapGrowth: UInt32 = 0
  var marks: [(UInt32, UInt32, UInt32)] = []  // first, last, combining class
  var compositions: [(UInt32, UInt32, UInt32)] = []

  mutating func add(_ text: String) -> Int {
    tokens.append(Array(text.utf8))
    return tokens.count - 1
  }

  /// Adds tokens for all 256 bytes.
  mutating func addBytes() {
    byteIds = (0..<256).map { UInt32(tokens.count + $0) }
    tokens += (0..<256).map { [UInt8($0)] }
  }

  /// Adds every merge of two tokens from `ids` whose text is `merged`'s.
  mutating func addMerges(to merged: Int, from ids: some Sequence<Int>, rank: UInt32) {
    for left in ids where tokens[merged].starts(with: tokens[left]) && !tokens[left].isEmpty {
      let rest = Array(tokens[merged].dropFirst(tokens[left].count))
      for right in ids where !rest.isEmpty && tokens[right] == rest {
        merges.append(Merge(left: left, right: right, merged: merged, rank: rank))
      }
    }
  }

  func bytes() -> [UInt8] {
    var out: [UInt8] = []
    func put(_ value: UInt32) {
      for shift in 0..<4 { out.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * shift))) }
    }
    let text = tokens.flatMap { $0 }
    for value in [layout, kind, pretokenizer, normalizer, decoder, flags] { put(value) }
    for id in [bos, eos, unknown, unknownScore] { put(UInt32(bitPattern: id)) }
    put(wordLimit)
    let counts = [
      tokens.count, ends.count, added.count, normalizedAdded.count, characters.count, words.count,
      merges.count, ranges.count, map.count, marks.count, compositions.count, replacements.count,
      Int(mapGrowth), text.count,
    ]
    for count in counts { put(UInt32(count)) }
    var offset = 0
    for (id, token) in tokens.enumerated() {
      put(UInt32(offset) | (added[id].map { $0 ? 3 << 30 : 1 << 30 } ?? 0))
      offset += token.count
    }
    put(UInt32(offset))
    for id in ends { put(id) }
    let raw = sorted(added.keys.filter { !normalizedAdded.contains($0) })
    for id in raw + sorted(normalizedAdded) { put(UInt32(id) | (addedFlags[id] ?? 0)) }
    for id in byteIds { put(id) }
    for id in sorted(characters) {
      out += (tokens[id] + [0, 0, 0]).prefix(4)
      put(UInt32(id))
    }
    for id in sorted(words) { put(UInt32(id)) }
    if kind == 4 {
      for id in sorted(words) { put(UInt32(bitPattern: scores[id] ?? 0)) }
    }
    if kind < 3 {
      let sorted = merges.sorted { ($0.left, $0.right) < ($1.left, $1.right) }
      for left in 0...tokens.count { put(UInt32(sorted.count { $0.left < left })) }
      for merge in sorted {
        put(UInt32(merge.right))
        put(UInt32(merge.merged))
        put(merge.rank)
      }
    }
    for (first, last, kind) in ranges {
      put(first)
      put(last | kind << 24)
    }
    for word in map { put(word) }
    for (first, last, kind) in marks {
      put(first)
      put(last | kind << 24)
    }
    for (first, second, composed) in compositions { [first, second, composed].forEach(put) }
    return out + replacements + text
  }

  private func sorted(_ ids: some Sequence<Int>) -> [Int] {
    ids.sorted { tokens[$0].lexicographicallyPrecedes(tokens[$1]) }
  }
}

extension SectionBuilder {
  /// Letters, digits and spaces of a few scripts.
  static let someRanges: [(UInt32, UInt32, UInt32)] = [
    (0x09, 0x0D, 3), (0x20, 0x20, 3), (0x30, 0x39, 2), (0x41, 0x5A, 1), (0x61, 0x7A, 1),
    (0xB2, 0xB3, 2), (0xC0, 0xD6, 1), (0xE0, 0xF6, 1), (0x3000, 0x3000, 3), (0x4E00, 0x9FFF, 1),
    (0x1D7CE, 0x1D7FF, 2),
  ]

  /// Byte-level BPE whose merges overlap each other in many ways.
  static func bytePairs(pretokenizer: UInt32 = 1) -> SectionBuilder {
    var builder = SectionBuilder(kind: 1, pretokenizer: pretokenizer)
    _ = builder.add("<end>")
    builder.added = [0: true]
    builder.flags = 1
    builder.bos = 0
    builder.ends = [0]
    builder.addBytes()
    let texts = [
      "ab", "bc", "aa", "aaa", "aaaa", " a", " ab", "abc", "\u{E9}", "\u{4E2D}", "  ", "12", "'s",
      "bcab", "aab", "abab",
    ]
    for text in texts {
      let id = builder.add(text)
      builder.addMerges(to: id, from: 1...id, rank: UInt32(id))
    }
    builder.added[builder.add("<x>")] = false
    builder.added[builder.add("<xy>")] = true
    builder.ranges = pretokenizer == 0 ? [] : someRanges
    return builder
  }

  /// Scored BPE with equal scores, byte fallback and a prefix space.
  static func scored(normalizer: UInt32 = 1, decoder: UInt32 = 3) -> SectionBuilder {
    var builder = SectionBuilder(kind: 2, normalizer: normalizer, decoder: decoder)
    _ = builder.add("<unk>")
    _ = builder.add("<s>")
    builder.added = [0: true, 1: true]
    builder.flags = 1
    builder.bos = 1
    builder.unknown = 0
    builder.ends = [1]
    builder.addBytes()
    let first = builder.tokens.count
    for text in [" ", "a", "b", "c", "\u{E9}", "\u{4E2D}"] {
      builder.characters.append(builder.add(text))
    }
    let texts = [
      ("ab", 1), ("ba", 1), ("aa", 2), ("bb", 2), ("abb", 1), ("bba", 0), ("aaa", 3), ("cab", 2),
      (" a", 2), (" ab", 2), ("  ", 3), ("abba", 3), ("\u{E9}\u{4E2D}", 0),
    ]
    for (text, rank) in texts {
      let id = builder.add(text)
      builder.addMerges(to: id, from: first...id, rank: UInt32(rank))
    }
    return builder
  }

  /// Five words and an unknown one.
  static func words() -> SectionBuilder {
    var builder = SectionBuilder(kind: 3, pretokenizer: 2, decoder: 1)
    builder.words = ["one", "two", "a", "\u{E9}t\u{E9}", ":"].map { builder.add($0) }
    builder.unknown = Int32(builder.add("<unk>"))
    builder.added = [Int(builder.unknown): true, builder.add("<end>"): true]
    builder.ends = [6]
    builder.ranges = someRanges.filter { $0.2 == 3 }
    return builder
  }

  /// Unigram with ties, unknown characters and a map that folds and drops.
  static func unigram(flags: UInt32 = 0x14, normalizer: UInt32 = 0x17B) -> SectionBuilder {
    var builder = SectionBuilder(kind: 4, pretokenizer: 6, normalizer: normalizer, decoder: 6)
    builder.unknown = Int32(builder.add("<unk>"))
    builder.eos = Int32(builder.add("</s>"))
    builder.flags = flags | 2
    builder.added = [0: true, 1: true]
    builder.byteIds = [UInt32](repeating: .max, count: 256)
    for byte in [0xC3, 0xA9, 0xFF] {
      builder.byteIds[byte] = UInt32(builder.tokens.count)
      builder.tokens.append([UInt8(byte)])
    }
    let pieces = [
      " ", "a", "b", "ab", "aa", "ba", "bb", " a", " ab", "bc", "c", "\u{4E2D}", "one", "12",
    ]
    for (place, piece) in pieces.enumerated() {
      let id = builder.add(piece)
      builder.words.append(id)
      builder.scores[id] = -Int32(piece.utf8.count) * 40_000_003 - Int32(place % 3)
    }
    builder.unknownScore = -400_000_000
    builder.setMap()
    builder.ranges = someRanges.filter { $0.2 == 3 }
    builder.normalizedAdded = [builder.add("<x>")]
    builder.added[builder.tokens.count - 1] = false
    return builder
  }

  /// `a` becomes `bc`, `ab` nothing, U+00B2 `2`: the example of curta-tokenizer.md, and one more.
  mutating func setMap() {
    map = [
      0x8000_0002, 0x3080_0003, 0x6100_0007, 0x8000_0201, 0x3100_0005, 0x8000_0800,
      0x8000_0000, 0x8000_0001, 0x5900_0009, 0x8000_0A00,
    ]
    replacements = [2, 0x62, 0x63, 0, 1, 0x32]
    mapGrowth = 2
  }

  /// WordPiece with classes, jamo, marks and their compositions.
  static func wordPiece() -> SectionBuilder {
    var builder = SectionBuilder(kind: 5, pretokenizer: 7, normalizer: 0xA00, decoder: 5)
    builder.unknown = Int32(builder.add("[UNK]"))
    builder.bos = Int32(builder.add("[CLS]"))
    builder.eos = Int32(builder.add("<s>"))
    builder.added = [0: true, 1: true, 2: true]
    builder.addedFlags[2] = 3 << 24
    builder.flags = 3
    builder.wordLimit = 8
    let texts = [
      "a", "##a", "##b", "ab", "##bb", "one", "##one", "!", ":", "\u{4E2D}", "'", "##s", "12",
      "##2",
      "##\u{E9}", "\u{E9}", "\u{AC00}", "\u{1E69}",
    ]
    builder.words = texts.map { builder.add($0) }
    builder.ranges = [
      (0x07, 0x08, 6), (0x09, 0x0D, 3), (0x20, 0x20, 3), (0x21, 0x2F, 4), (0x3A, 0x3F, 4),
      (0x3000, 0x3000, 3), (0x4E00, 0x9FFF, 5), (0xFE00, 0xFE0F, 6),
    ]
    builder.marks = [(0x300, 0x314, 230), (0x323, 0x323, 220)]
    builder.compositions = [
      (0x65, 0x301, 0xE9), (0x73, 0x323, 0x1E63), (0x1E63, 0x307, 0x1E69),
    ]
    return builder
  }

  /// Byte-level BPE that takes whole pieces.
  static func wholePieces(pretokenizer: UInt32) -> SectionBuilder {
    var builder = bytePairs(pretokenizer: pretokenizer)
    builder.flags |= 8
    builder.words = [builder.add(" one"), builder.add("abcab"), builder.add("123")]
    builder.normalizer = 0x5
    return builder
  }

  /// Scored BPE without most bytes, for a first segment with a space unless it has one.
  static func unknownFused() -> SectionBuilder {
    var builder = scored(normalizer: 0xF, decoder: 2)
    builder.flags |= 4
    for byte in 0..<256 where byte % 3 == 0 { builder.byteIds[byte] = UInt32.max }
    builder.pretokenizer = 6
    return builder
  }

  static let all = [
    bytePairs(), bytePairs(pretokenizer: 0), bytePairs(pretokenizer: 3), scored(),
    scored(normalizer: 9, decoder: 2), scored(normalizer: 0, decoder: 0), words(), unigram(),
    unigram(flags: 0, normalizer: 0x48C), wordPiece(), wholePieces(pretokenizer: 4),
    wholePieces(pretokenizer: 5), unknownFused(),
  ]
}
