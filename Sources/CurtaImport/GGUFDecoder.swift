// From the metadata and tensors of a GGUF file to a decoder: architecture "llama".
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// A GGUF file of architecture "llama".
///
/// The file has the rows of query and key in the order that turns neighbours together. They are put
/// back into the order of Hugging Face, so that both sources of a model give the same weights.
struct GGUFDecoder {
  let file: GGUFFile
  private static let embeddingName = "token_embd.weight"
  private static let finalNormName = "output_norm.weight"
  private static let headName = "output.weight"

  /// Reads the file; `tokenizer` replaces the one in its metadata.
  static func load(_ path: String, tokenizer: String?) throws(ImportError) -> Checkpoint {
    let file = try GGUFFile(path)
    let decoder = GGUFDecoder(file: file)
    var problems = try decoder.unsupported()
    let hasTokenizer = tokenizer == nil && GGUFTokenizer.exists(in: file)
    if hasTokenizer { problems += try GGUFTokenizer.problems(file) }
    guard problems.isEmpty else { throw .unsupported(problems) }

    let weights = try decoder.weights()
    let size = weights.description.vocabularySize
    let source =
      hasTokenizer
      ? TokenizerSource.gguf(path: path)
      : try TokenizerSource.find(option: tokenizer, candidates: [], vocabularySize: size)
    let marks = try GGUFMarks(file, vocabularySize: size)
    var checkpoint = Checkpoint(
      weights: weights, tokenizer: source, bos: marks.begin, eos: marks.ends)
    checkpoint.addsBos = marks.addsBegin && marks.begin != nil
    checkpoint.sourceFiles = [SourceFile(file.file)]
    if let tokenizer { checkpoint.sourceFiles.append(try SourceFile(at: tokenizer)) }
    return checkpoint
  }

  // MARK: - Description

  func description() throws(ImportError) -> DecoderDescription {
    let sizes = 1...1 << 24
    let heads = 1...1 << 16
    let width = try file.integer("llama.embedding_length", in: sizes)
    let queryHeads = try file.integer("llama.attention.head_count", in: heads)
    let keyValueHeads = try file.integer(
      "llama.attention.head_count_kv", in: heads, default: queryHeads)
    let headWidth = try file.integer(
      "llama.attention.key_length", in: heads, default: width / queryHeads)
    guard queryHeads % keyValueHeads == 0 else {
      throw bad("llama.attention.head_count_kv", "\(keyValueHeads) does not divide \(queryHeads)")
    }
    guard headWidth > 0, headWidth % 2 == 0 else {
      throw bad("llama.attention.head_count", "leaves heads of \(headWidth), not even and positive")
    }
    return DecoderDescription(
      vocabularySize: try vocabularySize(), width: width,
      feedForwardWidth: try file.integer("llama.feed_forward_length", in: sizes),
      layers: try file.integer("llama.block_count", in: 1...4096), queryHeads: queryHeads,
      keyValueHeads: keyValueHeads, headWidth: headWidth,
      contextLength: try file.integer("llama.context_length", in: sizes),
      normEpsilon: Float(try file.positive("llama.attention.layer_norm_rms_epsilon")),
      ropeBase: try file.positive("llama.rope.freq_base", default: 10000),
      ropePairing: .halfSplit, tiedHead: find(GGUFDecoder.headName) == nil)
  }

  private func bad(_ key: String, _ detail: String) -> ImportError {
    .bad(.outOfRange, file: file.path, field: key, offset: file.metadata[key]?.offset, detail)
  }

  /// Rows of the embedding; the metadata need not say it, but must not say anything else.
  private func vocabularySize() throws(ImportError) -> Int {
    let name = GGUFDecoder.embeddingName
    guard let embedding = find(name) else { throw missing(name) }
    let rows = embedding.dimensions.count == 2 ? embedding.dimensions[1] : 0
    guard (1...1 << 24).contains(rows) else { throw wrongShape(embedding, [rows]) }
    let stated = try file.integer("llama.vocab_size", in: 1...1 << 24, default: rows)
    guard stated == rows else {
      throw .bad(
        .contradiction, file: file.path, field: "llama.vocab_size",
        offset: file.metadata["llama.vocab_size"]?.offset,
        "is \(stated), but \(name) has \(rows) rows")
    }
    return rows
  }

  // MARK: - Tensors

  private func find(_ name: String) -> GGUFTensor? { file.tensors.first { $0.name == name } }

  private func missing(_ name: String) -> ImportError {
    .bad(.missingTensor, file: file.path, field: name, "is not in the file")
  }

  private func wrongShape(_ tensor: GGUFTensor, _ expected: [Int]) -> ImportError {
    .bad(
      .wrongShape, file: file.path, field: tensor.name, offset: tensor.recordOffset,
      "has dimensions \(tensor.dimensions), the metadata asks for \(expected)")
  }

  /// Names of the tensors of one layer.
  static let layerNames = [
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up",
    "ffn_down",
  ]

  func weights() throws(ImportError) -> DecoderWeights {
    let d = try description()
    let byName = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
    func values(_ name: String, _ dimensions: [Int]) throws(ImportError) -> [Float] {
      guard let tensor = byName[name] else { throw missing(name) }
      guard tensor.dimensions == dimensions else { throw wrongShape(tensor, dimensions) }
      return try floats(tensor)
    }
    func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(ImportError) -> Matrix {
      Matrix(rows: rows, columns: columns, values: try values(name, [columns, rows]))
    }
    let embedding = try matrix(GGUFDecoder.embeddingName, d.vocabularySize, d.width)
    var layers: [DecoderLayer] = []
    for index in 0..<d.layers {
      func name(_ part: String) -> String { "blk.\(index).\(part).weight" }
      layers.append(
        DecoderLayer(
          attentionNorm: try values(name("attn_norm"), [d.width]),
          query: try matrix(name("attn_q"), d.queryWidth, d.width)
            .halfSplitRows(heads: d.queryHeads),
          key: try matrix(name("attn_k"), d.keyValueWidth, d.width)
            .halfSplitRows(heads: d.keyValueHeads),
          value: try matrix(name("attn_v"), d.keyValueWidth, d.width),
          output: try matrix(name("attn_output"), d.width, d.queryWidth),
          feedForwardNorm: try values(name("ffn_norm"), [d.width]),
          gate: try matrix(name("ffn_gate"), d.feedForwardWidth, d.width),
          up: try matrix(name("ffn_up"), d.feedForwardWidth, d.width),
          down: try matrix(name("ffn_down"), d.width, d.feedForwardWidth)))
    }
    return DecoderWeights(
      description: d, embedding: embedding, layers: layers,
      finalNorm: try values(GGUFDecoder.finalNormName, [d.width]),
      head: d.tiedHead ? nil : try matrix(GGUFDecoder.headName, d.vocabularySize, d.width))
  }

  /// The values of a tensor, decoded exactly.
  private func floats(_ tensor: GGUFTensor) throws(ImportError) -> [Float] {
    let values = try file.file.withBytes(
      at: tensor.offset, count: tensor.count, of: tensor.name
    ) { decodeGGUF($0, tensor.type) }
    guard let values else {
      throw .bad(
        .notFinite, file: file.path, field: tensor.name, offset: tensor.offset,
        "holds an infinity or something that is not a number")
    }
    return values
  }
}
