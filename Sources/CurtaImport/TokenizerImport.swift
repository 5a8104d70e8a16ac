// From a checkpoint's tokenizer files to the tokenizer section of a .curta file.
// SPDX-License-Identifier: Apache-2.0

/// The tokenizer section of a checkpoint, with its begin and end tokens and its vocabulary size.
///
/// - Returns: the bytes of the section; none at all for a checkpoint without a tokenizer.
/// - Throws: as `tokenizerSection(from:begin:addsBegin:ends:vocabularySize:)`.
public func tokenizerSection(of checkpoint: Checkpoint) throws(ImportError) -> [UInt8] {
  try tokenizerSection(
    from: checkpoint.tokenizer, begin: checkpoint.bos.map { Int($0) },
    addsBegin: checkpoint.addsBos, ends: checkpoint.eos.map { Int($0) },
    vocabularySize: checkpoint.source.description.vocabularySize)
}

/// The tokenizer section for tokenizer files, laid out as `Formats/curta-tokenizer.md` says.
///
/// - Parameters:
///   - source: which files hold the tokenizer.
///   - begin: id that starts a text, where the tokenizer does not name one itself.
///   - addsBegin: whether texts start with it; nil: as the tokenizer says.
///   - ends: ids that end a text; none: those that the tokenizer format fixes (llama2.c: 1, 2).
///   - vocabularySize: rows of the model's embedding. Ids without a token up to there decode to
///     nothing; more tokens than rows are an error. nil: as many as the tokenizer has.
/// - Returns: the bytes of the section; none at all for `.none`.
/// - Throws: `unsupported` with everything that the runtime cannot do, `malformed` for a damaged
///   file, `unreadable`.
public func tokenizerSection(
  from source: TokenizerSource, begin: Int? = nil, addsBegin: Bool? = nil, ends: [Int] = [],
  vocabularySize: Int? = nil
) throws(ImportError) -> [UInt8] {
  guard let path = source.path else { return [] }
  var tables: TokenizerTables
  switch source {
  case .none: return []
  case .huggingFace: tables = try HuggingFaceTokenizer.tables(path)
  case .llama2c(_, let size): tables = try llama2cTables(path, count: size)
  case .gguf: tables = try GGUFTokenizer.tables(path)
  case .sentencePiece: tables = try SentencePieceModel.tables(path)
  }
  if tables.begin == nil { tables.begin = begin }
  if let addsBegin { tables.addsBegin = addsBegin }
  if tables.begin == nil { tables.addsBegin = false }
  if !ends.isEmpty { tables.ends = ends }
  if let rows = vocabularySize {
    guard rows >= tables.tokens.count else {
      throw .bad(
        .contradiction, file: path, field: "vocabulary",
        "\(tables.tokens.count) tokens for \(rows) rows of the embedding",
        advice: "use the tokenizer that belongs to these weights")
    }
    tables.tokens += Array(repeating: [], count: rows - tables.tokens.count)
  }
  return try tables.section(file: path)
}
