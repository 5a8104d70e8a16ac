// Texts as the sequences of tokens that a decoder is calibrated on.
// SPDX-License-Identifier: Apache-2.0

import CCalibrationText
import CurtaFormat
import CurtaImport
import CurtaQuantize

/// What a calibrated conversion looks at; nil parts are replaced by what the converter brings.
public struct CalibrationInput: Sendable {
  /// Texts for a decoder; nil: the converter's own, some 150 KB of English prose and of code.
  public var texts: [String]?
  /// Images for a vision transformer, of the model's size: [height][width][channels] each; nil: drawn
  /// ones.
  public var images: [[UInt8]]?
  /// Tokens of text to look at, at most.
  public var tokens = 16_384
  /// Images to draw where none are given (`DrawnScenes`).
  public var drawnImages = CalibrationInput.imageCount
  /// Images that a conversion looks at unless it is told otherwise.
  public static let imageCount = 64

  public init() {}
}

enum CalibrationText {
  /// Tokens in a sequence, at most.
  static let length = 512

  /// The converter's own text.
  static var own: String {
    var size = 0
    let bytes = curta_calibration_text(&size)
    return String(
      decoding: UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : size), as: UTF8.self)
  }

  /// Sequences of at most `length` tokens out of all parts of the texts, about `input.tokens` in
  /// all; each begins with the token that texts begin with, where there is one.
  ///
  /// Without a tokenizer they are pseudo-random tokens. Throws `ConversionError` for texts that have
  /// no tokens.
  static func sequences(_ checkpoint: Checkpoint, _ input: CalibrationInput) throws -> [[Int32]] {
    let d = checkpoint.source.description
    let length = max(1, min(CalibrationText.length, d.contextLength, input.tokens))
    let section = try tokenizerSection(of: checkpoint)
    guard !section.isEmpty else {
      return random(d.vocabularySize, count: max(1, input.tokens / length), length: length)
    }
    let tokenizer = try OwnedTokenizer(section)
    defer { withExtendedLifetime(tokenizer) {} }
    let begin = checkpoint.bos.map { [$0] } ?? []
    let width = max(1, length - begin.count)
    var pieces: [[Int32]] = []
    for text in input.texts ?? [own] {
      let tokens = try tokenizer.tokenizer.tokens(of: text, addBos: false)
      for start in stride(from: 0, to: tokens.count, by: width) {
        pieces.append(begin + tokens[start..<min(start + width, tokens.count)])
      }
    }
    guard !pieces.isEmpty else {
      throw ConversionError.unsupported(["a text without tokens to calibrate on"])
    }
    let count = min(pieces.count, max(1, input.tokens / length))
    return (0..<count).map { pieces[$0 * pieces.count / count] }
  }

  /// What a user should know of the texts that a conversion looks at: that there are none.
  static func notes(
    _ checkpoint: Checkpoint, _ recipe: Recipe, _ work: ConversionWork
  ) throws -> [String] {
    guard recipe.isCalibrated, work.statistics == nil,
      try tokenizerSection(of: checkpoint).isEmpty
    else { return [] }
    return [
      "the checkpoint has no tokenizer: recipe \(recipe.name) was calibrated on pseudo-random tokens;"
        + " name one with --tokenizer to calibrate on text"
    ]
  }

  private static func random(_ vocabulary: Int, count: Int, length: Int) -> [[Int32]] {
    var generator = RandomNumbers(seed: 1)
    return (0..<count).map { _ in
      (0..<length).map { _ in Int32(Int(generator.next() >> 33) % vocabulary) }
    }
  }
}
