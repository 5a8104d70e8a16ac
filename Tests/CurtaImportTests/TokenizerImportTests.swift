// Does the import of tokenizers refuse what it cannot do, all of it, and what is damaged?
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Foundation
import Testing

@testable import CurtaImport

@Suite struct TokenizerImportTests {
  /// Writes a file, imports it, and removes it.
  private func section(json: String, ends: [Int] = [], rows: Int? = nil) throws -> [UInt8] {
    try withFile(Array(json.utf8), ".json") { path in
      try tokenizerSection(from: .huggingFace(json: path), ends: ends, vocabularySize: rows)
    }
  }

  private func section(llama2c bytes: [UInt8], count: Int) throws -> [UInt8] {
    try withFile(bytes, ".bin") { path in
      try tokenizerSection(from: .llama2c(path: path, vocabularySize: count))
    }
  }

  private func withFile<T>(
    _ bytes: [UInt8], _ suffix: String, _ body: (String) throws -> T
  ) throws -> T {
    let path = FileManager.default.temporaryDirectory.path + "/curta-\(UUID().uuidString)\(suffix)"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  private func words(_ change: (String) -> String = { $0 }) -> String {
    change(
      """
      {"truncation": null, "padding": null, "normalizer": null, "post_processor": null,
       "decoder": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
       "added_tokens": [{"id": 2, "content": "<unk>", "special": true}],
       "model": {"type": "WordLevel", "unk_token": "<unk>",
                 "vocab": {"e\\u0301": 0, "\\u00e9": 1, "<unk>": 2}}}
      """)
  }

  @Test func wordsThatLookAlikeStayApart() throws {
    let loaded = try LoadedTokenizer(section(json: words(), ends: [2], rows: 5))
    #expect(loaded.tokenizer.vocabularySize == 5)
    #expect(loaded.tokenizer.isEnd(2))
    let ids = try loaded.encode(Array("é e\u{301} x".utf8), special: false, bos: true)
    #expect(ids == [1, 0, 2])
    #expect(
      try loaded.decode([4, 0, 3]) == Array("e\u{301}".utf8), "ids without a token are empty")
  }

  @Test func theSameInputGivesTheSameBytes() throws {
    for model in ["curta-stories/tokenizer.json", "stories260k/hf/tokenizer.json"] {
      guard let path = TokenizerFile.find(model) else { continue }
      let source = TokenizerSource.huggingFace(json: path)
      #expect(try tokenizerSection(from: source) == tokenizerSection(from: source))
    }
    #expect(try tokenizerSection(from: .none).isEmpty)
  }

