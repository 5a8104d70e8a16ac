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
  static let unknown = 28
  static let vocabulary = 32
  static let ends = 36
  static let added = 40
  static let characters = 44
  static let words = 48
  static let merges = 52
  static let ranges = 56
  static let textBytes = 60
  static let size = 64
}

/// The most of everything that a section may hold; quoted in `Formats/curta-tokenizer.md`.
public enum TokenizerLimits {
  public static let layout: UInt32 = 1
  public static let vocabulary: UInt32 = 1 << 20
  public static let tokenBytes: UInt32 = 1024
  public static let ends: UInt32 = 64
  public static let added: UInt32 = 4096
  /// Bytes of the literal text of an added token.
  public static let addedBytes: UInt32 = 128
  public static let merges: UInt32 = 1 << 22
  public static let ranges: UInt32 = 1 << 13
  /// Bytes of all tokens together.
  public static let textBytes: UInt32 = 1 << 28
  /// A merge rank is below this.
  public static let rank: UInt32 = 1 << 31
  /// Bytes of one text given to `encode`.
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
}

/// What is done to the text of a segment first.
enum NormalizerKind: UInt32 {
  case none = 0
  /// One space before a segment that is not empty.
  case prefixSpace = 1
  /// The same, and U+2581 (`▁`) counts as a space.
  case prefixSpaceMetaspace = 2
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
}

/// Class of a character as the pre-tokenizers see it.
enum CharacterClass: UInt32 {
  case other = 0
  case letter = 1
  case number = 2
  case space = 3
}

/// Bits of a token entry: 0–29 are the offset of its first byte.
enum TokenEntry {
  static let offsetMask: UInt32 = (1 << 30) - 1
  /// The text is looked for in the input before anything else.
  static let added: UInt32 = 1 << 30
  /// Never made from plain text, and silent when decoded, unless the caller asks.
  static let control: UInt32 = 1 << 31
}
