// I&S-ViT: channels scaled between the parts of a layer, and attention weights of few bits.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaEvaluate

@Suite struct SmoothingTests {
  /// Random factors of 1/8…8 for every site that the model has.
  private func factors(_ d: DecoderDescription, _ random: inout SeededRandom) -> LayerFactors {
    var all = LayerFactors()
    for site in SmoothedSite.allCases where site.isPresent(in: d) {
      let width =
        site == .value ? d.queryWidth : site == .up ? d.feedForwardWidth : d.width
      let own = (0..<width).map { _ in exp2f(Float(random.below(6001)) / 1000 - 3) }
      let r = site.sharing(d).map { $0.map { own[$0] } } ?? own
      all.factors.append((site, SmoothingChoice(measure: .rms, power: 1), r))
    }
    return all
  }

  /// A re-parameterised layer is the same function, its norms' biases included: to 2^-16 of the
  /// largest output, what float32 loses by other products.
  @Test(arguments: TinyVision.all)
  func scaledChannelsChangeNothingOfAVisionTransformer(tiny: TinyVision) {
    let weights = tiny.weights(seed: 3)
    let d = weights.description
    var random = SeededRandom(8)
    let scaled = weights.scaled((0..<d.body.layers).map { _ in factors(d.body, &random) })
    #expect(scaled.isConsistent && scaled != weights)
    for image in VisionCalibration.drawn(d) {
      let (a, b) = (FloatVision(weights).forward(image), FloatVision(scaled).forward(image))
      let largest = a.map(abs).max() ?? 0
      #expect(zip(a, b).allSatisfy { abs($0 - $1) <= 0x1p-16 * largest })
    }
    // Biases are folded after as well as before.
    for index in weights.layers.indices {
      let folded = FoldedVision(scaled).layer(index)
      #expect(folded.attentionNorm.bias == nil || d.body.parts.contains(.normsBehind))
    }
  }

  /// Grouped heads, gates, rotary positions, norms of heads, shared and post norms.
  @Test(arguments: ArchitectureTests.names)
  func scaledChannelsChangeNothingOfADecoder(name: String) throws {
    let folder = ArchitectureTests.folder.path + "/" + name
    let source = try loadCheckpoint(folder).source
    let d = source.description
    var random = SeededRandom(9)
    let scaled = source.scaled((0..<d.layers).map { _ in factors(d, &random) })
    func logits(_ source: DecoderSource) throws -> [Float] {
      var state = FloatDecoderState(d)
      var decoder = FloatDecoder(try DecoderWeights(source))
      return decoder.forward(tokens: [1, 5, 3, 2, 9, 4], state: &state).values
    }
    let (a, b) = (try logits(source), try logits(scaled))
    let largest = a.map(abs).max() ?? 0
    #expect(zip(a, b).allSatisfy { abs($0 - $1) <= 0x1p-15 * largest }, "\(name)")
  }

  @Test func sitesAreWhereChannelsCanBeScaled() {
    func sites(_ change: (inout DecoderDescription) -> Void) -> [SmoothedSite] {
      var d = TinyVision.all[0].weights().description.body
      change(&d)
      return SmoothedSite.allCases.filter { $0.isPresent(in: d) }
    }
    #expect(sites { _ in } == [.attentionNorm, .value, .feedForwardNorm])  // GELU is not linear
    #expect(sites { $0.activation = .relu }.last == .up)
    #expect(sites { $0.parts.insert(.gate) }.last == .up)
    #expect(sites { $0.parts.insert(.normsBehind) } == [.value])
    #expect(sites { $0.parts.formUnion([.parallel, .sharedNorm]) } == [.attentionNorm, .value])
  }

  /// Σ tr(E H Eᵀ) is the mean squared error of the outputs, and factors follow the channels.
  @Test func theErrorIsThatOfTheOutputs() throws {
    var random = SeededRandom(4)
    func matrix(_ rows: Int, _ columns: Int) -> Matrix {
      Matrix(
        rows: rows, columns: columns,
        values: (0..<rows * columns).map { _ in Float(random.below(2001)) / 1000 - 1 })
    }
    let (x, error) = (matrix(50, 8), matrix(5, 8))
    var moments = Hessian(columns: 8)
    try moments.accumulate(rows: x)
    let smoothing = Smoothing(moments: moments, peaks: [1, 2, 4, 8, 0, 1, 1, 1])
    let outputs = x.times(transposed: error)
    let expected = outputs.values.reduce(0.0) { $0 + Double($1) * Double($1) } / 50
    #expect(abs(smoothing.outputError(error) / expected - 1) < 1e-5)

    let r = smoothing.factors(SmoothingChoice(measure: .peak, power: 1))
    #expect(r[1] / r[0] == 2 && r[3] / r[2] == 2 && r[4] == r[0])
    #expect(abs((r.max() ?? 0) * (r.min() ?? 0) - 1) < 1e-5)
    let shared = smoothing.factors(
      SmoothingChoice(measure: .peak, power: 1), shared: [0, 1, 2, 0, 4, 5, 6, 7])
    #expect(shared[0] == shared[3] && shared[0] / shared[1] == 4)
  }
}

