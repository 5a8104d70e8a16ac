// The tokenizer of a file: a view on its section, checked once, read in place.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Turns text into token ids and back, as `Formats/curta-tokenizer.md` says.
///
/// The struct points into the section, which must stay alive and unchanged. After `init` has
/// returned, every index in the section is known to be in range.
public struct Tokenizer: @unchecked Sendable {
  /// Kind of this section in `Formats/registry.tsv`.
  public static let section: UInt32 = 2

  let kind: TokenizerKind
  let pretokenizer: PreTokenizerKind
  let normalizer: NormalizerSteps
  let decoder: DecoderKind
  /// Whether `encode` puts `bos` first when its caller allows it.
  public let addsBos: Bool
  /// Whether `encode` puts `eos` last when its caller allows it.
  public let addsEos: Bool
  let fusesUnknown: Bool
  let takesWholePieces: Bool
  let rounds24: Bool
  /// Id of the token that starts a text, -1 for none.
  public let bos: Int32
  /// Id that `encode` puts last, -1 for none; the tokens that end a text are those of `isEnd`.
  public let eos: Int32
  /// Id that stands for text without a token, -1 for none.
  public let unknown: Int32
  let unknownScore: Int32
  let wordLimit: Int
  /// Number of ids.
  public let vocabularySize: Int

  let entries: Words  // u32[vocabulary + 1] TokenEntry
  let ends: Words  // u32[ends] ids, ascending
  let added: Words  // u32[added] AddedEntry, ascending by text, the normalized ones last
  let rawAdded: Int  // entries of `added` that are looked for before normalization
  let byteIds: Words  // u32[256] id of each byte or `none`; empty for words
  let characters: Words  // {u8[4] text, u32 id}[characters], ascending by text
  let words: Words  // u32[words] ids, ascending by text
  let scores: Words  // i32[words] of unigram, in units of 2^-n for any n
  let mergeStart: Words  // u32[vocabulary + 1] first merge of each left id
  let merges: Words  // {u32 right, u32 merged, u32 rank}[merges], ascending by right
  let ranges: Words  // {u32 first, u32 last | class << 24}[ranges], ascending
  let map: Words  // u32[map] MapNode, and its edges
  let marks: Words  // {u32 first, u32 last | combining class << 24}[marks], ascending
  let compositions: Words  // {u32 first, u32 second, u32 composed}[compositions], ascending
  let mapText: UnsafePointer<UInt8>  // {u8 size, u8[size]}, mapBytes in all
  let mapGrowth: Int  // most bytes of a replacement for one of its source
  let mapBytes: UInt32
  let text: UnsafePointer<UInt8>  // u8[textBytes] all tokens, one after the other
  let textBytes: UInt32
  /// First bytes of the added tokens, of those of normalized text, and of the map's sources.
  var addedStarts = ByteSet()
  var normalizedStarts = ByteSet()
  var mapStarts = ByteSet()
  /// The most bytes that the normalizer makes of one byte, spaces before segments not counted.
  var expansion = 1

  /// Id that means "none" in the tables.
  static let none: UInt32 = 0xFFFF_FFFF

