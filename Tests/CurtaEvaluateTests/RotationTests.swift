// Rotations that the weights of a file carry: the float model stays what it is.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaTensor
import CurtaTestSupport
import Testing

@testable import CurtaCompile

extension DecoderLayer {
  /// The layer with the heads of v turned as a file has them, and the output projection's columns the
  /// other way; its other inputs arrive as they are.
  fileprivate func turningValues(_ d: DecoderDescription) -> DecoderLayer {
    var layer = self
    let spreading = Spreading(d)
    for part in [LayerPart.value, .valueBias, .output] where part.isPresent(in: d.parts) {
      var planned = part.planned(d, spreading, layer: 0)
      if part == .value { planned.block = 0 }
      part.set(planned.turned(part.values(self)), in: &layer)
    }
    return layer
  }
}

@Suite struct RotationTests {
  /// Of heads that query heads share: to 2^-15 of the largest logit, what float32 loses by other
  /// products.
  @Test func turnedHeadsOfAValueChangeNothing() throws {
    try withTemporaryFolder { folder in
      var tiny = TinyCheckpoint()
      (tiny.width, tiny.queryHeads, tiny.keyValueHeads) = (128, 4, 2)
      let weights = try DecoderWeights(loadCheckpoint(tiny.write(to: folder)).source)
      let d = weights.description
      var turned = weights
      turned.layers = weights.layers.map { $0.turningValues(d) }
      #expect(turned.isConsistent)
      func logits(_ weights: DecoderWeights) -> [Float] {
        var decoder = FloatDecoder(weights)
        var state = FloatDecoderState(d)
        return decoder.forward(tokens: [1, 5, 3, 2, 9, 4, 7, 7], outputs: 8, state: &state).values
      }
      expectSame(logits(weights), logits(turned))
      expectTurned(weights.layers[0], turned.layers[0])
    }
  }

  /// The same with layer norms and a bias on everything.
  @Test func turnedHeadsOfAValueChangeNothingOfAVisionTransformer() throws {
    let tiny = try #require(TinyVision.all.last)
    let weights = tiny.weights(seed: 5)
    let d = weights.description
    var turned = weights
    turned.layers = weights.layers.map { $0.turningValues(d.body) }
    for image in VisionCalibration.drawn(d) {
      expectSame(FloatVision(weights).forward(image), FloatVision(turned).forward(image))
    }
    expectTurned(weights.layers[0], turned.layers[0])
  }

  /// What is turned comes back.
  @Test func turningIsUndone() throws {
    let weights = try #require(TinyVision.all.last).weights(seed: 6)
    let body = weights.description.body
    for part in LayerPart.present(in: weights.description.body.withoutNormBiases.parts) {
      let planned = part.planned(body, Spreading(body), layer: 0)
      let values = part.values(weights.layers[0])
      expectSame(values.values, planned.turnedBack(planned.turned(values)).values)
    }
  }

  /// Blocks of weights are pruned as they are.
  @Test func prunedModelsAreNotTurned() throws {
    var d = try #require(TinyVision.all.last).weights().description.body
    #expect(Spreading(d).value == 32)
    d.spreadsRows = false
    let spreading = Spreading(d)
    for part in LayerPart.allCases {
      let planned = part.planned(d, spreading, layer: 0)
      #expect(planned.block == 0 && planned.outputBlock == 0)
    }
  }

  private func expectSame(_ a: [Float], _ b: [Float]) {
    let bound = largestMagnitude(a) * 0x1p-15
    #expect(bound > 0)
    #expect(zip(a, b).allSatisfy { abs($0 - $1) <= bound })
  }

  /// The rows of v against the Hadamard of 32 by its definition.
  private func expectTurned(_ layer: DecoderLayer, _ turned: DecoderLayer) {
    let block = 32
    let (v, found) = (layer.value.weight, turned.value.weight)
    for row in 0..<v.rows {
      for k in [0, v.columns / 2, v.columns - 1] {
        let expected = (0..<block).reduce(0.0) { sum, j in
          let sign = ((row % block) & j).nonzeroBitCount % 2 == 0 ? 1.0 : -1.0
          return sum + sign * Double(v[row / block * block + j, k])
        }
        #expect(abs(Double(found[row, k]) - expected) < 1e-5)
      }
    }
  }
}
