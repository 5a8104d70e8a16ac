// Takes what stands between a vision transformer's linear layers into them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// A vision transformer as the integer program computes it, with the same results.
struct FoldedVision {
  let d: VisionDescription
  let ends: VisionEnds
  private let weights: VisionWeights

  /// Its projection takes the codes of pixels, v − 128; norms that linear layers alone read have no
  /// bias.
  init(_ weights: VisionWeights) {
    self.weights = weights
    var d = weights.description
    var ends = weights.ends
    ends.projection = ends.projection.takingCodes(d)
    if d.hasHead { ends.foldFinalNormBias() }
    d.body = d.body.withoutNormBiases
    self.d = d
    self.ends = ends
  }

  /// A layer without the biases of norms that can be folded.
  func layer(_ index: Int) -> DecoderLayer {
    weights.layers[index].foldingNormBiases(weights.description.body)
  }
}

extension VisionEnds {
  /// Takes the bias of the last norm into the head that reads it.
  mutating func foldFinalNormBias() {
    guard let beta = finalNorm?.bias else { return }
    if let hidden {
      self.hidden = hidden.absorbing(beta)
    } else {
      head = head?.absorbing(beta)
    }
    finalNorm?.bias = nil
  }
}

extension LinearLayer {
  /// The layer for codes v − 128 in place of (v / 255 − mean) / deviation, computed in double
  /// precision. It has a bias.
  fileprivate func takingCodes(_ d: VisionDescription) -> LinearLayer {
    let columns = weight.columns
    let scale = d.deviation.map { 1 / (255 * $0) }
    let shift = (0..<d.channels).map { (128.0 / 255 - d.mean[$0]) / d.deviation[$0] }
    var turned = weight
    var sums = (0..<weight.rows).map { Double(bias?[$0] ?? 0) }
    weight.values.withUnsafeBufferPointer { values in
      for row in 0..<weight.rows {
        for k in 0..<columns {
          let (w, channel) = (Double(values[row * columns + k]), k % d.channels)
          sums[row] += w * shift[channel]
          turned.values[row * columns + k] = Float(w * scale[channel])
        }
      }
    }
    return LinearLayer(turned, bias: sums.map { Float($0) })
  }
}