  /// Checks a decoded tokenizer section in one pass over its bytes.
  ///
  /// - Throws: `unsupported` for a layout, kind or flag of a later version, `overLimit` for a
  ///   count above `TokenizerLimits`, `badTokenizer` for everything else that is wrong.
  public init(_ section: ByteView) throws(CurtaError) {
    guard section.count >= TokenizerHeader.size else { throw Tokenizer.bad(section.count) }
    typealias Field = TokenizerHeader
    typealias Limits = TokenizerLimits
    func field(_ offset: Int) throws(CurtaError) -> UInt32 { try section.u32(offset) }
    func count(_ offset: Int, _ limit: UInt32) throws(CurtaError) -> UInt32 {
      let value = try section.u32(offset)
      guard value <= limit else { throw Tokenizer.error(.overLimit, offset) }
      return value
    }
    func later(_ offset: Int) -> CurtaError { Tokenizer.error(.unsupported, offset) }

    guard try field(Field.layout) == Limits.layout else { throw later(Field.layout) }
    guard let kind = TokenizerKind(rawValue: try field(Field.kind)) else {
      throw later(Field.kind)
    }
    guard let pretokenizer = PreTokenizerKind(rawValue: try field(Field.pretokenizer)) else {
      throw later(Field.pretokenizer)
    }
    normalizer = NormalizerSteps(bits: try field(Field.normalizer))
    guard normalizer.bits <= NormalizerSteps.all else { throw later(Field.normalizer) }
    guard let decoder = DecoderKind(rawValue: try field(Field.decoder)) else {
      throw later(Field.decoder)
    }
    let flags = try field(Field.flags)
    guard flags <= TokenizerFlags.all else { throw later(Field.flags) }
    self.kind = kind
    self.pretokenizer = pretokenizer
    self.decoder = decoder
    addsBos = flags & TokenizerFlags.addBos != 0
    addsEos = flags & TokenizerFlags.addEos != 0
    fusesUnknown = flags & TokenizerFlags.fuseUnknown != 0
    takesWholePieces = flags & TokenizerFlags.wholePieces != 0
    rounds24 = flags & TokenizerFlags.round24 != 0
    bos = try section.i32(Field.bos)
    eos = try section.i32(Field.eos)
    unknown = try section.i32(Field.unknown)
    unknownScore = try section.i32(Field.unknownScore)
    wordLimit = Int(try count(Field.wordLimit, Limits.wordLimit))

    let vocabulary = try count(Field.vocabulary, Limits.vocabulary)
    vocabularySize = Int(vocabulary)
    let words = try count(Field.words, Limits.vocabulary)
    var cut = Cutter(section)
    entries = try cut.words(vocabulary &+ 1, each: 1)
    ends = try cut.words(count(Field.ends, Limits.ends), each: 1)
    added = try cut.words(count(Field.added, Limits.added), each: 1)
    let normalized = try field(Field.normalizedAdded)
    guard normalized <= UInt32(truncatingIfNeeded: added.count) else {
      throw Tokenizer.bad(Field.normalizedAdded)
    }
    rawAdded = added.count &- Int(normalized)
    byteIds = try cut.words(kind.hasByteIds ? 256 : 0, each: 1)
    characters = try cut.words(count(Field.characters, Limits.vocabulary), each: 2)
    self.words = try cut.words(words, each: 1)
    scores = try cut.words(kind == .unigram ? words : 0, each: 1)
    mergeStart = try cut.words(kind.hasMerges ? vocabulary &+ 1 : 0, each: 1)
    merges = try cut.words(count(Field.merges, Limits.merges), each: 3)
    ranges = try cut.words(count(Field.ranges, Limits.ranges), each: 2)
    map = try cut.words(count(Field.map, Limits.map), each: 1)
    marks = try cut.words(count(Field.marks, Limits.marks), each: 2)
    compositions = try cut.words(count(Field.compositions, Limits.compositions), each: 3)
    mapBytes = try count(Field.mapBytes, Limits.mapBytes)
    mapText = try cut.bytes(mapBytes)
    mapGrowth = Int(try count(Field.mapGrowth, Limits.mapGrowth))
    textBytes = try count(Field.textBytes, Limits.textBytes)
    text = try cut.bytes(textBytes)
    try cut.finish()
    try checkHeader()
    try checkTokens()
    try checkAdded()
    try checkCharacters()
    try checkWords()
    try checkMerges()
    try checkRanges()
    try checkMap()
    try checkCanonical()
  }

  static func error(_ status: Status, _ offset: Int) -> CurtaError {
    CurtaError(status, section: section, at: UInt64(truncatingIfNeeded: offset))
  }

  static func bad(_ offset: Int) -> CurtaError { error(.badTokenizer, offset) }
}

// MARK: - Tokens

extension Tokenizer {
  /// Whether `token` ends a text.
  public func isEnd(_ token: Int32) -> Bool {
    guard token >= 0 else { return false }
    for i in 0..<ends.count where ends[i] == UInt32(token) { return true }
    return false
  }

  /// Whether `token` is a mark such as the end of the text, which decodes to nothing.
  public func isControl(_ token: Int32) -> Bool {
    guard token >= 0, token < vocabularySize else { return false }
    return entries[Int(token)] & TokenEntry.control != 0
  }

  /// The bytes that `token` stands for, in the section; they need not be whole characters.
  ///
  /// - Throws: `badArgument` for an id outside the vocabulary.
  public func bytes(of token: Int32) throws(CurtaError) -> ByteView {
    guard token >= 0, token < vocabularySize else { throw CurtaError(.badArgument) }
    let id = Int(token)
    return ByteView(UnsafeRawPointer(text + start(id)), count: length(id))
  }

  func start(_ id: Int) -> Int { Int(entries[id] & TokenEntry.offsetMask) }

  func length(_ id: Int) -> Int { start(id &+ 1) &- start(id) }

  /// Order of the bytes of token `id` and of `other`: negative, 0 or positive like `memcmp`.
  func compare(_ id: Int, _ other: UnsafePointer<UInt8>, _ count: Int) -> Int {
    let own = text + start(id)
    let ownCount = length(id)
    var i = 0
    while i < ownCount, i < count {
      if own[i] != other[i] { return own[i] < other[i] ? -1 : 1 }
      i &+= 1
    }
    return ownCount &- count
  }
}
