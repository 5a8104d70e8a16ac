// One layer of a decoder in float32, and what comes before and after the layers.
// SPDX-License-Identifier: Apache-2.0

/// Keys and values of one layer.
public struct LayerCache: Sendable {
  var keys: [Float] = []  // [position][keyValueHeads][headWidth], after rotation
  var values: [Float] = []  // [position][keyValueHeads][headWidth]

  /// The empty cache.
  public init() {}
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
    let width = description.width
    if description.parts.contains(.normsBehind) {
      return runNormsBehind(layer, index, &x, from: start, &cache)
    }
    var normed = x.normed(layer.attentionNorm, description)
    transform.apply(.attentionInput, index, &normed.values, width)
    let attention = self.attention(layer, index, normed, from: start, &cache)
    if description.parts.contains(.parallel) {
      let other = layer.feedForwardNorm.map { feedForwardInput(x, $0, index) } ?? normed
      x.add(attention)
      transform.apply(.residual, index, &x.values, width)
      x.add(feedForward(layer, index, other))
    } else {
      x.add(attention)
      transform.apply(.residual, index, &x.values, width)
      guard let norm = layer.feedForwardNorm else { return }
      x.add(feedForward(layer, index, feedForwardInput(x, norm, index)))
    }
    transform.apply(.residual, index, &x.values, width)
  }

  /// A layer whose norms come behind the sums.
  private func runNormsBehind(
    _ layer: DecoderLayer, _ index: Int, _ x: inout Matrix, from start: Int,
    _ cache: inout LayerCache
  ) {
    guard let second = layer.feedForwardNorm else { return }
    let width = description.width
    var input = x
    transform.apply(.attentionInput, index, &input.values, width)
    x.add(attention(layer, index, input, from: start, &cache))
    transform.apply(.residual, index, &x.values, width)
    x = x.normed(layer.attentionNorm, description)
    transform.apply(.residual, index, &x.values, width)
    input = x
    transform.apply(.feedForwardInput, index, &input.values, width)
    x.add(feedForward(layer, index, input))
    transform.apply(.residual, index, &x.values, width)
    x = x.normed(second, description)
    transform.apply(.residual, index, &x.values, width)
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

  /// P(down(act(gate(n)) · up(n))), or P(down(act(up(n)))) without a gate; P is the post norm.
  private func feedForward(_ layer: DecoderLayer, _ index: Int, _ normed: Matrix) -> Matrix {
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
    if let bias = layer.bias {
      result.values.withUnsafeMutableBufferPointer { values in
        for row in 0..<rows {
          for i in 0..<bias.count { values[row * bias.count + i] += bias[i] }
        }
      }
    }
    return result
  }

  /// self += other, element by element.
  mutating func add(_ other: Matrix) {
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
