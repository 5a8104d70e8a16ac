// SentencePiece's models in GGUF metadata: BPE ("llama") and unigram ("t5"), pieces with scores.
// SPDX-License-Identifier: Apache-2.0

extension GGUFTokenizer {
  /// Tables for tokenizer model "llama".
  mutating func scoredBPE() throws(ImportError) -> TokenizerTables {
    var pieces = try pieces()
    let missing = pieces.missingBytes
    if missing > 0 {
      problems.append(
        "tokenizer model \"llama\" without a token for \(missing) of 256 bytes (supported: all)")
    }
    if try file.flag("tokenizer.ggml.remove_extra_whitespaces", default: false) {
      problems.append("tokenizer.ggml.remove_extra_whitespaces = true (supported: false)")
    }
    var tables = pieces.bpe(normalizedUserDefined: false)
    if !(try file.flag("tokenizer.ggml.add_space_prefix", default: true)) {
      tables.normalizer.remove(.prefix)
      tables.decoder = .concatenate
    }
    problems += pieces.problems
    return tables
  }

  /// Tables for tokenizer model "t5".
  mutating func unigram() throws(ImportError) -> TokenizerTables {
    var pieces = try pieces()
    var tables = pieces.unigram()
    problems += pieces.problems
    tables.normalizer.insert(.repair)
    // As `tokenizers` and llama.cpp, which add 64-bit floats.
    tables.roundsSums = false
    if !(try file.flag("tokenizer.ggml.add_space_prefix", default: true)) {
      tables.normalizer.remove(.prefix)
    }
    if try file.flag("tokenizer.ggml.remove_extra_whitespaces", default: false) {
      tables.normalizer.formUnion([.collapse, .stripStart, .stripEnd])
    }
    let key = "tokenizer.ggml.precompiled_charsmap"
    if let map = try file.integers(key, limit: 1 << 24), !map.isEmpty {
      do throws(PrecompiledCharsmap.Failure) {
        let bytes = map.map { UInt8(truncatingIfNeeded: $0) }
        tables.map = try PrecompiledCharsmap(bytes).entries
      } catch {
        throw bad(.outOfRange, key, error.detail)
      }
    }
    return tables
  }

  private func pieces() throws(ImportError) -> ScoredPieces {
    let key = "tokenizer.ggml.scores"
    guard let scores = try file.floats(key, limit: tokens.count) else {
      throw bad(.missingField, key, "is missing")
    }
    try checkCount(key, scores.count)
    do throws(ScoredPieces.Failure) {
      return try ScoredPieces(texts: tokens, scores: scores, types: types)
    } catch {
      throw bad(error.reason, GGUFTokenizer.tokensKey, error.detail)
    }
  }
}
