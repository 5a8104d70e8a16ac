// Rotations that the weights of a file carry: the float model stays what it is.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
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

  /// The residual stream with RMS and layer norms, shared ones, tied heads and biases.
  @Test(arguments: ["llama", "qwen2", "qwen3", "gpt_neox", "phi", "starcoder2"])
  func aTurnedStreamChangesNothing(name: String) throws {
    let source = try loadCheckpoint(ArchitectureTests.folder.path + "/" + name).source
    let plain = try DecoderWeights(source)
    let turned = try DecoderWeights(source.foldingNormBiases().turningResidual())
    let d = turned.description
    #expect(turned.isConsistent && d.norm == .rms && !d.tiedHead)
    let weights = turned.layers.flatMap(\.attentionNorm.weight) + turned.ends.finalNorm.weight
    #expect(Set(weights) == [1])
    let tokens: [Int32] = [1, 5, 3, 2, 9, 4, 7, 7]
    func logits(_ weights: DecoderWeights) -> [Float] {
      var decoder = FloatDecoder(weights)
      var state = FloatDecoderState(weights.description)
      return decoder.forward(tokens: tokens, outputs: 8, state: &state).values
    }
    expectSame(logits(plain), logits(turned))
    // Each block is as long as it was, once the mean of a layer norm's rows is gone.
    let streams = [plain, turned].map { LayerRunner($0.description).embed(tokens, $0.ends) }
    for row in 0..<tokens.count {
      var a = Array(streams[0].row(row))
      let b = Array(streams[1].row(row))
      if plain.description.norm == .layer {
        let mean = a.reduce(0, +) / Float(a.count)
        a = a.map { $0 - mean }
      }
      #expect(a != b)
      let block = Spreading.block(d.width)
      for start in stride(from: 0, to: d.width, by: block) {
        func length(_ values: [Float]) -> Float {
          values[start..<start + block].reduce(0) { $0 + $1 * $1 }.squareRoot()
        }
        #expect(abs(length(a) - length(b)) <= 1e-4 * length(a))
      }
    }
  }

  @Test(arguments: TinyVision.all)
  func aTurnedStreamChangesNothingOfAVisionTransformer(tiny: TinyVision) throws {
    let weights = tiny.weights(seed: 7)
    let d = weights.description
    guard d.hasHead, !d.hasFirstNorm, !d.body.parts.contains(.normsBehind) else {
      #expect(throws: ConversionError.self) { try d.checkRotation() }
      return
    }
    try d.checkRotation()
    let turned = weights.turningResidual()
    #expect(turned.isConsistent && turned.description.body.norm == .rms)
    for image in VisionCalibration.drawn(d) {
      expectSame(FloatVision(weights).forward(image), FloatVision(turned).forward(image))
    }
  }

  /// The program has no Hadamard left but those of q, k and the feed-forward product.
  @Test func theProgramTurnsNoRowsOfTheStream() throws {
    var recipe = Recipe.w8
    recipe.rotates = true
    let weights = try #require(TinyVision.all.last).weights()
    for recipe in [Recipe.w8, recipe] {
      let ops = try Conversion.contents(weights, recipe: recipe, drawn: 2).program.ops
      var blocks: [String: Set<Int>] = [:]
      for op in ops {
        switch op {
        case .normQuant(_, _, _, let norm, let hadamard):
          blocks["norm", default: []].insert(hadamard)
          #expect(norm.kind == (recipe.rotates ? NormKind.rms : .layer))
        case .attend(_, _, _, _, _, _, _, let hadamard, _, _):
          blocks["attend", default: []].insert(hadamard)
        case .gateQuant(_, _, _, _, let hadamard):
          blocks["gate", default: []].insert(hadamard)
        default: break
        }
      }
      #expect(blocks == ["norm": [recipe.rotates ? 0 : 64], "attend": [0], "gate": [32]])
    }
  }

  /// What cannot be turned is said in one list.
  @Test func whatCannotBeTurnedIsListed() throws {
    var d = TinyVision.all[0].weights().description
    (d.hasHead, d.hasFirstNorm, d.body.width) = (false, true, 66)
    #expect {
      try d.checkRotation()
    } throws: { error in
      guard case ConversionError.rotation(let list) = error else { return false }
      return list.count == 3 && "\(error)".contains("features")
    }
    for name in ["gemma2", "gpt2"] {
      let source = try loadCheckpoint(ArchitectureTests.folder.path + "/" + name).source
      #expect(throws: ConversionError.self) { try source.description.checkRotation() }
    }
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
