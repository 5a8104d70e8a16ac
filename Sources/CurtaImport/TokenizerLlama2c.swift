// The tokenizer.bin of llama2.c: SentencePiece pieces with scores.
// SPDX-License-Identifier: Apache-2.0

/// Reads llama2.c's `tokenizer.bin`: i32 longest token, then for each token f32 score, i32 size
/// and the bytes; all little-endian.
///
/// Ids 0, 1 and 2 are unknown, begin and end; ids 3…258 are the bytes, written `<0x00>` to
/// `<0xFF>`. Merges are all ways to split a token into two tokens; their rank is the place of the
/// token's score among all scores, so that equal scores stay equal.
func llama2cTables(_ path: String, count: Int) throws(ImportError) -> TokenizerTables {
  let file = try MappedFile(path)
  guard count >= 259, count <= 1 << 20 else {
    throw .bad(
      .outOfRange, file: path, field: "vocabulary size", "\(count) is not in 259…1048576",
      advice: "check that this tokenizer belongs to the checkpoint")
  }
  var tokens: [[UInt8]] = []
  var scores: [Float] = []
  var offset = 4
  for id in 0..<count {
    let field = "token \(id)"
    scores.append(Float(bitPattern: try file.load(UInt32.self, at: offset, of: field)))
    let size = Int(try file.load(Int32.self, at: offset + 4, of: field))
    tokens.append(
      try file.withBytes(at: offset + 8, count: size, of: field) { [UInt8]($0) })
    offset += 8 + size
  }
  guard offset == file.count else {
    throw .bad(
      .trailingBytes, file: path, offset: offset,
      "\(file.count - offset) bytes after \(count) tokens",
      advice: "check that this tokenizer belongs to the checkpoint")
  }

  let hex = Array("0123456789ABCDEF".utf8)
  for byte in 0..<256 {
    guard tokens[3 + byte] == Array("<0x".utf8) + [hex[byte >> 4], hex[byte & 15]] + [0x3E] else {
      throw .bad(
        .contradiction, file: path, field: "token \(3 + byte)", "not the text of byte \(byte)",
        advice: "check that this is a tokenizer.bin of llama2.c")
    }
    tokens[3 + byte] = [UInt8(byte)]
  }
  // llama2.c writes the marks on lines of their own.
  for id in 0..<3 where tokens[id].first == 0x0A && tokens[id].last == 0x0A {
    tokens[id] = Array(tokens[id].dropFirst().dropLast())
  }

  var tables = TokenizerTables(kind: .scoredBPE, tokens: tokens)
  tables.normalizer = .prefix
  tables.decoder = .stripAfterBos
  tables.addsBegin = true
  tables.begin = 1
  tables.unknown = 0
  tables.ends = [1, 2]
  for id in 0..<3 where !tokens[id].isEmpty { tables.added[id] = true }
  tables.byteIds = (0..<256).map { 3 + $0 }

  var ids: [[UInt8]: Int] = [:]
  for id in (259..<count).reversed() where !tokens[id].isEmpty { ids[tokens[id]] = id }
  tables.characters = ids.filter { isCharacterGroup($0.key) }.map(\.value)
  let ranks = scoreRanks(scores)
  for (text, id) in ids where text.count > 1 {
    guard let rank = ranks[scores[id]] else { continue }
    for split in 1..<text.count {
      if let left = ids[Array(text[..<split])], let right = ids[Array(text[split...])] {
        tables.merges.append(.init(left: left, right: right, merged: id, rank: rank))
      }
    }
  }
  return tables
}

/// The place of each score among all, the highest first; llama2.c ignores those up to -1e10.
private func scoreRanks(_ scores: [Float]) -> [Float: Int] {
  let usable = Set(scores.filter { $0 > -1e10 }).sorted(by: >)
  return Dictionary(uniqueKeysWithValues: usable.enumerated().map { ($0.element, $0.offset) })
}

/// Whether llama2.c would cut these bytes out of a text as one character.
func isCharacterGroup(_ bytes: [UInt8]) -> Bool {
  (1...4).contains(bytes.count) && bytes.dropFirst().allSatisfy { $0 & 0xC0 == 0x80 }
}
