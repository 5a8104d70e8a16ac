// Character classes for the pre-tokenizers, as ranges of scalar values.
// SPDX-License-Identifier: Apache-2.0

/// Neighbouring characters of one class.
struct CharacterRange: Equatable {
  /// The classes of `Formats/curta-tokenizer.md`.
  enum Kind: UInt32 {
    case letter = 1
    case number, space, punctuation, spaced, dropped
  }

  var first: UInt32
  var last: UInt32
  /// A `Kind`, or a canonical combining class.
  var kind: UInt32

  /// The ranges that a pre-tokenizer looks at, ascending: L*, N* and White_Space of the Unicode
  /// version that this program's Swift library knows.
  static func all(for preTokenizer: TokenizerTables.PreTokenizer) -> [CharacterRange] {
    switch preTokenizer {
    case .none, .spaces: []
    case .whitespace: spaces
    case .gpt2, .digitsGPT2, .llama3, .qwen2: everything
    case .bert: punctuation
    }
  }

  /// Ranges of White_Space alone.
  static let spaces = everything.filter { $0.kind == Kind.space.rawValue }

  /// The ranges of characters for which `kind` gives a class.
  static func make(_ kind: (Unicode.Scalar.Properties) -> Kind?) -> [CharacterRange] {
    numbered { kind($0.properties)?.rawValue ?? 0 }
  }

  /// The ranges of characters for which `number` is not 0.
  static func numbered(_ number: (Unicode.Scalar) -> UInt32) -> [CharacterRange] {
    var ranges: [CharacterRange] = []
    for value in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let kind = number(scalar)
      guard kind != 0 else { continue }
      if let previous = ranges.last, previous.last + 1 == value, previous.kind == kind {
        ranges[ranges.count - 1].last = value
      } else {
        ranges.append(CharacterRange(first: value, last: value, kind: kind))
      }
    }
    return ranges
  }

  private static let punctuation = make {
    isPunctuation($0) ? .punctuation : $0.isWhitespace ? .space : nil
  }

  private static let everything = make { properties in
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      .letter
    case .decimalNumber, .letterNumber, .otherNumber: .number
    default: properties.isWhitespace ? .space : nil
    }
  }

  /// What BERT takes for punctuation: P* and the marks of ASCII.
  static func isPunctuation(_ properties: Unicode.Scalar.Properties) -> Bool {
    switch properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      true
    default: false
    }
  }
}
