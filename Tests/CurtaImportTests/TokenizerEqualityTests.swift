// Do imported tokenizers give the ids that the programs they come from give?
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct TokenizerEqualityTests {
  private static let script =
    Repository.root.path + "/Tests/CurtaImportTests/Reference/tokenizer_reference.py"
  /// Texts of each comparison; `CURTA_TOKENIZER_LINES=10000` is the full check.
  private static let lines =
    ProcessInfo.processInfo.environment["CURTA_TOKENIZER_LINES"] ?? "1000"
  /// Every further kind with SentencePiece's map takes a minute without optimization: for the full
  /// check only.
  private static func isWanted(_ kind: String) -> Bool {
    let isFull = ProcessInfo.processInfo.environment["CURTA_TOKENIZER_LINES"] != nil
    let isLeftOut = ["t5-old", "t5-bytes", "sp-unigram-fold", "sp-unigram", "sp-bpe"].contains(kind)
    if isLeftOut, !isFull { print("SKIPPED: tokenizer \(kind) (CURTA_TOKENIZER_LINES=10000)") }
    return isFull || !isLeftOut
  }

  private static let trainer =
    Repository.root.path + "/Tests/CurtaImportTests/Reference/tokenizer_train.py"
  private static let reader = Repository.root.path + "/Formats/reference/curta_tokenizer.py"

  /// Compares ids and decoded text line by line.
  ///
  /// - Parameters:
  ///   - special: whether the other program looks for special tokens in the text.
  ///   - roundTrip: what must come back of a text without special tokens; nil for nothing.
  private func compare(
    _ loaded: LoadedTokenizer, _ output: [UInt8], seed: UInt64, special: Bool,
    bos: Bool = true, control: Bool = false, roundTrip: (([UInt8]) -> [UInt8])?
  ) throws {
    let lines = try ReferenceLine.all(output)
    try #require(!lines.isEmpty)
    var different = 0
    for (number, line) in lines.enumerated() {
      let text = bytes(hex: line.hex)
      let ids = try loaded.encode(text, special: special, bos: bos)
      let back = try loaded.decode(ids, control: control)
      var wrong: [String] = []
      if ids != line.ids { wrong.append("ids \(ids), expected \(line.ids)") }
      if hex(back) != line.back, !line.back.isEmpty {
        wrong.append("back \(hex(back)), expected \(line.back)")
      }
      let plain = try loaded.decode(loaded.encode(text, special: false, bos: true))
      if let roundTrip, plain != roundTrip(text) { wrong.append("no round trip") }
      guard !wrong.isEmpty else { continue }
      different += 1
      if different <= 5 {
        Issue.record("seed \(seed), line \(number), \(line.hex): \(wrong.joined(separator: "; "))")
      }
    }
    #expect(different == 0, "of \(lines.count) lines, seed \(seed)")
    print("MEASURED tokenizer.different \(different)")
    print("MEASURED tokenizer.lines \(lines.count)")
  }

  /// Models of `tokenizers`, and whether `▁` becomes a space.
  @Test(
    .enabled(if: Python.hasTokenizers, "SKIPPED: pip install tokenizers"),
    arguments: [
      ("curta-stories", false), ("smollm2-135m", false), ("stories260k/hf", true),
      ("stories-moe", true), ("curta-sort", false),
    ])
  func equalsTokenizers(_ model: String, _ metaspace: Bool) throws {
    guard let path = TokenizerFile.find(model + "/tokenizer.json") else { return }
    let seed = SeededRandom.announcedSeed("tokenizer of \(model)")
    let (status, output) = try Python.run([Self.script, "hf", path, "\(seed)", Self.lines])
    try #require(status == 0)
    let loaded = try LoadedTokenizer(tokenizerSection(from: .huggingFace(json: path)))
    // Words are joined by single spaces, so that texts of words do not come back.
    try compare(
      loaded, output, seed: seed, special: true,
      roundTrip: model == "curta-sort"
        ? nil : { metaspace ? spacesForMetaspace($0) : $0 })
  }

  /// Its added tokens are looked for in normalized text, and it has tokens for few characters.
  @Test(.enabled(if: Python.hasTokenizers, "SKIPPED: pip install tokenizers"))
  func equalsTokenizersWithNormalizedTokens() throws {
    guard let path = TokenizerFile.find("tinystories-656k/tokenizer.json") else { return }
    let seed = SeededRandom.announcedSeed("tinystories-656k")
    let (status, output) = try Python.run(
      [Self.script, "hf", path, "\(seed)", Self.lines, "control"])
    try #require(status == 0)
    let loaded = try LoadedTokenizer(tokenizerSection(from: .huggingFace(json: path)))
    try compare(loaded, output, seed: seed, special: true, control: true, roundTrip: nil)
  }

  /// Tokenizers trained here with the published configurations, and whether every text comes back.
  ///
  /// Normal form C does not come back as it was, and lower case neither.
  @Test(
    .enabled(if: Python.hasSentencePiece, "SKIPPED: pip install tokenizers sentencepiece"),
    arguments: [
      ("llama3", true), ("qwen2", false), ("neox", false), ("prefixed", false), ("mistral", false),
      ("metaspace", false), ("gemma", false), ("t5", false), ("t5-old", false),
      ("t5-bytes", false), ("bert", false), ("bert-cased", false), ("bert-accents", false),
      ("bert-raw", false),
    ])
  func equalsTrainedTokenizers(_ kind: String, _ isLossless: Bool) throws {
    let options = kind.hasPrefix("t5") ? ["plain"] : []
    guard Self.isWanted(kind) else { return }
    try compareTrained(kind, "hf", options: options, roundTrip: isLossless ? { $0 } : nil)
  }

  @Test(
    .enabled(if: Python.hasSentencePiece, "SKIPPED: pip install tokenizers sentencepiece"),
    arguments: [
      "sp-unigram", "sp-unigram-own", "sp-unigram-plain", "sp-unigram-fold", "sp-bpe",
      "sp-bpe-llama", "sp-bpe-own",
    ])
  func equalsSentencePiece(_ kind: String) throws {
    guard Self.isWanted(kind) else { return }
    try compareTrained(kind, "sp", options: ["bytes"], roundTrip: nil)
  }

  private func compareTrained(
    _ kind: String, _ program: String, options: [String], roundTrip: (([UInt8]) -> [UInt8])?
  ) throws {
    let isModel = program == "sp"
    let path =
      FileManager.default.temporaryDirectory.path
      + "/curta-\(UUID().uuidString)" + (isModel ? ".model" : ".json")
    defer { try? FileManager.default.removeItem(atPath: path) }
    let (trained, _) = try Python.run([Self.trainer, kind, path])
    try #require(trained == 0)
    try compareFile(path, isModel, options, kind, roundTrip: roundTrip)
  }

  private func compareFile(
    _ path: String, _ isModel: Bool, _ options: [String], _ name: String,
    roundTrip: (([UInt8]) -> [UInt8])? = nil
  ) throws {
    let seed = SeededRandom.announcedSeed("tokenizer \(name)")
    let (status, output) = try Python.run(
      [Self.script, isModel ? "sp" : "hf", path, "\(seed)", Self.lines] + options)
    try #require(status == 0)
    let loaded = try LoadedTokenizer(
      tokenizerSection(from: isModel ? .sentencePiece(model: path) : .huggingFace(json: path)))
    try compare(
      loaded, output, seed: seed, special: !isModel, bos: !isModel, roundTrip: roundTrip)
  }

  /// Every tokenizer.json and .model in the folder that CURTA_TOKENIZERS names; see
  /// `Reference/tokenizer_files.py`.
  @Test(.enabled(if: Python.hasSentencePiece, "SKIPPED: pip install tokenizers sentencepiece"))
  func equalsRealTokenizers() throws {
    guard let folder = ProcessInfo.processInfo.environment["CURTA_TOKENIZERS"] else {
      print("SKIPPED: real tokenizers of other families NOT CHECKED (CURTA_TOKENIZERS=FOLDER)")
      return
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      .filter { $0.hasSuffix(".json") || $0.hasSuffix(".model") }
    try #require(!names.isEmpty)
    for name in names {
      let isModel = name.hasSuffix(".model")
      try compareFile(folder + "/" + name, isModel, isModel ? ["bytes"] : [], name)
    }
  }

  /// llama2.c looks for no special tokens in the text.
  @Test func equalsLlama2c() throws {
    guard let path = TokenizerFile.find("stories260k/tok512.bin") else { return }
    let seed = SeededRandom.announcedSeed("tok512.bin")
    let (status, output) = try Python.run([Self.script, "llama2c", path, "512", "\(seed)", "2000"])
    try #require(status == 0)
    let loaded = try LoadedTokenizer(
      tokenizerSection(from: .llama2c(path: path, vocabularySize: 512)))
    #expect(loaded.tokenizer.bos == 1)
    #expect(loaded.tokenizer.isEnd(1) && loaded.tokenizer.isEnd(2))
    try compare(loaded, output, seed: seed, special: false, roundTrip: { $0 })
  }

  /// Any bytes as text, also what is not UTF-8.
  @Test(arguments: ["curta-stories/tokenizer.json", "stories260k/tok512.bin"])
  func equalsReaderInPython(_ model: String) throws {
    guard let path = TokenizerFile.find(model) else { return }
    let source: TokenizerSource =
      path.hasSuffix(".bin")
      ? .llama2c(path: path, vocabularySize: 512) : .huggingFace(json: path)
    let loaded = try LoadedTokenizer(tokenizerSection(from: source))
    let seed = SeededRandom.announcedSeed("\(model) and the Python reader")
    var random = SeededRandom(seed)
    let texts = (0..<600).map { _ in random.text() }
    let input = texts.map { "{\"hex\": \"\(hex($0))\", \"special\": true}\n" }.joined()
    let file = FileManager.default.temporaryDirectory
      .appendingPathComponent("curta-\(UUID().uuidString).section")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(loaded.section).write(to: file)
    let (status, output) = try Python.run(
      [Self.reader, file.path, "batch"], input: Array(input.utf8))
    try #require(status == 0)
    let lines = output.split(separator: 0x0A)
    try #require(lines.count == texts.count)
    for (text, line) in zip(texts, lines) {
      let expected = try JSONDecoder().decode([Int32].self, from: Data(line))
      #expect(
        try loaded.encode(text, special: true, bos: true) == expected,
        "seed \(seed), \(hex(text))")
    }
  }
}

extension SeededRandom {
  /// Up to 60 pieces: words, spaces, marks, and bytes of any value.
  fileprivate mutating func text() -> [UInt8] {
    let pieces = [
      " the", "once", " upon a time", "  ", "\n", "'s", "12", "½", "é", "中", "😀", "\u{3000}", "▁",
      "<|endoftext|>", "<s>", "aaaa", "\t", "!?",
    ]
    var out: [UInt8] = []
    for _ in 0..<below(61) { out += chance(4) ? bytes(1) : Array(element(pieces).utf8) }
    return out
  }
}
