// The numbers of the tokenizer section: header offsets, enumerations and limits of layout 1.
// SPDX-License-Identifier: Apache-2.0

/// Byte offsets of the header fields, each 32 bits (`Formats/curta-tokenizer.md`, "Header").
enum TokenizerHeader {
  static let layout = 0
  static let kind = 4
  static let pretokenizer = 8
  static let normalizer = 12
  static let decoder = 16
  static let flags = 20
  static let bos = 24
  static let eos = 28
  static let unknown = 32
  static let unknownScore = 36
  static let wordLimit = 40
  static let vocabulary = 44
  static let ends = 48
  static let added = 52
  static let normalizedAdded = 56
  static let characters = 60
  static let words = 64
  static let merges = 68
  static let ranges = 72
  static let map = 76
  static let marks = 80
  static let compositions = 84
  static let mapBytes = 88
  static let mapGrowth = 92
  static let textBytes = 96
  static let size = 100
}

/// The most of everything that a section may hold; quoted in `Formats/curta-tokenizer.md`.
public enum TokenizerLimits {
  public static let layout: UInt32 = 1
  public static let vocabulary: UInt32 = 1 << 20
  public static let tokenBytes: UInt32 = 1024
  public static let ends: UInt32 = 64
  public static let added: UInt32 = 1 << 14
  /// Bytes of the literal text of an added token.
  public static let addedBytes: UInt32 = 128
  public static let merges: UInt32 = 1 << 22
  public static let ranges: UInt32 = 1 << 13
  /// Words of the map.
  public static let map: UInt32 = 1 << 22
  /// Bytes of the replacements.
  public static let mapBytes: UInt32 = 1 << 21
  /// A replacement has at most this many times the bytes of its source.
  public static let mapGrowth: UInt32 = 32
  public static let marks: UInt32 = 1 << 12
  public static let compositions: UInt32 = 1 << 13
  /// Bytes of all tokens together.
  public static let textBytes: UInt32 = 1 << 28
  /// A merge rank is below this.
  public static let rank: UInt32 = 1 << 31
  /// Characters of a word that WordPiece looks at, at most.
  public static let wordLimit: UInt32 = 1 << 12
  /// Bytes of one text given to `encode`, and of what a normalizer makes of one segment.
  public static let input = 1 << 26
  /// Bytes that one call of `TokenDecoder.decode` or `flush` can write at most.
  ///
  /// Three for a held-back tail that turns out invalid, one space, and three for each byte of
  /// a token when none of them is valid.
  public static let decodedBytes = 3 + 1 + 3 * 1024
}

/// How text becomes token ids.
enum TokenizerKind: UInt32 {
  /// Merges by rank, starting from single bytes.
  case byteBPE = 1
  /// Merges by rank, starting from characters; unknown characters fall back to their bytes.
  case scoredBPE = 2
  /// Whole words.
  case word = 3
  /// The split whose tokens have the highest sum of scores.
  case unigram = 4
  /// The longest token first, inside each word.
  case wordPiece = 5

  /// Whether the section has a table of byte tokens.
  var hasByteIds: Bool { self == .byteBPE || self == .scoredBPE || self == .unigram }

  /// Whether the section has merges.
  var hasMerges: Bool { self == .byteBPE || self == .scoredBPE }
}

/// How text is cut before it is tokenized.
enum PreTokenizerKind: UInt32 {
  case none = 0
  /// The regular expression of GPT-2.
  case gpt2 = 1
  /// Runs of what is not white space.
  case whitespace = 2
  /// Every number character by itself, the rest by the regular expression of GPT-2.
  case digitsGPT2 = 3
  /// The regular expression of Llama 3: numbers in groups of three.
  case llama3 = 4
  /// The regular expression of Qwen 2: the same, every number character by itself.
  case qwen2 = 5
  /// A piece begins at each U+0020.
  case spaces = 6
  /// Runs of what is neither white space nor punctuation, and each punctuation character.
  case bert = 7
}

