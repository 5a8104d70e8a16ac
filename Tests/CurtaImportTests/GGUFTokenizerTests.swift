// Tokenizers in GGUF metadata: equal to the same tokenizers in their own files.
// SPDX-License-Identifier: Apache-2.0

import CurtaRuntime
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

extension GGUFFileBytes {
  /// A byte-level BPE of 256 bytes, "th", "the", a control token and an unused one.
  static var byteLevel: GGUFFileBytes {
    var tokens = (0..<256).map { ByteLevelAlphabet.text(of: UInt8($0)) }
    tokens += ["th", "the", "<|end|>", "[PAD259]", "<tag>"].map { Array($0.utf8) }
    var file = GGUFFileBytes.tiny(vocabulary: tokens.count)
    file["tokenizer.ggml.model"] = .text("gpt2")
    file["tokenizer.ggml.pre"] = .text("smollm")
    file["tokenizer.ggml.tokens"] = .strings(tokens)
    file["tokenizer.ggml.token_type"] = .i32s(
      [Int](repeating: 1, count: 258) + [3, 5, 4])
    file["tokenizer.ggml.merges"] = .strings(["t h", "th e"].map { Array($0.utf8) })
    file["tokenizer.ggml.bos_token_id"] = .u32(258)
    file["tokenizer.ggml.eos_token_id"] = .u32(258)
    file["tokenizer.ggml.eot_token_id"] = .u32(1)
    return file
  }

  /// The pieces of a llama2.c tokenizer as SentencePiece has them, `▁` for spaces.
  static func scored(_ tables: TokenizerTables, scores: [Float]) -> GGUFFileBytes {
    let spaced = tables.tokens.enumerated().map { id, text -> [UInt8] in
      if id < 3 { return Array(["<unk>", "<s>", "</s>"][id].utf8) }
      if id < 259 { return Array(String(format: "<0x%02X>", id - 3).utf8) }
      return text.flatMap { $0 == 0x20 ? [0xE2, 0x96, 0x81] : [$0] }
    }
    var file = GGUFFileBytes.tiny(vocabulary: spaced.count)
    file["tokenizer.ggml.model"] = .text("llama")
    file["tokenizer.ggml.tokens"] = .strings(spaced)
    file["tokenizer.ggml.scores"] = .f32s(scores)
    file["tokenizer.ggml.token_type"] = .i32s(
      spaced.indices.map { $0 == 0 ? 2 : $0 < 3 ? 3 : $0 < 259 ? 6 : 1 })
    file["tokenizer.ggml.bos_token_id"] = .u32(1)
    file["tokenizer.ggml.eos_token_id"] = .u32(2)
    return file
  }
}

@Suite struct GGUFTokenizerTests {
  private func section(_ file: GGUFFileBytes) throws -> [UInt8] {
    try withGGUF(file.bytes) { try tokenizerSection(of: loadCheckpoint($0)) }
  }

  private func encode(_ file: GGUFFileBytes, _ text: String, special: Bool = false) throws
    -> [Int32]
  {
    try LoadedTokenizer(section(file)).encode(Array(text.utf8), special: special, bos: true)
  }

  private func bytes(_ text: String) -> [Int32] { text.utf8.map { Int32($0) } }

