// The vocabulary of a tokenizer.json and the ways its token texts stand for bytes.
// SPDX-License-Identifier: Apache-2.0

/// Model vocabulary and added tokens together.
struct HuggingFaceVocabulary {
  /// Text of each id, empty where an id is not used.
  var tokens: [[UInt8]] = []
  var ids: [[UInt8]: Int] = [:]
  /// Added tokens; true for those marked special.
  var added: [Int: Bool] = [:]
  private var options: Set<String> = []
  private var normalizedTokens: [String] = []

  init(_ json: TokenizerJSON, file: String) throws(ImportError) {
    guard case .object(let members) = json["model"]["vocab"] else {
      throw .bad(.wrongType, file: file, field: "model.vocab", "not an object")
    }
    for member in members { try insert(member.key, member.value, file, "model.vocab") }
    for token in json["added_tokens"].items {
      guard let text = token["content"].bytes, !text.isEmpty, let id = token["id"].id else {
        throw .bad(.missingField, file: file, field: "added_tokens", "without content or id")
      }
      if ids[text] != id { try insert(text, token["id"], file, "added_tokens") }
      added[id] = token["special"].flag ?? false
      for option in ["single_word", "lstrip", "rstrip"] where token[option].flag == true {
        options.insert("added token with \(option)")
      }
      if token["normalized"].flag == true {
        normalizedTokens.append(String(decoding: text, as: UTF8.self))
      }
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
  func problems(normalized hasNormalizer: Bool) -> [String] {
    var problems = options.sorted()
    if hasNormalizer, let token = normalizedTokens.first {
      problems.append("added token '\(token)' that is looked for in normalized text")
    }
    return problems
  }
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

extension HuggingFaceTokenizer {
  /// Prepend `▁`, then every space becomes `▁`.
  static let metaspaceNormalizer = known(
    """
    {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    """)

  /// The way back: spaces, bytes, one text, without its first space.
  static let metaspaceDecoder = known(
    """
    {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    """)

  private static func known(_ json: String) -> TokenizerJSON {
    (try? TokenizerJSONParser.parse(Array(json.utf8))) ?? .null
  }
}
