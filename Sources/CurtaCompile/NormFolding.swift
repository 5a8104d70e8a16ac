// Takes the biases of layer norms into the biases of the linear layers that read them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension DecoderDescription {
  /// What `DecoderSource.foldingNormBiases` leaves.
  package var withoutNormBiases: DecoderDescription {
    guard foldsNormBiases else { return self }
    var folded = self
    folded.parts.remove(.normBias)
    folded.parts.formUnion([.queryBias, .keyBias, .valueBias, .upBias, .headBias])
    if folded.parts.contains(.gate) { folded.parts.insert(.gateBias) }
    return folded
  }

  /// Whether linear layers alone read what the norms give.
  var foldsNormBiases: Bool {
    parts.contains(.normBias) && parts.isDisjoint(with: [.postNorms, .normsBehind])
  }
}

extension DecoderSource {
  /// The same decoder without biases in its norms: W (n + β) + b = W n + (b + W β), exactly.
  ///
  /// The norms of the integer program have no bias, so that their rows need one scale only. A
  /// decoder with post norms, whose results no linear layer reads, keeps them; `Lowering` refuses it.
  package func foldingNormBiases() -> DecoderSource {
    let description = description
    guard description.foldsNormBiases else { return self }
    let source = self
    return DecoderSource(
      description: description.withoutNormBiases, parameterCount: parameterCount,
      ends: {
        var ends = try source.ends()
        let head = LinearLayer(ends.head ?? ends.embedding, bias: ends.headBias)
        ends.headBias = head.absorbing(ends.finalNorm.bias).bias
        ends.finalNorm.bias = nil
        return ends
      },
      layer: { try source.layer($0).foldingNormBiases(description) })
  }
}

extension DecoderLayer {
  /// The same layer without biases in its norms, where they can be folded.
  func foldingNormBiases(_ d: DecoderDescription) -> DecoderLayer {
    guard d.foldsNormBiases else { return self }
    var layer = self
    let attention = attentionNorm.bias
    let feedForward = feedForwardNorm.map(\.bias) ?? attention
    layer.query = query.absorbing(attention)
    layer.key = key.absorbing(attention)
    layer.value = value.absorbing(attention)
    layer.gate = gate?.absorbing(feedForward)
    layer.up = up.absorbing(feedForward)
    layer.attentionNorm.bias = nil
    layer.feedForwardNorm?.bias = nil
    return layer
  }
}

extension LinearLayer {
  /// With W β added to the bias, in double precision.
  func absorbing(_ beta: [Float]?) -> LinearLayer {
    guard let beta else { return self }
    let columns = weight.columns
    let bias = (0..<weight.rows).map { row in
      var sum = Double(self.bias?[row] ?? 0)
      weight.values.withUnsafeBufferPointer { values in
        for k in 0..<columns { sum += Double(values[row * columns + k]) * Double(beta[k]) }
      }
      return Float(sum)
    }
    return LinearLayer(weight, bias: bias)
  }
}