  @Test func byteLevelBPE() throws {
    var file = GGUFFileBytes.byteLevel
    #expect(try encode(file, "the 12") == [257] + bytes(" 12"))
    #expect(try encode(file, "<|end|><tag>") == bytes("<|end|>") + [260])
    #expect(
      try encode(file, "<|end|><tag>[PAD259]", special: true) == [258, 260] + bytes("[PAD259]"))
    let checkpoint = try withGGUF(file.bytes) { try loadCheckpoint($0) }
    #expect(checkpoint.bos == 258)
    #expect(checkpoint.eos == [258, 1])
    #expect(!checkpoint.addsBos)
    file["tokenizer.ggml.add_bos_token"] = .bool(true)
    #expect(try encode(file, "th") == [258, 256])
    // Not the pre-tokenizer of digits: a run of them is one piece.
    file["tokenizer.ggml.tokens"] = .strings(
      (0..<256).map { ByteLevelAlphabet.text(of: UInt8($0)) }
        + ["12", "th", "<|end|>", "[PAD]", "<tag>"].map { Array($0.utf8) })
    file["tokenizer.ggml.merges"] = .strings([Array("1 2".utf8)])
    #expect(try encode(file, "12") == [258] + bytes("12"))
    file["tokenizer.ggml.pre"] = .text("gpt-2")
    #expect(try encode(file, "12") == [258, 256])
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func equalsTokenizerJSON() throws {
    let path = Shared.models + "/smollm2-135m/tokenizer.json"
    try #require(FileManager.default.fileExists(atPath: path))
    let json = try TokenizerJSONParser.parse([UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
    let vocabulary = try HuggingFaceVocabulary(json, file: path)
    let merges = json["model"]["merges"].items.map { item -> [UInt8] in
      item.bytes ?? Array(item.items.compactMap(\.bytes).joined(separator: [0x20]))
    }
    var file = GGUFFileBytes.tiny(vocabulary: vocabulary.tokens.count)
    file["tokenizer.ggml.model"] = .text("gpt2")
    file["tokenizer.ggml.pre"] = .text("smollm")
    file["tokenizer.ggml.tokens"] = .strings(vocabulary.tokens)
    file["tokenizer.ggml.token_type"] = .i32s(
      vocabulary.tokens.indices.map { vocabulary.added[$0].map { $0 ? 3 : 4 } ?? 1 })
    file["tokenizer.ggml.merges"] = .strings(merges)
    let fromJSON = try tokenizerSection(from: .huggingFace(json: path))
    #expect(try section(file) == fromJSON)
  }

  /// Pieces and scores of stories260K; llama2.c and `tokenizers` split them the same way.
  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func equalsSentencePiece() throws {
    let path = Shared.models + "/stories260k/tok512.bin"
    let tables = try llama2cTables(path, count: 512)
    let data = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    var scores: [Float] = []
    var at = 4
    while at < data.count {
      func word(_ at: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(data[at + $1]) << (8 * $1) }
      }
      scores.append(Float(bitPattern: word(at)))
      at += 8 + Int(word(at + 4))
    }
    let file = GGUFFileBytes.scored(tables, scores: scores)
    let gguf = try LoadedTokenizer(section(file))
    let json = try LoadedTokenizer(
      tokenizerSection(from: .huggingFace(json: Shared.models + "/stories260k/hf/tokenizer.json")))
    var random = SeededRandom.announced("GGUF pieces")
    for _ in 0..<2000 {
      let text = (0..<random.below(30)).flatMap { _ -> [UInt8] in
        random.chance(3) ? [0x20] : tables.tokens[3 + random.below(509)]
      }
      let clean = Array(String(decoding: text, as: UTF8.self).utf8)
      let ids = try gguf.encode(clean, special: false, bos: true)
      #expect(try ids == json.encode(clean, special: false, bos: true), "\(clean)")
      #expect(try gguf.decode(ids) == json.decode(ids))
    }
  }

  @Test func everythingUnsupportedIsListed() throws {
    func list(_ change: (inout GGUFFileBytes) -> Void) -> [String] {
      var file = GGUFFileBytes.byteLevel
      change(&file)
      return unsupportedList { _ = try withGGUF(file.bytes) { try loadCheckpoint($0) } }
    }
    #expect(list { $0["tokenizer.ggml.pre"] = nil }.count == 1)
    let two = list {
      $0["tokenizer.ggml.pre"] = .text("tekken")
      $0["tokenizer.ggml.add_eos_token"] = .bool(true)
      $0["tokenizer.ggml.add_space_prefix"] = .bool(true)
    }
    #expect(two.count == 3)
    #expect(two.contains { $0.contains("tekken") && $0.contains("--tokenizer") })
    for model in ["rwkv", "plamo2"] {
      let found = list { $0["tokenizer.ggml.model"] = .text(model) }
      #expect(found.count == 1 && found[0].contains(model))
    }
    // "llama" without scores is damaged; with them it lacks bytes.
    let scored = list {
      $0["tokenizer.ggml.model"] = .text("llama")
      $0["tokenizer.ggml.scores"] = .f32s([Float](repeating: 0, count: 261))
      $0["tokenizer.ggml.add_space_prefix"] = .bool(false)
    }
    #expect(scored.count == 1)
  }

  @Test func piecesWithoutCharactersAreListed() throws {
    var tables = TokenizerTables(kind: .scoredBPE, tokens: [[], [], []])
    tables.tokens += (0..<256).map { [UInt8($0)] }
    tables.tokens += ["a", "b", "ab"].map { Array($0.utf8) }
    func list(_ change: (inout TokenizerTables) -> Void) -> [String] {
      var changed = tables
      change(&changed)
      let file = GGUFFileBytes.scored(
        changed, scores: changed.tokens.indices.map { -Float($0) })
      return unsupportedList { _ = try withGGUF(file.bytes) { try loadCheckpoint($0) } }
    }
    #expect(list { _ in }.isEmpty)
    #expect(list { $0.tokens += [Array("xy".utf8)] }.count == 1)
    #expect(list { $0.tokens += [Array("abx".utf8)] }.count == 1)
    // Nothing leads to either half, so nothing is lost.
    #expect(list { $0.tokens += [Array("[PAD]xyz".utf8)] }.isEmpty)
  }

  @Test func damagedTokenizersAreRefused() throws {
    typealias Value = GGUFFileBytes.Value
    let changes: [(String, Value?, Malformation.Reason)] = [
      ("model", nil, .missingField), ("model", .u32(1), .wrongType),
      ("tokens", nil, .missingField), ("tokens", .i32s([1]), .wrongType),
      ("tokens", .strings([]), .missingField),
      ("tokens", .strings([[UInt8]](repeating: [65], count: 261)), .duplicateName),
      ("token_type", .i32s([1]), .contradiction), ("token_type", .f32s([1]), .wrongType),
      ("token_type", .i32s([Int](repeating: 7, count: 261)), .outOfRange),
      ("token_type", .i32s([Int](repeating: 1, count: 262)), .outOfRange),
      ("merges", nil, .missingField), ("merges", .strings([[65]]), .wrongType),
      ("merges", .strings([Array("q z".utf8)]), .contradiction),
      ("bos_token_id", .u32(261), .outOfRange), ("eos_token_id", .text("x"), .wrongType),
      ("add_bos_token", .u32(1), .wrongType),
    ]
    for (key, value, reason) in changes {
      var file = GGUFFileBytes.byteLevel
      file["tokenizer.ggml.\(key)"] = value
      let found = malformation { _ = try withGGUF(file.bytes) { try loadCheckpoint($0) } }
      #expect(found?.reason == reason, "\(key)")
      #expect(found?.field == "tokenizer.ggml.\(key)" || reason == .duplicateName)
    }
  }
}
