// The float32 forward pass of a decoder: the reference that quality is measured against.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a decoder remembers of the tokens it has seen: keys and values of every layer.
public struct FloatDecoderState: Sendable {
  /// Tokens seen so far; the next one gets this position.
  public internal(set) var position = 0
  var keys: [[Float]]  // [layer][position][keyValueHeads][headWidth], after rotation
  var values: [[Float]]  // [layer][position][keyValueHeads][headWidth]

  /// The empty state.
  public init(_ description: DecoderDescription) {
    keys = [[Float]](repeating: [], count: description.layers)
    values = keys
  }
}

/// A Llama-style decoder in float32: RMSNorm, rotary grouped-query attention, SwiGLU.
///
/// One sequence at a time, any number of tokens per call; the state carries on. Weights are plain
/// matrices, so dequantized ones may stand in, and `transform` may simulate quantized activations.
public struct FloatDecoder {
  public let weights: DecoderWeights
  /// Called at every place where the integer runtime quantizes.
  public var transform: SiteTransform

  /// A decoder of consistent weights (`DecoderWeights.isConsistent`).
  public init(_ weights: DecoderWeights, transform: SiteTransform = .none) {
    precondition(weights.isConsistent, "weights do not have the shapes of their description")
    self.weights = weights
    self.transform = transform
  }

  public var description: DecoderDescription { weights.description }

  /// Logits of every given token, [tokens][vocabularySize]; row i predicts the token after i.
  ///
  /// Token ids must be in 0..<vocabularySize.
  public mutating func forward(tokens: [Int32], state: inout FloatDecoderState) -> Matrix {
    var x = embed(tokens)
    let rotation = Rotation(description, from: state.position, count: tokens.count)
    for layer in weights.layers.indices {
      attention(layer, &x, rotation, &state)
      feedForward(layer, &x)
    }
    state.position += tokens.count
    var normed = rmsNorm(x, weights.finalNorm, description.normEpsilon)
    transform.apply(.headInput, max(0, description.layers - 1), &normed.values, description.width)
    return normed.times(transposed: weights.head ?? weights.embedding)
  }

  /// The most likely continuation of `prompt`: at most `count` tokens, ending with a stop token.
  public mutating func greedy(
    _ prompt: [Int32], count: Int, stop: Set<Int32> = []
  ) -> [Int32] {
    var state = FloatDecoderState(description)
    var step = prompt
    var result: [Int32] = []
    while result.count < count, !step.isEmpty {
      let logits = forward(tokens: step, state: &state)
      let next = Int32(argmax(logits.row(logits.rows - 1)))
      result.append(next)
      if stop.contains(next) { break }
      step = [next]
    }
    return result
  }

  /// Rows of the embedding, [tokens][width].
  private func embed(_ tokens: [Int32]) -> Matrix {
    let width = description.width
    var values: [Float] = []
    values.reserveCapacity(tokens.count * width)
    for token in tokens {
      precondition(
        token >= 0 && Int(token) < description.vocabularySize, "token outside the vocabulary")
      values.append(contentsOf: weights.embedding.row(Int(token)))
    }
    var x = Matrix(rows: tokens.count, columns: width, values: values)
    transform.apply(.residual, 0, &x.values, width)
    return x
  }

  /// x += down(silu(gate(n)) · up(n)), n = norm(x).
  private func feedForward(_ index: Int, _ x: inout Matrix) {
    let layer = weights.layers[index]
    var normed = rmsNorm(x, layer.feedForwardNorm, description.normEpsilon)
    transform.apply(.feedForwardInput, index, &normed.values, description.width)
    var product = normed.times(transposed: layer.gate)
    let up = normed.times(transposed: layer.up)
    product.values.withUnsafeMutableBufferPointer { product in
      up.values.withUnsafeBufferPointer { up in
        for i in 0..<product.count {
          product[i] = product[i] / (1 + expf(-product[i])) * up[i]
        }
      }
    }
    transform.apply(.feedForwardProduct, index, &product.values, description.feedForwardWidth)
    x.add(product.times(transposed: layer.down))
    transform.apply(.residual, index, &x.values, description.width)
  }
}

/// x / rms(x) · gain for every row; `gain` is [columns].
func rmsNorm(_ x: Matrix, _ gain: [Float], _ epsilon: Float) -> Matrix {
  var result = x
  let width = x.columns
  result.values.withUnsafeMutableBufferPointer { values in
    gain.withUnsafeBufferPointer { gain in
      for row in 0..<x.rows {
        let row = UnsafeMutableBufferPointer(rebasing: values[row * width..<(row + 1) * width])
        var squares = 0.0
        for value in row { squares += Double(value) * Double(value) }
        let scale = Float(1 / (squares / Double(width) + Double(epsilon)).squareRoot())
        for i in 0..<width { row[i] = row[i] * scale * gain[i] }
      }
    }
  }
  return result
}

extension Matrix {
  /// self += other, element by element.
  mutating func add(_ other: Matrix) {
    precondition(rows == other.rows && columns == other.columns)
    values.withUnsafeMutableBufferPointer { values in
      other.values.withUnsafeBufferPointer { other in
        for i in 0..<values.count { values[i] += other[i] }
      }
    }
  }
}
