// The float32 forward pass of a decoder: the reference that quality is measured against.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a decoder remembers of the tokens it has seen: keys and values of every layer.
public struct FloatDecoderState: Sendable {
  /// Tokens seen so far; the next one gets this position.
  public internal(set) var position = 0
  var caches: [LayerCache]  // [layers]

  /// The empty state.
  public init(_ description: DecoderDescription) {
    caches = [LayerCache](repeating: LayerCache(), count: description.layers)
  }
}

/// A decoder in float32.
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

  /// Logits of the last `outputs` given tokens (nil: of all), [outputs][vocabularySize]; each row
  /// predicts the token after its own.
  ///
  /// Token ids must be in 0..<vocabularySize.
  public mutating func forward(
    tokens: [Int32], outputs: Int? = nil, state: inout FloatDecoderState
  ) -> Matrix {
    let runner = LayerRunner(description, transform)
    var x = runner.embed(tokens, weights.ends, position: state.position)
    for (index, layer) in weights.layers.enumerated() {
      runner.run(layer, index, &x, from: state.position, &state.caches[index])
    }
    state.position += tokens.count
    let first = tokens.count - min(outputs ?? tokens.count, tokens.count)
    return runner.logits(x.dropping(first), weights.ends)
  }

  /// The most likely continuation of `prompt`: at most `count` tokens, ending with a stop token.
  public mutating func greedy(
    _ prompt: [Int32], count: Int, stop: Set<Int32> = []
  ) -> [Int32] {
    var state = FloatDecoderState(description)
    var step = prompt
    var result: [Int32] = []
    while result.count < count, !step.isEmpty {
      let logits = forward(tokens: step, outputs: 1, state: &state)
      let next = Int32(argmax(logits.row(0)))
      result.append(next)
      if stop.contains(next) { break }
      step = [next]
    }
    return result
  }
}