@Suite struct AttentionCodingTests {
  /// 2^bits levels, not one more (I&S-ViT's own code clamps to 2^bits, its set-up counts 2^bits − 1),
  /// the nearest in log2(p + η), relative to the largest, summing to 1; zeros stay.
  @Test(arguments: 2...4)
  func codesAreShiftUniformLog2(bits: Int) {
    var random = SeededRandom(UInt64(bits))
    for _ in 0..<50 {
      let code = ScoreCode(
        bits: bits, step: 1 + random.below(4), shift: random.below(2) * random.below(4096))
      let (step, eta) = (Double(code.step) / 2, Double(code.shift) / 32768)
      var row = (0..<300).map { _ in exp2f(-Float(random.below(12000)) / 1000) }
      for _ in 0..<9 { row[random.below(300)] = 0 }
      let sum = row.reduce(0, +)
      row = row.map { $0 / sum }
      var found = row
      LevelTable(code).round(&found, row.count)
      let most = Double(row.max() ?? 0)
      let levels = row.map { p -> Double in
        guard p > 0 else { return 0 }
        let y = -log2(Double(p) / most + eta) / step
        let n = min(max(y.rounded(), 0), Double((1 << bits) - 1))
        return max(0, exp2(-n * step) - eta)
      }
      // Beside the largest: a tie that falls to the other side would change what all are divided by.
      let scale = (levels.max() ?? 0) / Double(found.max() ?? 1)
      #expect(Set(found.filter { $0 > 0 }).count <= 1 << bits)
      #expect(abs(found.reduce(0, +) - 1) < 1e-5)
      let wrong = zip(found, levels).count { abs(Double($0) * scale - $1) > 1e-6 }
      #expect(wrong <= 3, "ties may fall to either side")
      #expect(zip(row, found).allSatisfy { $0 > 0 || $1 == 0 })
    }
  }

  /// The search finds the code that the weights were made of.
  @Test func theSearchFindsTheCode() {
    var random = SeededRandom(6)
    for code in [
      ScoreCode(bits: 3, step: 2, shift: 0), ScoreCode(bits: 4, step: 1, shift: 256),
      ScoreCode(bits: 2, step: 3, shift: 2048),
    ] {
      let levels = LevelTable(code).levels
      let rows = (0..<40).map { _ in
        var row = (0..<30).map { _ in levels[random.below(levels.count)] }
        row[0] = levels[0]
        let sum = row.reduce(0, +)
        return row.map { $0 / sum }
      }
      let found = ScoreCode.fitting(rows, bits: code.bits)
      for row in rows {
        var rounded = row
        LevelTable(found).round(&rounded, row.count)
        #expect(zip(row, rounded).allSatisfy { abs($0 - $1) < 1e-5 }, "\(code) \(found)")
      }
    }
  }

  /// The integers of a decoder with coded attention weights follow the float simulation with the
  /// codes, and not the one without.
  @Test func integersFollowTheSimulation() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      var recipe = Recipe.w8
      recipe.attentionBits = 2
      var conversion = Conversion(source: source, recipe: recipe)
      conversion.calibration.tokens = 256
      _ = try conversion.run(to: path)
      let d = try loadCheckpoint(source).source.description
      let file = try FileMapping(path)
      let model = try withExtendedLifetime(file) {
        try DequantizedModel(CurtaFile(file.bytes), like: d)
      }
      #expect(model.codes.count == d.layers && model.codes.allSatisfy { $0.bits == 2 })
      var random = SeededRandom(4)
      let tokens = (0..<min(32, d.contextLength)).map { _ in
        Int32(random.below(d.vocabularySize))
      }
      var options = HostOptions()
      (options.chunk, options.outputs) = (UInt32(tokens.count), UInt32(tokens.count))
      let session = try HostSession(path, options)
      try session.step(tokens[...], outputs: tokens.count)
      let found = tokens.indices.map { session.logits($0).map { Float($0) * 0x1p-16 } }
      func divergence(_ codes: [ScoreCode]) -> Double {
        var simulated = FloatDecoder(
          model.weights, transform: FakeQuantization.transform(model.spreading, codes: codes))
        var state = FloatDecoderState(model.weights.description)
        let expected = simulated.forward(tokens: tokens, state: &state)
        return (0..<tokens.count).reduce(0) {
          $0 + klDivergence(expected.row($1), found[$1]) / Double(tokens.count)
        }
      }
      let (with, without) = (divergence(model.codes), divergence([]))
      print("MEASURED attention_code with \(with) without \(without)")
      #expect(with < without / 4)
    }
  }

  /// The built-in recipe gives files that readers take, of images and of text, and says in them what
  /// it did.
  @Test func theRecipeConverts() throws {
    let weights = TinyVision.all[0].weights(seed: 2)
    let contents = try Conversion.contents(weights, recipe: .isvit, drawn: 8)
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("tiny.curta").path
      _ = try writeCurta(contents, to: path, codec: .auto, verify: Conversion.checkFormat)
      _ = try ImageModel(path)
    }
    let codes = contents.program.ops.compactMap { op in
      if case .attend(_, _, _, _, _, _, _, _, _, let code) = op { code } else { nil }
    }
    #expect(codes.count == 3 && codes.allSatisfy { $0.bits == 4 })
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      var conversion = Conversion(source: source, recipe: .isvit)
      conversion.calibration.tokens = 128
      let path = folder.appendingPathComponent("tiny.curta").path
      _ = try conversion.run(to: path)
      _ = try HostSession(path)
    }
  }
}
