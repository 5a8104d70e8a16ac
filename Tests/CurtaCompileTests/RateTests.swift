// Recipes with a loss: what zstd makes of the codes, and whole conversions.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaQuantize

@Suite struct RateTests {
  private func normal(_ count: Int, _ generator: inout SeededRandom) -> [Float] {
    (0..<count).map { _ in
      (0..<12).reduce(Float(0)) { sum, _ in sum + Float.random(in: -0.5...0.5, using: &generator) }
    }
  }

  /// The prices of codes are what zstd takes for them.
  @Test func pricesAreThoseOfZstd() throws {
    var generator = SeededRandom.announced("zstd and prices")
    for spread: Float in [1.2, 3, 12] {
      let codes = normal(512 * 512, &generator).map { Int8(($0 * spread).rounded()) }
      let prices = CodePrices(codes, columns: 512)
      var bits = 0.0
      for (i, code) in codes.enumerated() {
        bits += Double(prices.table(row: i / 512)[Int(code) + 127])
      }
      let form = try SectionCodec.encode(codes.map { UInt8(bitPattern: $0) }, .auto)
      #expect(form.codec == .zstd)
      #expect(abs(Double(form.bytes.count) * 8 / bits - 1) < 0.015)
    }
  }

  /// At the error of 4-bit codes in groups of 32 with searched clipping, fewer compressed bytes: by
  /// theory 3.9 bits a weight beside 4.0.
  @Test func fewerBytesAtTheSameError() throws {
    var generator = SeededRandom.announced("bytes at the same error")
    let weights = Matrix(rows: 512, columns: 256, values: normal(512 * 256, &generator))
    func bytes(_ tensor: GridTensor) throws -> Int {
      let packed = TensorContents(QuantizedTensor(name: "t", .grid(tensor)))
      return try (0..<packed.streamCount).reduce(0) {
        $0 + (try SectionCodec.encode(packed.stream($1), .auto).bytes.count)
      }
    }
    let groups = try GridQuantizer(bits: 4, group: 32).quantize(weights)
    let error = groups.squaredErrors(of: weights).reduce(0, +)
    let rates = try RateQuantizer(lossPerWeight: error / Double(512 * 256) * 0.97).quantize(
      weights, ErrorWeight(slope: 1), hessian: nil, solvers: [])
    #expect(rates.squaredErrors(of: weights).reduce(0, +) <= error)
    let (few, many) = (try bytes(rates), try bytes(groups))
    #expect(Double(few) <= 0.98 * Double(many), "\(few) and \(many) bytes")
  }

  private func contents(_ recipe: Recipe) throws -> FileContents {
    try withTemporaryFolder { folder in
      let checkpoint = try loadCheckpoint(TinyCheckpoint().write(to: folder))
      var calibration = CalibrationInput()
      calibration.tokens = 256
      return try Conversion.contents(
        checkpoint, name: "tiny", recipe: recipe, calibration: calibration)
    }
  }

  /// Less loss takes more bytes; the same recipe gives the same.
  @Test func aLossDecidesTheSize() throws {
    var sizes: [Int] = []
    for loss in [0.001, 0.02, 0.4] {
      var recipe = Recipe.flash4
      recipe.loss = loss
      let bytes = try fileBytes(try contents(recipe))
      #expect(bytes == (try fileBytes(try contents(recipe))))
      sizes.append(bytes.count)
    }
    #expect(sizes[0] > sizes[1] && sizes[1] > sizes[2])
  }

  @Test func tokensThatOccurCountMore() {
    let logits = Matrix(rows: 2, columns: 4, values: [9, 0, 0, 0, 9, 0, 0, 0])
    let weights = TokenFrequencies([logits], [[1, 1, 1], [1]], 4).weights
    #expect(abs(weights.reduce(0, +) - 4) < 1e-5)
    #expect(abs(weights[1] - (0.25 + 0.75 * 4 * (0.5 + 0.5 / (exp(9) + 3)))) < 1e-3)
    #expect(weights[0] > 1 && weights[2] < 0.26 && weights[2] == weights[3] && weights[2] >= 0.25)
  }
}
