// The vocabulary of a tokenizer.json and the ways its token texts stand for bytes.
// SPDX-License-Identifier: Apache-2.0

/// Model vocabulary and added tokens together.
struct HuggingFaceVocabulary {
  /// Text of each id, empty where an id is not used.
  var tokens: [[UInt8]] = []
  var ids: [[UInt8]: Int] = [:]
  /// Added tokens; true for those marked special.
  var added: [Int: Bool] = [:]
  /// How added tokens are looked for.
  var options: [Int: TokenizerTables.AddedOptions] = [:]
  /// Scores of a unigram model.
  var scores: [Int: Double] = [:]
  private var hasSingleWord = false

  init(_ json: TokenizerJSON, file: String) throws(ImportError) {
    switch json["model"]["vocab"] {
    case .object(let members):
      for member in members { try insert(member.key, member.value, file, "model.vocab") }
    case .array(let pieces) where json["model"]["type"].text == "Unigram":
      for (id, piece) in pieces.enumerated() {
        guard piece.items.count == 2, let text = piece.items[0].bytes, !text.isEmpty,
          case .number(let score) = piece.items[1]
        else {
          throw .bad(.wrongType, file: file, field: "model.vocab", "piece \(id) has no score")
        }
        try insert(text, .number(Double(id)), file, "model.vocab")
        scores[id] = score
      }
    default:
      throw .bad(.wrongType, file: file, field: "model.vocab", "not an object")
    }
    for token in json["added_tokens"].items {
      guard let text = token["content"].bytes, !text.isEmpty, let id = token["id"].id else {
        throw .bad(.missingField, file: file, field: "added_tokens", "without content or id")
      }
      if ids[text] != id { try insert(text, token["id"], file, "added_tokens") }
      added[id] = token["special"].flag ?? false
      if token["single_word"].flag == true { hasSingleWord = true }
      var own: TokenizerTables.AddedOptions = []
      if token["lstrip"].flag == true { own.insert(.stripLeft) }
      if token["rstrip"].flag == true { own.insert(.stripRight) }
      if token["normalized"].flag == true { own.insert(.normalized) }
      options[id] = own
    }
    guard !tokens.isEmpty else {
      throw .bad(.outOfRange, file: file, field: "model.vocab", "empty")
    }
  }

  private mutating func insert(
    _ text: [UInt8], _ value: TokenizerJSON, _ file: String, _ field: String
  ) throws(ImportError) {
    let shown = String(decoding: text, as: UTF8.self)
    guard let id = value.id, id < 1 << 20 else {
      throw .bad(.outOfRange, file: file, field: field, "'\(shown)' has no id in 0…1048575")
    }
    while tokens.count <= id { tokens.append([]) }
    guard tokens[id].isEmpty, ids[text] == nil else {
      throw .bad(
        .duplicateName, file: file, field: field, "'\(shown)' or its id \(id) occurs twice")
    }
    tokens[id] = text
    ids[text] = id
  }

  /// What added tokens ask for that the runtime does not do.
  func problems() -> [String] { hasSingleWord ? ["added token with single_word"] : [] }
}

/// GPT-2's alphabet: every byte as a printable character.
///
/// Printable Latin-1 bytes are themselves; the other 68 are U+0100 and up, in order.
enum ByteLevelAlphabet {
  /// The bytes that a token's text stands for, or nil where it is not in this alphabet.
  static func bytes(of token: [UInt8]) -> [UInt8]? {
    var bytes: [UInt8] = []
    for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
      guard let byte = byteOfScalar[scalar.value] else { return nil }
      bytes.append(byte)
    }
    return bytes
  }

  /// The text of one byte.
  static func text(of byte: UInt8) -> [UInt8] {
    Array(String(Character(scalars[Int(byte)])).utf8)
  }

  private static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
      let printable =
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
      if printable { return Unicode.Scalar(UInt8(byte)) }
      defer { next += 1 }
      return Unicode.Scalar(next)!
    }
  }()

  private static let byteOfScalar = Dictionary(
    uniqueKeysWithValues: scalars.enumerated().map { ($0.element.value, UInt8($0.offset)) })
}

/// The byte of a token like `<0x0A>`.
func byteOfFallback(_ token: [UInt8]) -> UInt8? {
  guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == 0x3E else { return nil }
  return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
}

/// A token's text with a space for each U+2581.
func spacesForMetaspace(_ token: [UInt8]) -> [UInt8] {
  var out: [UInt8] = []
  var i = 0
  while i < token.count {
    if token[i...].starts(with: [0xE2, 0x96, 0x81]) {
      out.append(0x20)
      i += 3
    } else {
      out.append(token[i])
      i += 1
    }
  }
  return out
}

/// Whether these bytes are exactly one scalar.
func isOneScalar(_ bytes: [UInt8]) -> Bool {
  bytes.count <= 4 && String(decoding: bytes, as: UTF8.self).unicodeScalars.count == 1
}