  @Test func everythingUnsupportedIsListed() throws {
    let json = words { text in
      text.replacingOccurrences(
        of: "\"normalizer\": null", with: "\"normalizer\": {\"type\": \"NFC\"}"
      )
      .replacingOccurrences(of: "\"special\"", with: "\"single_word\": true, \"special\"")
      .replacingOccurrences(of: "WhitespaceSplit", with: "Metaspace")
      .replacingOccurrences(
        of: "\"post_processor\": null", with: "\"post_processor\": {\"type\": \"Other\"}"
      )
    }
    #expect(
      throws: ImportError.unsupported([
        "added token with single_word", "pre_tokenizer Metaspace with WordLevel",
        "normalizer NFC with WordLevel", "post_processor Other",
      ])
    ) { try section(json: json) }
    #expect(throws: ImportError.unsupported(["model of type Other"])) {
      try section(json: words { $0.replacingOccurrences(of: "WordLevel", with: "Other") })
    }
  }

  @Test func addedTokensTakeSpace() throws {
    let json = words {
      $0.replacingOccurrences(
        of: "\"special\": true", with: "\"special\": true, \"lstrip\": true, \"rstrip\": true")
    }
    let loaded = try LoadedTokenizer(section(json: json))
    #expect(try loaded.encode(Array("é \n<unk>  é".utf8), special: true, bos: true) == [1, 2, 1])
  }

  /// Every cut of a tokenizer.model, and wrong wire types.
  @Test func damagedSentencePieceIsRefused() throws {
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
      [number << 3 | 2, UInt8(bytes.count)] + bytes
    }
    func piece(_ text: String, _ type: UInt8, score: Float = -1) -> [UInt8] {
      let bits = score.bitPattern
      let bytes = (0..<4).map { UInt8(truncatingIfNeeded: bits >> UInt32(8 * $0)) }
      return field(1, field(1, Array(text.utf8)) + [0x15] + bytes + [0x18, type])
    }
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("▁", 1), ("a", 1), ("▁a", 1)]
    var good = pieces.flatMap { piece($0.0, UInt8($0.1)) }
    good += field(2, [0x18, 2]) + field(3, [0x20, 0])
    func load(_ bytes: [UInt8]) throws -> LoadedTokenizer {
      try withFile(bytes, ".model") { path in
        try LoadedTokenizer(tokenizerSection(from: .sentencePiece(model: path)))
      }
    }
    #expect(try load(good).encode(Array("a  b".utf8), special: false, bos: true) == [5, 3, 3, 0])
    for count in good.indices {
      // A cut between two fields leaves a file that is whole.
      _ = try? load(Array(good[..<count]))
    }
    for bad in [
      piece("a", 7), piece("a", 1), piece("", 1), piece("a", 1, score: .nan), [0x0B], [0x07],
    ] {
      #expect(throws: ImportError.self) { try load(good + bad) }
    }
    #expect(throws: ImportError.self) { try load(good + field(2, [0x18, 4])) }
    #expect(throws: ImportError.self) { try load(good + field(3, field(2, [0, 4, 0, 0, 0, 0]))) }
    for change in good.indices {
      var bytes = good
      bytes[change] ^= 0x81
      _ = try? load(bytes)
    }
  }

  @Test func damagedJSONIsRefused() throws {
    let good = Array(words().utf8)
    for count in 0..<good.count {
      #expect(throws: ImportError.self) {
        try section(json: String(decoding: good[..<count], as: UTF8.self))
      }
    }
    for (from, to) in [
      ("\"vocab\": {", "\"vocab\": [], \"x\": {"), ("\"e\\u0301\": 0", "\"e\": 1.5"),
      ("\"e\\u0301\": 0", "\"e\": -1"), ("\"e\\u0301\": 0", "\"e\": 1048576"),
      ("\"e\\u0301\": 0", "\"e\": 1"), ("\"content\": \"<unk>\"", "\"content\": \"\""),
      ("\"id\": 2", "\"id\": 1"), ("\\u0301", "\\ud800"), ("\\u0301", "\\u03"),
    ] {
      #expect(throws: ImportError.self, "\(from) → \(to)") {
        try section(json: words { $0.replacingOccurrences(of: from, with: to) })
      }
    }
    #expect(throws: ImportError.self, "more tokens than rows") {
      try section(json: words(), rows: 2)
    }
    #expect(throws: ImportError.self, "an end token outside") {
      try section(json: words(), ends: [3])
    }
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: ImportError.self) { try section(json: deep) }
  }

  @Test func damagedLlama2cIsRefused() throws {
    let good = llama2c()
    let count = 261
    #expect(try !section(llama2c: good, count: count).isEmpty)
    for size in stride(from: 0, to: good.count, by: 7) {
      #expect(throws: ImportError.self) { try section(llama2c: Array(good[..<size]), count: count) }
    }
    #expect(throws: ImportError.self) { try section(llama2c: good + [0], count: count) }
    for wrong in [-1, 0, 258, 260, 262, 1 << 21] {
      #expect(throws: ImportError.self) { try section(llama2c: good, count: wrong) }
    }
    var swapped = good
    let byteToken = try #require(good.indices.first { good[$0...].starts(with: "<0x41>".utf8) })
    swapped[byteToken + 3] = 0x35
    #expect(throws: ImportError.self) { try section(llama2c: swapped, count: count) }
  }

  /// A tokenizer.bin with one token of a not-a-number score, which never comes of a merge.
  @Test func scoresThatAreNoNumbers() throws {
    let loaded = try LoadedTokenizer(section(llama2c: llama2c(scores: [0, .nan]), count: 261))
    #expect(try loaded.encode([0x61, 0x61], special: false, bos: false) == [3 + 0x20, 259, 259])
    let usable = try LoadedTokenizer(section(llama2c: llama2c(), count: 261))
    #expect(try usable.encode([0x61, 0x61], special: false, bos: false) == [3 + 0x20, 260])
  }

  private func llama2c(scores: [Float] = [0, -1]) -> [UInt8] {
    var tokens = ["<unk>", "\n<s>\n", "\n</s>\n"].map { ($0, Float(0)) }
    for byte in 0..<256 {
      let digits = String(byte, radix: 16, uppercase: true)
      tokens.append(("<0x" + (byte < 16 ? "0" : "") + digits + ">", 0))
    }
    tokens += [("a", scores[0]), ("aa", scores[1])]
    var out = LittleEndianWriter()
    out.append(UInt32(6))
    for (text, score) in tokens {
      out.append(score.bitPattern)
      out.append(UInt32(text.utf8.count))
      out.bytes += Array(text.utf8)
    }
    return out.bytes
  }

  @Test func characterRangesAreSortedAndWhole() {
    let ranges = CharacterRange.all(for: .gpt2)
    #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.last < $1.first })
    #expect(ranges.count <= 1 << 13)
    func kind(_ scalar: Unicode.Scalar) -> CharacterRange.Kind? {
      ranges.first { ($0.first...$0.last).contains(scalar.value) }
        .flatMap { CharacterRange.Kind(rawValue: $0.kind) }
    }
    #expect(kind("a") == .letter && kind("中") == .letter && kind("ʰ") == .letter)
    #expect(kind("7") == .number && kind("½") == .number && kind("Ⅷ") == .number)
    #expect(kind(" ") == .space && kind("\u{85}") == .space && kind("\u{3000}") == .space)
    #expect(kind("_") == nil && kind("\u{301}") == nil && kind("\u{200B}") == nil)
    #expect(CharacterRange.all(for: .whitespace).allSatisfy { $0.kind == 3 })
    #expect(CharacterRange.all(for: .none).isEmpty)
  }
}
