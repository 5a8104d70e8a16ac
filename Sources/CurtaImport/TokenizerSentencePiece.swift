// SentencePiece's tokenizer.model: a protocol buffer with pieces, options and a normalizer.
// SPDX-License-Identifier: Apache-2.0

/// Reads `ModelProto` of sentencepiece_model.proto.
struct SentencePieceModel {
  private static let unigram = 1
  private static let bpe = 2

  private let path: String
  private var texts: [[UInt8]] = []
  private var scores: [Float] = []
  private var types: [ScoredPieces.PieceType] = []
  private var modelType = 1
  private var hasByteFallback = false
  private var hasSpaceAsSuffix = false
  private var begin = 1
  private var end = 2
  private var addsPrefix = true
  private var removesSpaces = true
  private var escapesSpaces = true
  private var charsmap: [UInt8] = []
  private var hasDenormalizer = false

  /// The tables of the tokenizer.model at `path`.
  static func tables(_ path: String) throws(ImportError) -> TokenizerTables {
    let mapped = try MappedFile(path)
    guard mapped.count <= 1 << 28 else {
      throw .bad(.headerTooLarge, file: path, "\(mapped.count) bytes, over the limit of 256 MiB")
    }
    let bytes = try mapped.withBytes(at: 0, count: mapped.count, of: "model") { [UInt8]($0) }
    var model = SentencePieceModel(path: path)
    do throws(ProtobufReader.Failure) {
      try model.read(bytes)
    } catch {
      throw .bad(
        .wrongType, file: path, field: "model", offset: error.offset, error.detail,
        advice: "check that this is a tokenizer.model of SentencePiece")
    }
    return try model.tables()
  }

  private init(path: String) { self.path = path }

  // MARK: - Fields

  private mutating func read(_ file: [UInt8]) throws(ProtobufReader.Failure) {
    var reader = ProtobufReader(file)
    while let field = try reader.next() {
      guard case .bytes(let range) = field.value else { continue }
      switch field.number {
      case 1: try readPiece(file, range)
      case 2: try readTrainer(file, range)
      case 3: try readNormalizer(file, range)
      case 5: hasDenormalizer = try hasCharsmap(file, range)
      default: break
      }
    }
  }

  private mutating func readPiece(
    _ file: [UInt8], _ range: Range<Int>
  ) throws(ProtobufReader.Failure) {
    var reader = ProtobufReader(file, range)
    var text: [UInt8] = []
    var score: Float = 0
    var type = ScoredPieces.PieceType.normal
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .bytes(let range)): text = Array(file[range])
      case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
      case (3, .varint(let number)):
        guard let known = ScoredPieces.PieceType(rawValue: Int(clamping: number)) else {
          throw .init(offset: field.offset, detail: "piece \(texts.count) of type \(number)")
        }
        type = known
      default: break
      }
    }
    guard !text.isEmpty, score.isFinite, texts.count < 1 << 20 else {
      throw .init(
        offset: range.lowerBound,
        detail: "piece \(texts.count) is empty, has no score or is one too many")
    }
    texts.append(text)
    scores.append(score)
    types.append(type)
  }

  private mutating func readTrainer(
    _ file: [UInt8], _ range: Range<Int>
  ) throws(ProtobufReader.Failure) {
    var reader = ProtobufReader(file, range)
    while let field = try reader.next() {
      guard case .varint(let value) = field.value else { continue }
      let number = Int(truncatingIfNeeded: Int64(bitPattern: value))
      switch field.number {
      case 3: modelType = number
      case 24: hasSpaceAsSuffix = number != 0
      case 35: hasByteFallback = number != 0
      case 41: begin = number
      case 42: end = number
      default: break
      }
    }
  }

  private mutating func readNormalizer(
    _ file: [UInt8], _ range: Range<Int>
  ) throws(ProtobufReader.Failure) {
    var reader = ProtobufReader(file, range)
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (2, .bytes(let range)): charsmap = Array(file[range])
      case (3, .varint(let value)): addsPrefix = value != 0
      case (4, .varint(let value)): removesSpaces = value != 0
      case (5, .varint(let value)): escapesSpaces = value != 0
      default: break
      }
    }
  }

  private func hasCharsmap(
    _ file: [UInt8], _ range: Range<Int>
  ) throws(ProtobufReader.Failure) -> Bool {
    var reader = ProtobufReader(file, range)
    var found = false
    while let field = try reader.next() {
      if field.number == 2, case .bytes(let range) = field.value { found = !range.isEmpty }
    }
    return found
  }

  // MARK: - Tables

  private func tables() throws(ImportError) -> TokenizerTables {
    var pieces: ScoredPieces
    do throws(ScoredPieces.Failure) {
      pieces = try ScoredPieces(texts: texts, scores: scores, types: types)
    } catch {
      throw .bad(error.reason, file: path, field: "pieces", error.detail)
    }
    guard !texts.isEmpty else { throw .bad(.missingField, file: path, field: "pieces", "none") }
    if hasSpaceAsSuffix { pieces.problems.append("SentencePiece with white space as suffix") }
    if !escapesSpaces { pieces.problems.append("SentencePiece without escape_whitespaces") }
    if hasDenormalizer { pieces.problems.append("SentencePiece with a denormalizer") }
    if hasByteFallback, pieces.missingBytes > 0 {
      pieces.problems.append("byte_fallback without a token for \(pieces.missingBytes) bytes")
    }
    var tables: TokenizerTables?
    switch modelType {
    case Self.unigram: tables = pieces.unigram()
    case Self.bpe: tables = pieces.bpe(normalizedUserDefined: true)
    default: pieces.problems.append("SentencePiece model type \(modelType) (supported: 1, 2)")
    }
    guard pieces.problems.isEmpty, var tables else { throw .unsupported(pieces.problems) }
    try setNormalizer(of: &tables)
    let isControl = { (id: Int) in types.indices.contains(id) && types[id] == .control }
    tables.begin = isControl(begin) ? begin : nil
    tables.ends = isControl(end) ? [end] : []
    return tables
  }

  private func setNormalizer(of tables: inout TokenizerTables) throws(ImportError) {
    var steps: TokenizerTables.Normalizer = [.metaspace, .repair]
    if addsPrefix { steps.insert(.prefix) }
    if removesSpaces { steps.formUnion([.collapse, .stripStart, .stripEnd]) }
    tables.normalizer = steps
    tables.decoder = addsPrefix || removesSpaces ? .stripAtStart : .concatenate
    if !charsmap.isEmpty {
      do throws(PrecompiledCharsmap.Failure) {
        tables.map = try PrecompiledCharsmap(charsmap).entries
      } catch {
        throw .bad(.outOfRange, file: path, field: "precompiled_charsmap", error.detail)
      }
    }
    // What a user defined is left as it is, before any entry of the map.
    let own = types.indices.filter { types[$0] == .userDefined }.map { texts[$0] }
    guard !own.isEmpty, !tables.map.isEmpty || removesSpaces else { return }
    tables.map.removeAll { entry in own.contains { entry.source.starts(with: $0) } }
    tables.map += own.map { .init(source: $0, replacement: $0) }
  }
}
