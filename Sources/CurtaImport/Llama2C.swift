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

  /// Opens the file, which must be exactly as long as its header says.
  ///
  /// Its rows of query and key turn as neighbours; they are put into the order of Hugging Face.
  static func load(_ path: String, context: Int? = nil) throws(ImportError) -> DecoderSource {
    let file = try MappedFile(path)
    var description = try header(file)
    let places = Places(description, file)
    let parameterCount = places.parameterCount
    if let context { description.contextLength = context }
    let d = description
    return DecoderSource(
      description: d, parameterCount: parameterCount, ends: { try places.ends(d) },
      layer: { try places.layer($0, d) })
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
    let headWidth = fields[0] / queryHeads
    var description = DecoderDescription(
      vocabularySize: abs(fields[5]), width: fields[0], feedForwardWidth: fields[1],
      layers: fields[2], queryHeads: queryHeads, keyValueHeads: fields[4],
      headWidth: headWidth, contextLength: fields[6],
      parts: fields[5] > 0 ? [.gate, .tiedHead] : [.gate], rotary: [])
    try checkSize(file, description)
    // The file is as large as this says, so the table is small.
    let table = RotaryTable(base: 10000, width: headWidth, pairing: .halfSplit)
    _ = description.setRotary([ScaledRotary(table: table)])
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

  /// Where the tensors are: all layers of one kind behind each other.
  private struct Places {
    let file: MappedFile
    /// Byte offset of the first layer's tensor of every kind, in file order.
    private var starts: [String: Int] = [:]
    private(set) var parameterCount = 0

    init(_ d: DecoderDescription, _ file: MappedFile) {
      self.file = file
      var offset = headerBytes
      func place(_ name: String, _ count: Int, isParameter: Bool = true) {
        starts[name] = offset
        offset += 4 * count
        if isParameter { parameterCount += count }
      }
      let n = d.layers
      place("token_embedding_table", d.vocabularySize * d.width)
      place("rms_att_weight", n * d.width)
      place("wq", n * d.queryWidth * d.width)
      place("wk", n * d.keyValueWidth * d.width)
      place("wv", n * d.keyValueWidth * d.width)
      place("wo", n * d.width * d.queryWidth)
      place("rms_ffn_weight", n * d.width)
      place("w1", n * d.feedForwardWidth * d.width)
      place("w2", n * d.feedForwardWidth * d.width)
      place("w3", n * d.feedForwardWidth * d.width)
      place("rms_final_weight", d.width)
      // Tables of cosines and sines, which nobody reads any more.
      place("freq_cis", d.contextLength * d.headWidth, isParameter: false)
      if !d.tiedHead { place("wcls", d.vocabularySize * d.width) }
    }

    private func floats(
      _ name: String, _ layer: Int, _ count: Int
    ) throws(ImportError) -> [Float] {
      let start = (starts[name] ?? 0) + layer * count * 4
      let values = try file.withBytes(at: start, count: count * 4, of: name) {
        decodeFloats($0, .float32)
      }
      guard let values else {
        throw .bad(
          .notFinite, file: file.path, field: "\(name)[\(layer)]", offset: start,
          "holds an infinity or something that is not a number")
      }
      return values
    }

    private func matrix(
      _ name: String, _ layer: Int, _ rows: Int, _ columns: Int
    ) throws(ImportError) -> Matrix {
      Matrix(rows: rows, columns: columns, values: try floats(name, layer, rows * columns))
    }

    func ends(_ d: DecoderDescription) throws(ImportError) -> DecoderEnds {
      DecoderEnds(
        embedding: try matrix("token_embedding_table", 0, d.vocabularySize, d.width),
        finalNorm: NormLayer(try floats("rms_final_weight", 0, d.width)),
        head: d.tiedHead ? nil : try matrix("wcls", 0, d.vocabularySize, d.width))
    }

    func layer(_ i: Int, _ d: DecoderDescription) throws(ImportError) -> DecoderLayer {
      let query = try matrix("wq", i, d.queryWidth, d.width).halfSplitRows(heads: d.queryHeads)
      let key = try matrix("wk", i, d.keyValueWidth, d.width).halfSplitRows(heads: d.keyValueHeads)
      return DecoderLayer(
        attentionNorm: NormLayer(try floats("rms_att_weight", i, d.width)),
        query: LinearLayer(query), key: LinearLayer(key),
        value: LinearLayer(try matrix("wv", i, d.keyValueWidth, d.width)),
        output: LinearLayer(try matrix("wo", i, d.width, d.queryWidth)),
        feedForwardNorm: NormLayer(try floats("rms_ffn_weight", i, d.width)),
        gate: LinearLayer(try matrix("w1", i, d.feedForwardWidth, d.width)),
        up: LinearLayer(try matrix("w3", i, d.feedForwardWidth, d.width)),
        down: LinearLayer(try matrix("w2", i, d.width, d.feedForwardWidth)))
    }
  }
}
