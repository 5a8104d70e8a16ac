// The float parameters of a decoder.
// SPDX-License-Identifier: Apache-2.0

/// A linear layer: weight · x + bias.
public struct LinearLayer: Sendable, Equatable {
  public var weight: Matrix  // [output][input]
  public var bias: [Float]?  // [output]

  public init(_ weight: Matrix, bias: [Float]? = nil) {
    self.weight = weight
    self.bias = bias
  }

  func fits(_ output: Int, _ input: Int, bias hasBias: Bool) -> Bool {
    weight.hasShape(output, input) && bias?.count == (hasBias ? output : nil)
  }

  var parameterCount: Int { weight.values.count + (bias?.count ?? 0) }
}

/// The parameters of a norm.
public struct NormLayer: Sendable, Equatable {
  public var weight: [Float]  // [width]; what multiplies, so 1 + w where a file holds w
  public var bias: [Float]?  // [width]

  public init(_ weight: [Float], bias: [Float]? = nil) {
    self.weight = weight
    self.bias = bias
  }

  func fits(_ width: Int, bias hasBias: Bool) -> Bool {
    weight.count == width && bias?.count == (hasBias ? width : nil)
  }

  var parameterCount: Int { weight.count + (bias?.count ?? 0) }
}

/// One transformer block; the description's parts say which optionals are there.
public struct DecoderLayer: Sendable, Equatable {
  public var attentionNorm: NormLayer  // [width]
  public var query: LinearLayer  // [queryWidth][width]
  public var key: LinearLayer  // [keyValueWidth][width]
  public var value: LinearLayer  // [keyValueWidth][width]
  public var queryNorm: [Float]?  // [headWidth], headNorms
  public var keyNorm: [Float]?  // [headWidth], headNorms
  public var output: LinearLayer  // [width][queryWidth]
  public var attentionPostNorm: NormLayer?  // [width], postNorms
  public var feedForwardNorm: NormLayer?  // [width], but with sharedNorm
  public var gate: LinearLayer?  // [feedForwardWidth][width], gate
  public var up: LinearLayer  // [feedForwardWidth][width]
  public var down: LinearLayer  // [width][feedForwardWidth]
  public var feedForwardPostNorm: NormLayer?  // [width], postNorms

  public init(
    attentionNorm: NormLayer, query: LinearLayer, key: LinearLayer, value: LinearLayer,
    queryNorm: [Float]? = nil, keyNorm: [Float]? = nil, output: LinearLayer,
    attentionPostNorm: NormLayer? = nil, feedForwardNorm: NormLayer?, gate: LinearLayer?,
    up: LinearLayer, down: LinearLayer, feedForwardPostNorm: NormLayer? = nil
  ) {
    self.attentionNorm = attentionNorm
    self.query = query
    self.key = key
    self.value = value
    self.queryNorm = queryNorm
    self.keyNorm = keyNorm
    self.output = output
    self.attentionPostNorm = attentionPostNorm
    self.feedForwardNorm = feedForwardNorm
    self.gate = gate
    self.up = up
    self.down = down
    self.feedForwardPostNorm = feedForwardPostNorm
  }

  /// Whether every tensor is there that the description asks for, in its shape, and no other.
  public func fits(_ d: DecoderDescription) -> Bool {
    let parts = d.parts
    let beta = parts.contains(.normBias)
    func norm(_ norm: NormLayer?, _ wanted: Bool) -> Bool {
      wanted ? norm?.fits(d.width, bias: beta) ?? false : norm == nil
    }
    let headNorm = parts.contains(.headNorms) ? d.headWidth : nil
    return norm(attentionNorm, true)
      && query.fits(d.queryWidth, d.width, bias: parts.contains(.queryBias))
      && key.fits(d.keyValueWidth, d.width, bias: parts.contains(.keyBias))
      && value.fits(d.keyValueWidth, d.width, bias: parts.contains(.valueBias))
      && queryNorm?.count == headNorm && keyNorm?.count == headNorm
      && output.fits(d.width, d.queryWidth, bias: parts.contains(.outputBias))
      && norm(attentionPostNorm, parts.contains(.postNorms))
      && norm(feedForwardNorm, !parts.contains(.sharedNorm))
      && (parts.contains(.gate)
        ? gate?.fits(d.feedForwardWidth, d.width, bias: parts.contains(.gateBias)) ?? false
        : gate == nil)
      && up.fits(d.feedForwardWidth, d.width, bias: parts.contains(.upBias))
      && down.fits(d.width, d.feedForwardWidth, bias: parts.contains(.downBias))
      && norm(feedForwardPostNorm, parts.contains(.postNorms))
  }

