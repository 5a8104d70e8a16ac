// Unicode's normal forms C and KC as tables: decompositions, combining classes, compositions.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The tables of canonical ordering and composition.
struct CanonicalTables {
  struct Composition: Equatable {
    var first: UInt32
    var second: UInt32
    var composed: UInt32
  }

  var marks: [CharacterRange] = []
  /// Ascending by `first`, then `second`; Hangul syllables are not among them.
  var compositions: [Composition] = []

  /// Combining classes and compositions of the Unicode version that this program knows.
  static let all = CanonicalTables(marks: allMarks, compositions: allCompositions)
  /// For text that is ordered but not composed.
  static let order = CanonicalTables(marks: allMarks)

  private static let allMarks = CharacterRange.numbered {
    UInt32($0.properties.canonicalCombiningClass.rawValue)
  }

  private static let allCompositions: [Composition] = {
    var found: [Composition] = []
    for scalar in decomposable {
      let text = String(Character(scalar))
      let parts = Array(text.decomposedStringWithCanonicalMapping.unicodeScalars)
      // Composition exclusions do not come back.
      guard parts.count > 1,
        Array(text.precomposedStringWithCanonicalMapping.unicodeScalars) == [scalar]
      else { continue }
      var front = String.UnicodeScalarView()
      front.append(contentsOf: parts.dropLast())
      let first = Array(String(front).precomposedStringWithCanonicalMapping.unicodeScalars)
      guard first.count == 1 else { continue }
      found.append(
        Composition(
          first: first[0].value, second: parts[parts.count - 1].value, composed: scalar.value))
    }
    return found.sorted { ($0.first, $0.second) < ($1.first, $1.second) }
  }()

  /// Every scalar but those without a decomposition in large blocks, and Hangul syllables.
  private static let decomposable: [Unicode.Scalar] = {
    let ranges: [ClosedRange<UInt32>] = [0xA0...0x33FF, 0xA000...0xABFF, 0xF900...0x1FFFF]
    let last: [ClosedRange<UInt32>] = [0x2F800...0x2FA1F]
    return (ranges + last).flatMap { $0.compactMap(Unicode.Scalar.init) }
  }()

  /// The full decomposition of each scalar that has one, Hangul syllables left out.
  static func decompositions(compatible: Bool) -> [TokenizerTables.Replacement] {
    compatible ? compatibleDecompositions : canonicalDecompositions
  }

  private static let canonicalDecompositions = decompose(compatible: false)
  private static let compatibleDecompositions = decompose(compatible: true)

  private static func decompose(compatible: Bool) -> [TokenizerTables.Replacement] {
    decomposable.compactMap { scalar in
      let text = String(Character(scalar))
      let parts =
        compatible
        ? text.decomposedStringWithCompatibilityMapping : text.decomposedStringWithCanonicalMapping
      guard Array(parts.unicodeScalars) != [scalar] else { return nil }
      return .init(source: Array(text.utf8), replacement: Array(parts.utf8))
    }
  }
}

extension TokenizerTables {
  /// Sets tables and steps for normal form C, or KC.
  ///
  /// Hangul syllables stay whole: what follows them is composed with them as with their jamo.
  mutating func normalizeToC(compatible: Bool) {
    map = CanonicalTables.decompositions(compatible: compatible)
    canonical = .all
  }
}
