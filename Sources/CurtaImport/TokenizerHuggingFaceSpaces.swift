// How tokenizer.json of SentencePiece's kin treats white space: `▁`, prefixes, runs, and back.
// SPDX-License-Identifier: Apache-2.0

import Foundation

extension HuggingFaceTokenizer {
  /// Sets normalizer, pre-tokenizer and decoder of character BPE and unigram.
  mutating func readSpaces(_ tables: inout TokenizerTables, model: String) {
    let normalizers = steps(json["normalizer"], "normalizers")
    var isKnown = true
    var prepends = false
    for part in normalizers {
      switch part["type"].text {
      case "Prepend" where part["prepend"].text == "▁": prepends = true
      case "Replace" where part["pattern"]["String"].text == " " && part["content"].text == "▁":
        tables.normalizer.insert(.metaspace)
      case "Replace"
      where part["pattern"]["Regex"].text == " {2,}"
        && ["▁", " "].contains(part["content"].text):
        tables.normalizer.insert(.collapse)
      case "Strip" where part["strip_left"].flag == false && part["strip_right"].flag == true:
        tables.normalizer.insert(.trimEnd)
        tables.ranges = CharacterRange.spaces
      case "NFC" where tables.map.isEmpty: tables.normalizeToC(compatible: false)
      case "NFKC" where tables.map.isEmpty: tables.normalizeToC(compatible: true)
      case "Precompiled" where tables.map.isEmpty: isKnown = readCharsmap(part, &tables) && isKnown
      default: isKnown = false
      }
    }
    if !isKnown { problems.append("normalizer \(name(json["normalizer"])) with \(model)") }
    readMetaspace(&tables, model: model)
    if prepends {
      // What begins with a space by then gets none from the pre-tokenizer.
      tables.normalizer.subtract([.prefixFirst, .prefixUnlessSpace])
      tables.normalizer.insert(.prefix)
    }
    if !tables.normalizer.contains(.metaspace), isKnown {
      problems.append(
        "normalizer \(name(json["normalizer"])) and pre_tokenizer "
          + "\(name(json["pre_tokenizer"])) with \(model)")
    }
    readDecoder(&tables, model: model)
  }

  private mutating func readCharsmap(
    _ part: TokenizerJSON, _ tables: inout TokenizerTables
  ) -> Bool {
    guard let text = part["precompiled_charsmap"].text else { return part != .null }
    guard !text.isEmpty else { return true }
    guard let blob = Data(base64Encoded: text), let map = try? PrecompiledCharsmap([UInt8](blob))
    else { return false }
    tables.map = map.entries
    return true
  }

  private mutating func readMetaspace(_ tables: inout TokenizerTables, model: String) {
    let parts = steps(json["pre_tokenizer"], "pretokenizers")
    var isKnown = true
    var dropsSpace = false
    for part in parts {
      switch part["type"].text {
      case "WhitespaceSplit" where !dropsSpace && tables.preTokenizer == .none: dropsSpace = true
      // There is no space left by then.
      case "Split"
      where part["pattern"]["String"].text == " " && tables.normalizer.contains(.metaspace):
        break
      case "Metaspace" where part["replacement"].text == "▁":
        tables.normalizer.insert(.metaspace)
        if part["split"].flag ?? true { tables.preTokenizer = .spaces }
        let scheme =
          part["prepend_scheme"].text
          ?? (part["add_prefix_space"].flag ?? true ? "always" : "never")
        switch scheme {
        case "always": tables.normalizer.formUnion([.prefix, .prefixUnlessSpace])
        case "first": tables.normalizer.formUnion([.prefix, .prefixFirst, .prefixUnlessSpace])
        case "never": break
        default: isKnown = false
        }
      default: isKnown = false
      }
    }
    if dropsSpace {
      let always: TokenizerTables.Normalizer = [.prefix, .prefixUnlessSpace]
      isKnown =
        isKnown && tables.preTokenizer == .spaces && tables.normalizer.isSuperset(of: always)
        && !tables.normalizer.contains(.prefixFirst)
      tables.normalizer.subtract(always)
      tables.normalizer.insert(.words)
      tables.ranges = CharacterRange.spaces
    }
    if !isKnown {
      problems.append("pre_tokenizer \(name(json["pre_tokenizer"])) with \(model)")
    }
  }

  private mutating func readDecoder(_ tables: inout TokenizerTables, model: String) {
    var isKnown = true
    var hasBytes = false
    var hasSpaces = false
    for part in steps(json["decoder"], "decoders") {
      switch part["type"].text {
      case "Replace" where part["pattern"]["String"].text == "▁" && part["content"].text == " ":
        hasSpaces = true
      case "ByteFallback": hasBytes = true
      case "Fuse": break
      case "Strip"
      where part["content"].text == " " && part["start"].id == 1 && part["stop"].id == 0:
        tables.decoder = .stripAtStart
      case "Metaspace" where part["replacement"].text == "▁":
        hasSpaces = true
        let never =
          part["prepend_scheme"].text == "never"
          || (part["prepend_scheme"] == .null && part["add_prefix_space"].flag == false)
        tables.decoder = never ? .concatenate : .stripAllAtStart
      default: isKnown = false
      }
    }
    let needsBytes = tables.byteIds.contains { $0 != nil }
    if !isKnown || !hasSpaces || (needsBytes && !hasBytes) {
      problems.append("decoder \(name(json["decoder"])) with \(model)")
    }
  }
}