  var parameterCount: Int {
    [query, key, value, output, up, down].reduce(gate?.parameterCount ?? 0) {
      $0 + $1.parameterCount
    }
      + [attentionNorm, attentionPostNorm, feedForwardNorm, feedForwardPostNorm].reduce(0) {
        $0 + ($1?.parameterCount ?? 0)
      } + (queryNorm?.count ?? 0) + (keyNorm?.count ?? 0)
  }
}

/// What a decoder has before and after its layers.
public struct DecoderEnds: Sendable, Equatable {
  public var embedding: Matrix  // [vocabularySize][width]
  public var positions: Matrix?  // [contextLength or more][width], positions
  public var finalNorm: NormLayer  // [width]
  public var head: Matrix?  // [vocabularySize][width]; nil: the embedding, tiedHead
  public var headBias: [Float]?  // [vocabularySize], headBias

  public init(
    embedding: Matrix, positions: Matrix? = nil, finalNorm: NormLayer, head: Matrix?,
    headBias: [Float]? = nil
  ) {
    self.embedding = embedding
    self.positions = positions
    self.finalNorm = finalNorm
    self.head = head
    self.headBias = headBias
  }

  /// Whether every tensor is there that the description asks for, in its shape, and no other.
  public func fits(_ d: DecoderDescription) -> Bool {
    let wantsPositions = d.parts.contains(.positions)
    return embedding.hasShape(d.vocabularySize, d.width)
      && (positions.map { wantsPositions && $0.rows >= d.contextLength && $0.columns == d.width }
        ?? !wantsPositions)
      && finalNorm.fits(d.width, bias: d.parts.contains(.normBias))
      && (head.map { !d.tiedHead && $0.hasShape(d.vocabularySize, d.width) } ?? d.tiedHead)
      && headBias?.count == (d.parts.contains(.headBias) ? d.vocabularySize : nil)
  }

  var parameterCount: Int {
    embedding.values.count + (positions?.values.count ?? 0) + finalNorm.parameterCount
      + (head?.values.count ?? 0) + (headBias?.count ?? 0)
  }
}

/// All parameters of a decoder in float32.
public struct DecoderWeights: Sendable, Equatable {
  public var description: DecoderDescription
  public var ends: DecoderEnds
  public var layers: [DecoderLayer]  // [layers]

  public init(description: DecoderDescription, ends: DecoderEnds, layers: [DecoderLayer]) {
    self.description = description
    self.ends = ends
    self.layers = layers
  }

  /// Reads all of a source into memory. Throws what its reading throws.
  public init(_ source: DecoderSource) throws {
    description = source.description
    ends = try source.ends()
    layers = []
    for layer in 0..<description.layers { layers.append(try source.layer(layer)) }
  }

  /// Whether every tensor has the shape the description asks for. An importer must see to it.
  public var isConsistent: Bool {
    description.isConsistent && ends.fits(description) && layers.count == description.layers
      && layers.allSatisfy { $0.fits(description) }
  }

  /// Number of parameters; a tied head counts once.
  public var parameterCount: Int {
    layers.reduce(ends.parameterCount) { $0 + $1.parameterCount }
  }
}

extension Matrix {
  func hasShape(_ rows: Int, _ columns: Int) -> Bool {
    self.rows == rows && self.columns == columns && values.count == rows * columns
  }
}
