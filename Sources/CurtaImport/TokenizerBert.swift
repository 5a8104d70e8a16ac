// BertNormalizer of `tokenizers`: what it does to each character, as classes and replacements.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// The four steps of BertNormalizer.
struct BertNormalizer: Hashable {
  var cleansText = true
  var spacesIdeographs = true
  var stripsAccents = true
  var lowercases = true

  /// Sets the classes, the map and the marks of tables for BertPreTokenizer.
  func apply(to tables: inout TokenizerTables) {
    tables.normalizer = [.classes]
    if stripsAccents {
      // What stays of a decomposition keeps its canonical order.
      tables.normalizer.insert(.hangul)
      tables.canonical.marks = CanonicalTables.order.marks
    }
    let unicode = BertNormalizer.known.withLock { known in
      let unicode = known[self] ?? makeUnicode()
      known[self] = unicode
      return unicode
    }
    tables.ranges = unicode.ranges
    tables.map = unicode.map
  }

  /// What is made of all characters, which takes a second: once for each combination of the steps.
  private typealias OfUnicode = (ranges: [CharacterRange], map: [TokenizerTables.Replacement])
  private static let known = Mutex<[BertNormalizer: OfUnicode]>([:])

  private func makeUnicode() -> OfUnicode {
    let ranges = CharacterRange.numbered { kind(of: $0)?.rawValue ?? 0 }
    guard stripsAccents || lowercases else { return (ranges, []) }
    let values = Array(UInt32(0)...0x1FFFF) + Array(UInt32(0x2F800)...0x2FA1F)
    return (ranges, values.compactMap(replacement(of:)))
  }

  private func replacement(of value: UInt32) -> TokenizerTables.Replacement? {
    guard let scalar = Unicode.Scalar(value), !(0xAC00..<0xD7A4).contains(value),
      kind(of: scalar) != .dropped
    else { return nil }
    let text = String(Character(scalar))
    var scalars = Array(text.unicodeScalars)
    if stripsAccents {
      scalars = text.decomposedStringWithCanonicalMapping.unicodeScalars.filter {
        $0.properties.generalCategory != .nonspacingMark
      }
    }
    if lowercases { scalars = scalars.flatMap { $0.properties.lowercaseMapping.unicodeScalars } }
    guard scalars != [scalar] else { return nil }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return .init(source: Array(text.utf8), replacement: Array(String(view).utf8))
  }

  private func kind(of scalar: Unicode.Scalar) -> CharacterRange.Kind? {
    let properties = scalar.properties
    if cleansText, isCleaned(scalar) { return .dropped }
    if spacesIdeographs, isIdeograph(scalar.value) { return .spaced }
    if stripsAccents, properties.generalCategory == .nonspacingMark { return .dropped }
    if properties.isWhitespace { return .space }
    let isASCII = scalar.isASCII && (0x21...0x7E).contains(scalar.value)
    let isMark = isASCII && !properties.isAlphabetic && properties.numericType == nil
    return isMark || CharacterRange.isPunctuation(properties) ? .punctuation : nil
  }

  /// Controls, formats and private use, but not tabs and line ends; NUL and U+FFFD.
  private func isCleaned(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "\u{9}", "\u{A}", "\u{D}": false
    case "\u{0}", "\u{FFFD}": true
    default:
      switch scalar.properties.generalCategory {
      case .control, .format, .privateUse: true
      default: false
      }
    }
  }

  private func isIdeograph(_ value: UInt32) -> Bool {
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F,
      0x2B740...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }
}
