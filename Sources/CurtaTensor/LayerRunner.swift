// One layer of a decoder in float32, and what comes before and after the layers.
// SPDX-License-Identifier: Apache-2.0

/// Keys and values of one layer.
public struct LayerCache: Sendable {
  var keys: [Float] = []  // [position][keyValueHeads][headWidth], after rotation
  var values: [Float] = []  // [position][keyValueHeads][headWidth]

  /// The empty cache.
  public init() {}
}

/// Places in a layer where rows stand ready for its linear layers, in their order, and its end.
public enum LayerStage: Sendable, CaseIterable {
  /// What query, key and value multiply.
  case attentionInput
  /// What the output projection multiplies.
  case attentionOutput
  /// What gate and up multiply.
  case feedForwardInput
  /// What down multiplies.
  case feedForwardProduct
  case end
}

/// A stream on its way through a layer.
public struct LayerPassage: Sendable {
  /// The residual stream, [tokens][width].
  public internal(set) var stream: Matrix
  /// The rows of the stage that was reached; none at the end.
  public internal(set) var rows: Matrix
  /// Where the feed-forward network stands beside attention: its rows.
  var beside: Matrix?

  /// Before the first stage.
  public init(_ stream: Matrix) {
    self.stream = stream
    rows = stream
  }
}

/// Runs the parts of a decoder one after the other, so that no more than one layer's parameters
/// need to be in memory.
public struct LayerRunner {
  let description: DecoderDescription
  let transform: SiteTransform

  public init(_ description: DecoderDescription, _ transform: SiteTransform = .none) {
    self.description = description
    self.transform = transform
  }

  /// The residual stream of tokens whose first has the given position, [tokens][width].
  public func embed(_ tokens: [Int32], _ ends: DecoderEnds, position: Int = 0) -> Matrix {
    let width = description.width
    var values: [Float] = []
    values.reserveCapacity(tokens.count * width)
    for token in tokens {
      precondition(
        token >= 0 && Int(token) < description.vocabularySize, "token outside the vocabulary")
      values.append(contentsOf: ends.embedding.row(Int(token)))
    }
    var x = Matrix(rows: tokens.count, columns: width, values: values)
    if let positions = ends.positions {
      x.add(positions.dropping(position).taking(tokens.count))
    }
    transform.apply(.residual, 0, &x.values, width)
    return x
  }

  /// Layer `index` over x [tokens][width], whose first token has the position `start`.
  public func run(
    _ layer: DecoderLayer, _ index: Int, _ x: inout Matrix, from start: Int,
    _ cache: inout LayerCache
  ) {
    var passage = LayerPassage(x)
    for stage in LayerStage.allCases {
      advance(&passage, to: stage, layer, index, from: start, &cache)
    }
    x = passage.stream
  }

  /// The way to `stage` in layer `index`, from the stage before it.
  public func advance(
    _ passage: inout LayerPassage, to stage: LayerStage, _ layer: DecoderLayer, _ index: Int,
    from start: Int, _ cache: inout LayerCache
  ) {
    let width = description.width
    let parts = description.parts
    let normsAreBehind = parts.contains(.normsBehind)
    switch stage {
    case .attentionInput:
      passage.rows =
        normsAreBehind
        ? passage.stream : passage.stream.normed(layer.attentionNorm, description)
      transform.apply(.attentionInput, index, &passage.rows.values, width)
    case .attentionOutput:
      let input = passage.rows
      passage.rows = mixed(layer, index, input, from: start, &cache)
      if parts.contains(.parallel) {
        passage.beside =
          layer.feedForwardNorm.map { feedForwardInput(passage.stream, $0, index) } ?? input
      }
    case .feedForwardInput:
      addToStream(&passage, attentionResult(layer, index, passage.rows), index)
      if normsAreBehind {
        passage.stream = passage.stream.normed(layer.attentionNorm, description)
        transform.apply(.residual, index, &passage.stream.values, width)
        passage.rows = passage.stream
        transform.apply(.feedForwardInput, index, &passage.rows.values, width)
      } else if let beside = passage.beside {
        (passage.rows, passage.beside) = (beside, nil)
      } else if let norm = layer.feedForwardNorm {
        passage.rows = feedForwardInput(passage.stream, norm, index)
      } else {
        preconditionFailure("layer \(index) has no second norm")
      }
    case .feedForwardProduct:
      passage.rows = feedForwardProduct(layer, index, passage.rows)
    case .end:
      addToStream(&passage, feedForwardResult(layer, index, passage.rows), index)
      if normsAreBehind, let norm = layer.feedForwardNorm {
        passage.stream = passage.stream.normed(norm, description)
        transform.apply(.residual, index, &passage.stream.values, width)
      }
      passage.rows = Matrix(rows: 0, columns: width)
    }
  }

