// Reads a llama2.c legacy checkpoint (.bin): seven int32, then float32 weights.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The llama2.c legacy format: header {width, feed-forward width, layers, query heads, key-value
/// heads, vocabulary size, context length}; a negative vocabulary size means a separate head.
enum Llama2C {
  private static let headerFields = [
    "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len",
  ]
  private static let headerBytes = 28
  /// First word of the newer export versions, "ak42".
  private static let versionedMagic: Int32 = 0x616b_3432
  /// Most layers we read: far beyond any model, so that a header cannot ask for endless work.
  private static let layerLimit = 4096

  /// Reads the weights; the file must be exactly as long as its header says.
  static func load(_ path: String) throws(ImportError) -> DecoderWeights {
    let file = try MappedFile(path)
    let description = try header(file)
    var cursor = Cursor(file: file)
    return try cursor.weights(description)
  }

  private static func header(_ file: MappedFile) throws(ImportError) -> DecoderDescription {
    var fields: [Int] = []
    for (index, name) in headerFields.enumerated() {
      let value = try file.load(Int32.self, at: index * 4, of: name)
      if index == 0, value == versionedMagic {
        throw .unsupported([
          "\(file.path): a versioned llama2.c export; export with --version 0"
        ])
      }
      let isValid = name == "vocab_size" ? value != 0 : value > 0
      guard isValid else {
        throw .bad(
          .outOfRange, file: file.path, field: name, offset: index * 4, "\(value) is not possible",
          advice: "check that this is a llama2.c checkpoint")
      }
      fields.append(Int(value))
    }
    let queryHeads = fields[3]
    guard fields[2] <= layerLimit else {
      throw .bad(
        .outOfRange, file: file.path, field: "n_layers", offset: 8,
        "\(fields[2]), over the limit of \(layerLimit)",
        advice: "check that this is a llama2.c checkpoint")
    }
    guard fields[0] % queryHeads == 0, fields[0] / queryHeads % 2 == 0,
      queryHeads % fields[4] == 0
    else {
      throw .bad(
        .outOfRange, file: file.path, field: "n_heads", offset: 12,
        "dim \(fields[0]), \(queryHeads) heads and \(fields[4]) key-value heads do not divide",
        advice: "check that this is a llama2.c checkpoint")
    }
    let description = DecoderDescription(
      vocabularySize: abs(fields[5]), width: fields[0], feedForwardWidth: fields[1],
      layers: fields[2], queryHeads: queryHeads, keyValueHeads: fields[4],
      headWidth: fields[0] / queryHeads, contextLength: fields[6], normEpsilon: 1e-5,
      ropeBase: 10000, ropePairing: .interleaved, tiedHead: fields[5] > 0)
    try checkSize(file, description)
    return description
  }

  /// Throws where the file is shorter or longer than the weights of the description.
  private static func checkSize(
    _ file: MappedFile, _ d: DecoderDescription
  ) throws(ImportError) {
    let products = [
      [d.vocabularySize, d.width, d.tiedHead ? 1 : 2],
      [d.layers, d.width, 2], [d.layers, d.queryWidth, d.width, 2],
      [d.layers, d.keyValueWidth, d.width, 2], [d.layers, d.width, d.feedForwardWidth, 3],
      [d.width], [d.contextLength, d.headWidth],
    ]
    var total: Int? = 0
    for product in products {
      guard let sum = total, let size = checkedProduct(product) else {
        total = nil
        break
      }
      let (next, overflow) = sum.addingReportingOverflow(size)
      total = overflow ? nil : next
    }
    guard let floats = total, floats <= (Int.max - headerBytes) / 4 else {
      throw .bad(
        .sizeOverflow, file: file.path, field: "header", offset: 0, "sizes are beyond 64 bits",
        advice: "check that this is a llama2.c checkpoint")
    }
    let expected = headerBytes + floats * 4
    guard file.count == expected else {
      throw .bad(
        file.count < expected ? .truncated : .trailingBytes, file: file.path, field: "weights",
        offset: min(file.count, expected),
        "the header asks for a file of \(expected) bytes, this one has \(file.count)",
        advice: "check that this is a llama2.c checkpoint (export version 0), fetched completely")
    }
  }

  /// Takes tensors one after the other.
  private struct Cursor {
    let file: MappedFile
    var offset = headerBytes

    mutating func floats(_ count: Int, _ field: String) throws(ImportError) -> [Float] {
      let start = offset
      offset += count * 4
      let values = try file.withBytes(at: start, count: count * 4, of: field) {
        decodeFloats($0, .float32)
      }
      guard let values else {
        throw .bad(
          .notFinite, file: file.path, field: field, offset: start,
          "holds an infinity or something that is not a number")
      }
      return values
    }

    mutating func matrices(
      _ count: Int, _ rows: Int, _ columns: Int, _ field: String
    ) throws(ImportError) -> [Matrix] {
      var result: [Matrix] = []
      for layer in 0..<count {
        let values = try floats(rows * columns, "\(field)[\(layer)]")
        result.append(Matrix(rows: rows, columns: columns, values: values))
      }
      return result
    }

    /// The tensors in file order; `checkSize` has seen that they are there.
    mutating func weights(_ d: DecoderDescription) throws(ImportError) -> DecoderWeights {
      let n = d.layers
      let embedding = try matrices(1, d.vocabularySize, d.width, "token_embedding_table")[0]
      let attentionNorm = try matrices(n, 1, d.width, "rms_att_weight")
      let query = try matrices(n, d.queryWidth, d.width, "wq")
      let key = try matrices(n, d.keyValueWidth, d.width, "wk")
      let value = try matrices(n, d.keyValueWidth, d.width, "wv")
      let output = try matrices(n, d.width, d.queryWidth, "wo")
      let feedForwardNorm = try matrices(n, 1, d.width, "rms_ffn_weight")
      let gate = try matrices(n, d.feedForwardWidth, d.width, "w1")
      let down = try matrices(n, d.width, d.feedForwardWidth, "w2")
      let up = try matrices(n, d.feedForwardWidth, d.width, "w3")
      let finalNorm = try floats(d.width, "rms_final_weight")
      // Tables of cosines and sines, which nobody reads any more.
      offset += d.contextLength * d.headWidth * 4
      let head = d.tiedHead ? nil : try matrices(1, d.vocabularySize, d.width, "wcls")[0]
      return DecoderWeights(
        description: d, embedding: embedding,
        layers: (0..<n).map { i in
          DecoderLayer(
            attentionNorm: attentionNorm[i].values, query: query[i], key: key[i], value: value[i],
            output: output[i], feedForwardNorm: feedForwardNorm[i].values, gate: gate[i],
            up: up[i], down: down[i])
        },
        finalNorm: finalNorm, head: head)
    }
  }
}