/// What is done to the text of a segment first: bits of the header field `normalizer`.
struct NormalizerSteps {
  let bits: UInt32

  /// A space before a segment that is not empty.
  static let prefix: UInt32 = 1 << 0
  /// Only before a segment that begins where the text does.
  static let prefixFirst: UInt32 = 1 << 1
  /// Not before a segment that begins with a space.
  static let prefixUnlessSpace: UInt32 = 1 << 2
  /// U+2581 (`▁`) counts as a space.
  static let metaspace: UInt32 = 1 << 3
  /// Of a run of spaces the first stays.
  static let collapse: UInt32 = 1 << 4
  /// No spaces at the start.
  static let stripStart: UInt32 = 1 << 5
  /// No spaces at the end.
  static let stripEnd: UInt32 = 1 << 6
  /// No characters of class space at the end.
  static let trimEnd: UInt32 = 1 << 7
  /// Bytes that are not UTF-8 become U+FFFD.
  static let repair: UInt32 = 1 << 8
  /// Hangul syllables become their jamo.
  static let hangul: UInt32 = 1 << 9
  /// Runs of what is not of class space, a space before each.
  static let words: UInt32 = 1 << 10
  /// Characters of class dropped go, those of class spaced get spaces around.
  static let classes: UInt32 = 1 << 11
  static let all: UInt32 = (1 << 12) - 1

  func has(_ step: UInt32) -> Bool { bits & step != 0 }

  /// Whether a segment can get a space that was not in the text.
  var addsSpace: Bool { has(NormalizerSteps.prefix | NormalizerSteps.words) }

  /// Whether the steps ask for the class of a character after the map.
  var looksAtSpaces: Bool { has(NormalizerSteps.words | NormalizerSteps.trimEnd) }
}

/// Bits of the header field `flags`.
enum TokenizerFlags {
  static let addBos: UInt32 = 1 << 0
  static let addEos: UInt32 = 1 << 1
  /// Neighbouring characters without a token become one `unknown`.
  static let fuseUnknown: UInt32 = 1 << 2
  /// A whole piece that is a token becomes it, whatever the merges say.
  static let wholePieces: UInt32 = 1 << 3
  /// Sums of scores are rounded to 24 significant bits.
  static let round24: UInt32 = 1 << 4
  static let all: UInt32 = (1 << 5) - 1
}

/// How the texts of tokens are put together.
enum DecoderKind: UInt32 {
  case concatenate = 0
  /// One space between tokens.
  case spaced = 1
  /// Concatenate, but drop one space at the start of the text.
  case stripAtStart = 2
  /// The same, and after each `bos`; the token of byte 0x20 keeps its space.
  case stripAfterBos = 3
  /// One space between tokens, but a token that begins with `##` loses these and gets none.
  case wordPiece = 4
  /// The same, and no space before marks such as `.` or `'s`.
  case wordPieceClean = 5
  /// The token that starts the text loses all its spaces.
  case stripAllAtStart = 6
}

/// Class of a character as the pre-tokenizers see it.
enum CharacterClass: UInt32 {
  case other = 0
  case letter = 1
  case number = 2
  case space = 3
  case punctuation = 4
  /// Gets a space before and after it.
  case spaced = 5
  /// Is left out.
  case dropped = 6
}

/// Bits of a token entry: 0–29 are the offset of its first byte.
enum TokenEntry {
  static let offsetMask: UInt32 = (1 << 30) - 1
  /// The text is looked for in the input before anything else.
  static let added: UInt32 = 1 << 30
  /// Never made from plain text, and silent when decoded, unless the caller asks.
  static let control: UInt32 = 1 << 31
}

/// Bits of an entry of the table `added`: 0–23 are the id.
enum AddedEntry {
  static let idMask: UInt32 = (1 << 24) - 1
  /// The token takes the white space before it.
  static let stripLeft: UInt32 = 1 << 24
  /// The token takes the white space after it.
  static let stripRight: UInt32 = 1 << 25
}
