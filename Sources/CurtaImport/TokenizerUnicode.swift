// Character classes for the pre-tokenizers, as ranges of scalar values.
// SPDX-License-Identifier: Apache-2.0

/// Neighbouring characters of one class.
struct CharacterRange: Equatable {
  enum Kind: UInt32 {
    case letter = 1
    case number, space
  }

  var first: UInt32
  var last: UInt32
  var kind: Kind

  /// The ranges that a pre-tokenizer looks at, ascending: L*, N* and White_Space of the Unicode
  /// version that this program's Swift library knows.
  static func all(for preTokenizer: TokenizerTables.PreTokenizer) -> [CharacterRange] {
    switch preTokenizer {
    case .none: []
    case .whitespace: everything.filter { $0.kind == .space }
    case .gpt2, .digitsGPT2: everything
    }
  }

  private static let everything: [CharacterRange] = {
    var ranges: [CharacterRange] = []
    for value in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(value), let kind = kind(scalar.properties) else { continue }
      if let previous = ranges.last, previous.last + 1 == value, previous.kind == kind {
        ranges[ranges.count - 1].last = value
      } else {
        ranges.append(CharacterRange(first: value, last: value, kind: kind))
      }
    }
    return ranges
  }()

  private static func kind(_ properties: Unicode.Scalar.Properties) -> Kind? {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      .letter
    case .decimalNumber, .letterNumber, .otherNumber: .number
    default: properties.isWhitespace ? .space : nil
    }
  }
}
