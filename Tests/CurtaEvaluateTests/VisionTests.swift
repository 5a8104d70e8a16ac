// The integer program of every arrangement of a vision transformer against its float forward pass.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaEvaluate

@Suite struct VisionTests {
  /// Calls `body` with the path of the file of a model.
  private func withFile(
    _ weights: VisionWeights, _ recipe: Recipe = .w8, _ body: (String) throws -> Void
  ) throws {
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("tiny.curta").path
      let contents = try Conversion.contents(weights, recipe: recipe, drawn: 6)
      _ = try writeCurta(contents, to: path, codec: .auto, verify: Conversion.checkFormat)
      try body(path)
    }
  }

  /// Smooth images and noise, of the model's size.
  private func images(_ d: VisionDescription, _ count: Int) -> [PixelImage] {
    var random = SeededRandom(5)
    return (0..<count).map { i in
      var pixels = random.bytes(d.height * d.width * d.channels)
      if i % 2 == 0 {
        let (a, b) = (random.below(20) - 10, random.below(20) - 10)
        for at in pixels.indices {
          let (y, x) = (at / d.channels / d.width, at / d.channels % d.width)
          pixels[at] = UInt8(clamping: 128 + a * (y - 8) + b * (x - 8) + Int(pixels[at]) / 8)
        }
      }
      return PixelImage(width: d.width, height: d.height, channels: d.channels, pixels: pixels)
    }
  }

  @Test(arguments: TinyVision.all)
  func integersFollowFloats(tiny: TinyVision) throws {
    try expectClose(tiny, .w8)
  }

  /// With layer norms; RMS norms and one in front of a mean.
  @Test(arguments: [0, 2, 7, 9])
  func integersFollowFloatsWithATurnedStream(index: Int) throws {
    var recipe = Recipe.w8
    recipe.rotates = true
    try expectClose(TinyVision.all[index], recipe)
  }

  /// Labels: mean KL below 0.002 nats (w8); features: cosine above 0.999 for every image.
  private func expectClose(_ tiny: TinyVision, _ recipe: Recipe) throws {
    let weights = tiny.weights()
    let d = weights.description
    try withFile(weights, recipe) { path in
      let model = try ImageModel(path, batch: 3)
      #expect(model.labels == d.labels)
      #expect(model.givesLabels == d.hasHead)
      let float = FloatVision(weights)
      let images = images(d, 12)
      var (divergence, cosine, largest) = (0.0, 1.0, Float(0))
      for start in stride(from: 0, to: images.count, by: 3) {
        let rows = try model.run(images[start..<start + 3])
        for (image, row) in zip(images[start..<start + 3], rows) {
          let expected = float.forward(image.pixels)
          divergence += klDivergence(expected, row) / Double(images.count)
          cosine = min(cosine, cosineSimilarity(expected, row))
          for (a, b) in zip(expected, row) { largest = max(largest, abs(a - b)) }
        }
      }
      print("MEASURED vision \(tiny.name): kl \(divergence) cosine \(cosine) largest \(largest)")
      if d.hasHead {
        #expect(divergence < 0.002)
      } else {
        #expect(cosine > 0.999)
      }
    }
  }

  @Test(arguments: TinyVision.all)
  func everyArrangementConvertsInEveryRecipe(tiny: TinyVision) throws {
    let weights = tiny.weights(seed: 2)
    var (outliers, factors, added) = (Recipe.rtn4, Recipe.gptq, Recipe.rtn4)
    outliers.outliers = .residual(0.02)
    factors.choices = []
    factors.lowRank = LowRankRule(share: 0.5, keepsBase: false)
    added.lowRank = LowRankRule(share: 0.5, keepsBase: true)
    // The search of isvit takes minutes without optimization: one arrangement will do.
    let searched = tiny.name == TinyVision.all[0].name ? [Recipe.isvit] : []
    for recipe in [Recipe.w8, .w6, .rtn4, .gptq, .lpvit, outliers, factors, added] + searched {
      try withFile(weights, recipe) { path in _ = try ImageModel(path) }
    }
  }

  @Test func batchesAndThreadsGiveTheSameBits() throws {
    let weights = TinyVision.all[0].weights()
    try withFile(weights) { path in
      let images = images(weights.description, 7)
      var seen: Set<[Float]> = []
      for (batch, threads) in [(1, 1), (7, 1), (3, 2), (7, 3)] {
        let model = try ImageModel(path, threads: UInt32(threads), batch: batch)
        var rows: [Float] = []
        for start in stride(from: 0, to: images.count, by: batch) {
          rows += try model.run(images[start..<min(start + batch, images.count)]).flatMap { $0 }
        }
        seen.insert(rows)
      }
      #expect(seen.count == 1)
    }
  }

  @Test func whatCannotBeIsListedTogether() throws {
    var weights = TinyVision.all[0].weights()
    weights.description.hasHead = false
    weights.description.hasFinalNorm = false
    weights.description.resize = .crop(edge: 8)
    #expect {
      _ = try Conversion.contents(weights, recipe: .w8)
    } throws: { error in
      guard case ConversionError.unsupported(let list) = error else { return false }
      return list.count == 2
    }
  }
}
