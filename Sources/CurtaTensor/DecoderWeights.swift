// What a float checkpoint of a decoder-only language model is, whatever file it came from.
// SPDX-License-Identifier: Apache-2.0

/// Which two elements of a head turn together.
public enum RopePairing: String, Sendable, Equatable {
  /// Elements 2i and 2i+1 (llama2.c, the original Llama weights).
  case interleaved
  /// Elements i and i + headWidth/2 (Hugging Face).
  case halfSplit
}

/// The shape and constants of a decoder.
public struct DecoderDescription: Sendable, Equatable {
  /// Number of tokens.
  public var vocabularySize: Int
  /// Width of the residual stream ("hidden size").
  public var width: Int
  /// Inner width of the feed-forward network ("intermediate size").
  public var feedForwardWidth: Int
  public var layers: Int
  public var queryHeads: Int
  /// Divides `queryHeads`; equal to it without grouped-query attention.
  public var keyValueHeads: Int
  /// Elements of one head; even.
  public var headWidth: Int
  /// Tokens the model was trained to see at once.
  public var contextLength: Int
  /// Added to the mean square inside RMSNorm.
  public var normEpsilon: Float
  /// Base of the rotary frequencies: pair i turns by position · base^(−2i/headWidth) radians.
  public var ropeBase: Double
  public var ropePairing: RopePairing
  /// Whether the head is the embedding.
  public var tiedHead: Bool

  public init(
    vocabularySize: Int, width: Int, feedForwardWidth: Int, layers: Int, queryHeads: Int,
    keyValueHeads: Int, headWidth: Int, contextLength: Int, normEpsilon: Float = 1e-5,
    ropeBase: Double = 10000, ropePairing: RopePairing, tiedHead: Bool
  ) {
    self.vocabularySize = vocabularySize
    self.width = width
    self.feedForwardWidth = feedForwardWidth
    self.layers = layers
    self.queryHeads = queryHeads
    self.keyValueHeads = keyValueHeads
    self.headWidth = headWidth
    self.contextLength = contextLength
    self.normEpsilon = normEpsilon
    self.ropeBase = ropeBase
    self.ropePairing = ropePairing
    self.tiedHead = tiedHead
  }

  /// Elements of all query heads of one token.
  public var queryWidth: Int { queryHeads * headWidth }
  /// Elements of all key (or value) heads of one token.
  public var keyValueWidth: Int { keyValueHeads * headWidth }
}

/// One transformer block. Matrices are [output][input].
public struct DecoderLayer: Sendable, Equatable {
  public var attentionNorm: [Float]  // [width]
  public var query: Matrix  // [queryWidth][width]
  public var key: Matrix  // [keyValueWidth][width]
  public var value: Matrix  // [keyValueWidth][width]
  public var output: Matrix  // [width][queryWidth]
  public var feedForwardNorm: [Float]  // [width]
  public var gate: Matrix  // [feedForwardWidth][width]
  public var up: Matrix  // [feedForwardWidth][width]
  public var down: Matrix  // [width][feedForwardWidth]

  public init(
    attentionNorm: [Float], query: Matrix, key: Matrix, value: Matrix, output: Matrix,
    feedForwardNorm: [Float], gate: Matrix, up: Matrix, down: Matrix
  ) {
    self.attentionNorm = attentionNorm
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.feedForwardNorm = feedForwardNorm
    self.gate = gate
    self.up = up
    self.down = down
  }

  /// Whether every tensor has the shape the description asks for.
  func fits(_ d: DecoderDescription) -> Bool {
    attentionNorm.count == d.width && feedForwardNorm.count == d.width
      && query.hasShape(d.queryWidth, d.width) && key.hasShape(d.keyValueWidth, d.width)
      && value.hasShape(d.keyValueWidth, d.width) && output.hasShape(d.width, d.queryWidth)
      && gate.hasShape(d.feedForwardWidth, d.width) && up.hasShape(d.feedForwardWidth, d.width)
      && down.hasShape(d.width, d.feedForwardWidth)
  }
}

/// All parameters of a decoder in float32.
public struct DecoderWeights: Sendable, Equatable {
  public var description: DecoderDescription
  public var embedding: Matrix  // [vocabularySize][width]
  public var layers: [DecoderLayer]  // [layers]
  public var finalNorm: [Float]  // [width]
  public var head: Matrix?  // [vocabularySize][width]; nil: the embedding

  public init(
    description: DecoderDescription, embedding: Matrix, layers: [DecoderLayer],
    finalNorm: [Float], head: Matrix?
  ) {
    self.description = description
    self.embedding = embedding
    self.layers = layers
    self.finalNorm = finalNorm
    self.head = head
  }

  /// Whether every tensor has the shape the description asks for. An importer must see to it.
  public var isConsistent: Bool {
    let d = description
    return embedding.hasShape(d.vocabularySize, d.width) && finalNorm.count == d.width
      && (head?.hasShape(d.vocabularySize, d.width) ?? d.tiedHead) && d.headWidth % 2 == 0
      && d.keyValueHeads > 0 && d.queryHeads % d.keyValueHeads == 0
      && layers.count == d.layers && layers.allSatisfy { $0.fits(d) }
  }

  /// Number of parameters; a tied head counts once.
  public var parameterCount: Int {
    let layerCount = layers.reduce(0) { sum, layer in
      let matrices = [
        layer.query, layer.key, layer.value, layer.output, layer.gate, layer.up, layer.down,
      ]
      return sum + layer.attentionNorm.count + layer.feedForwardNorm.count
        + matrices.reduce(0) { $0 + $1.values.count }
    }
    return embedding.values.count + layerCount + finalNorm.count + (head?.values.count ?? 0)
  }
}

extension Matrix {
  func hasShape(_ rows: Int, _ columns: Int) -> Bool {
    self.rows == rows && self.columns == columns && values.count == rows * columns
  }
}
