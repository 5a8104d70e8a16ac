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
  let normalizer: NormalizerKind
  let decoder: DecoderKind
  /// Whether `encode` puts `bos` first when its caller allows it.
  public let addsBos: Bool
  /// Id of the token that starts a text, -1 for none.
  public let bos: Int32
  /// Id that stands for text without a token, -1 for none.
  public let unknown: Int32
  /// Number of ids.
  public let vocabularySize: Int

  let entries: Words  // u32[vocabulary + 1] TokenEntry
  let ends: Words  // u32[ends] ids, ascending
  let added: Words  // u32[added] ids, ascending by text
  let byteIds: Words  // u32[256] id of each byte or `none`; empty for words
  let characters: Words  // {u8[4] text, u32 id}[characters], ascending by text
  let words: Words  // u32[words] ids, ascending by text
  let mergeStart: Words  // u32[vocabulary + 1] first merge of each left id
  let merges: Words  // {u32 right, u32 merged, u32 rank}[merges], ascending by right
  let ranges: Words  // {u32 first, u32 last | class << 24}[ranges], ascending
  let text: UnsafePointer<UInt8>  // u8[textBytes] all tokens, one after the other
  let textBytes: UInt32
  /// First bytes of the added tokens.
  var addedStarts = ByteSet()

  /// Id that means "none" in the tables.
  static let none: UInt32 = 0xFFFF_FFFF

  /// Checks a decoded tokenizer section in one pass over its bytes.
  ///
  /// - Throws: `unsupported` for a layout, kind or flag of a later version, `overLimit` for a
  ///   count above `TokenizerLimits`, `badTokenizer` for everything else that is wrong.
  public init(_ section: ByteView) throws(CurtaError) {
    guard section.count >= TokenizerHeader.size else { throw Tokenizer.bad(section.count) }
    typealias Field = TokenizerHeader
    func field(_ offset: Int) throws(CurtaError) -> UInt32 { try section.u32(offset) }
    func count(_ offset: Int, _ limit: UInt32) throws(CurtaError) -> UInt32 {
      let value = try section.u32(offset)
      guard value <= limit else { throw Tokenizer.error(.overLimit, offset) }
      return value
    }
    func later(_ offset: Int) -> CurtaError { Tokenizer.error(.unsupported, offset) }

    guard try field(Field.layout) == TokenizerLimits.layout else { throw later(Field.layout) }
    guard let kind = TokenizerKind(rawValue: try field(Field.kind)) else {
      throw later(Field.kind)
    }
    guard let pretokenizer = PreTokenizerKind(rawValue: try field(Field.pretokenizer)) else {
      throw later(Field.pretokenizer)
    }
    guard let normalizer = NormalizerKind(rawValue: try field(Field.normalizer)) else {
      throw later(Field.normalizer)
    }
    guard let decoder = DecoderKind(rawValue: try field(Field.decoder)) else {
      throw later(Field.decoder)
    }
    let flags = try field(Field.flags)
    guard flags <= 1 else { throw later(Field.flags) }
    self.kind = kind
    self.pretokenizer = pretokenizer
    self.normalizer = normalizer
    self.decoder = decoder
    addsBos = flags == 1
    bos = try section.i32(Field.bos)
    unknown = try section.i32(Field.unknown)

    let vocabulary = try count(Field.vocabulary, TokenizerLimits.vocabulary)
    vocabularySize = Int(vocabulary)
    let pairs = kind != .word
    var cut = Cutter(section)
    entries = try cut.words(vocabulary &+ 1, each: 1)
    ends = try cut.words(count(Field.ends, TokenizerLimits.ends), each: 1)
    added = try cut.words(count(Field.added, TokenizerLimits.added), each: 1)
    byteIds = try cut.words(pairs ? 256 : 0, each: 1)
    characters = try cut.words(count(Field.characters, TokenizerLimits.vocabulary), each: 2)
    words = try cut.words(count(Field.words, TokenizerLimits.vocabulary), each: 1)
    mergeStart = try cut.words(pairs ? vocabulary &+ 1 : 0, each: 1)
    merges = try cut.words(count(Field.merges, TokenizerLimits.merges), each: 3)
    ranges = try cut.words(count(Field.ranges, TokenizerLimits.ranges), each: 2)
    textBytes = try count(Field.textBytes, TokenizerLimits.textBytes)
    text = try cut.rest(textBytes)
    try checkHeader()
    try checkTokens()
    try checkAdded()
    try checkCharacters()
    try checkWords()
    try checkMerges()
    try checkRanges()
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