  private func addToStream(_ passage: inout LayerPassage, _ rows: Matrix, _ index: Int) {
    passage.stream.add(rows)
    transform.apply(.residual, index, &passage.stream.values, description.width)
  }

  /// The logits that follow x [tokens][width], [tokens][vocabularySize].
  public func logits(_ x: Matrix, _ ends: DecoderEnds) -> Matrix {
    let d = description
    let normed = headInput(x, ends)
    var logits = normed.through(LinearLayer(ends.head ?? ends.embedding, bias: ends.headBias))
    if let cap = d.logitCap { softCap(&logits.values, Float(cap)) }
    return logits
  }

  /// The rows that the head multiplies, behind the final norm, [tokens][width].
  @discardableResult
  public func headInput(_ x: Matrix, _ ends: DecoderEnds) -> Matrix {
    let d = description
    var normed = x.normed(ends.finalNorm, d)
    transform.apply(.headInput, max(0, d.layers - 1), &normed.values, d.width)
    return normed
  }

  private func feedForwardInput(_ x: Matrix, _ norm: NormLayer, _ index: Int) -> Matrix {
    var normed = x.normed(norm, description)
    transform.apply(.feedForwardInput, index, &normed.values, description.width)
    return normed
  }

  /// act(gate(n)) · up(n), or act(up(n)) without a gate.
  private func feedForwardProduct(_ layer: DecoderLayer, _ index: Int, _ normed: Matrix) -> Matrix {
    let width = description.feedForwardWidth
    var up = normed.through(layer.up)
    transform.apply(.upRow, index, &up.values, width)
    var product = up
    if let gate = layer.gate {
      product = normed.through(gate)
      transform.apply(.gateRow, index, &product.values, width)
    }
    activate(&product.values, description.activation)
    if layer.gate != nil { product.multiply(up) }
    transform.apply(.feedForwardProduct, index, &product.values, width)
    return product
  }

  /// P(down(h)), P the post norm where there is one.
  private func feedForwardResult(_ layer: DecoderLayer, _ index: Int, _ product: Matrix) -> Matrix {
    var result = product.through(layer.down)
    if let norm = layer.feedForwardPostNorm {
      transform.apply(.feedForwardResult, index, &result.values, description.width)
      result = result.normed(norm, description)
    }
    return result
  }
}

extension Matrix {
  /// X·Wᵀ + bias.
  func through(_ layer: LinearLayer) -> Matrix {
    var result = times(transposed: layer.weight)
    if let bias = layer.bias { result.addToRows(bias) }
    return result
  }

  /// Adds `row` [columns] to every row.
  mutating func addToRows(_ row: [Float]) {
    values.withUnsafeMutableBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: row.count) {
        for i in 0..<row.count { values[start + i] += row[i] }
      }
    }
  }

  /// self += other, element by element.
  package mutating func add(_ other: Matrix) {
    precondition(rows == other.rows && columns == other.columns)
    values.withUnsafeMutableBufferPointer { values in
      other.values.withUnsafeBufferPointer { other in
        for i in 0..<values.count { values[i] += other[i] }
      }
    }
  }

  /// self *= other, element by element.
  mutating func multiply(_ other: Matrix) {
    precondition(rows == other.rows && columns == other.columns)
    values.withUnsafeMutableBufferPointer { values in
      other.values.withUnsafeBufferPointer { other in
        for i in 0..<values.count { values[i] *= other[i] }
      }
    }
  }

  /// All rows but the first `count`.
  public func dropping(_ count: Int) -> Matrix {
    count == 0
      ? self
      : Matrix(rows: rows - count, columns: columns, values: Array(values[(count * columns)...]))
  }

  /// The first `count` rows.
  public func taking(_ count: Int) -> Matrix {
    count == rows
      ? self : Matrix(rows: count, columns: columns, values: Array(values[..<(count * columns)]))
  }
}
