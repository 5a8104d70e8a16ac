// Integer logits of converted models against float ones, and the simulation between them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaEvaluate

/// A tiny checkpoint, converted.
private struct Converted {
  let checkpoint: Checkpoint
  let path: String

  init(_ tiny: TinyCheckpoint, _ recipe: Recipe, in folder: URL) throws {
    let source = try tiny.write(to: folder)
    checkpoint = try loadCheckpoint(source)
    path = folder.appendingPathComponent("tiny.curta").path
    _ = try Conversion(source: source, recipe: recipe).run(to: path)
  }
}

/// All rows of integer logits for `tokens`, fed in steps of `chunk`.
private func integerLogits(
  _ path: String, _ tokens: [Int32], chunk: Int, threads: UInt32 = 1
) throws -> [[Int32]] {
  var options = HostOptions()
  options.chunk = UInt32(chunk)
  options.outputs = UInt32(chunk)
  options.threads = threads
  let session = try HostSession(path, options)
  var rows: [[Int32]] = []
  var rest = tokens[...]
  while !rest.isEmpty {
    let part = rest.prefix(chunk)
    try session.step(part, outputs: part.count)
    rows += (0..<part.count).map { Array(session.logits($0)) }
    rest = rest.dropFirst(part.count)
  }
  #expect(session.past == tokens.count)
  return rows
}

private let someTokens: [Int32] = (0..<40).map { ($0 * 37 + 5) % 300 }

@Suite struct HostSessionTests {
  @Test(arguments: [3, 4], [true, false])
  func integersAreCloseToFloats(heads: Int, tied: Bool) throws {
    var tiny = TinyCheckpoint()
    (tiny.queryHeads, tiny.tiedHead) = (heads, tied)
    try expectClose(tiny, .w8)
  }

  /// Heads of 32, two of them with one of v; with a stream that the weights turn as well.
  @Test(arguments: [true, false], [true, false])
  func integersAreCloseToFloatsWhereWeightsTurn(rotates: Bool, tied: Bool) throws {
    var (tiny, recipe) = (TinyCheckpoint(), Recipe.w8)
    (tiny.width, tiny.queryHeads, tiny.tiedHead) = (64, 2, tied)
    recipe.rotates = rotates
    try expectClose(tiny, recipe)
  }

  private func expectClose(_ tiny: TinyCheckpoint, _ recipe: Recipe) throws {
    try withTemporaryFolder { folder in
      let converted = try Converted(tiny, recipe, in: folder)
      let rows = try integerLogits(converted.path, someTokens, chunk: 16)
      var decoder = FloatDecoder(try DecoderWeights(converted.checkpoint.source))
      var state = FloatDecoderState(decoder.description)
      let expected = decoder.forward(tokens: someTokens, state: &state)
      let file = try FileMapping(converted.path)
      let model = try withExtendedLifetime(file) {
        try DequantizedModel(CurtaFile(file.bytes), like: decoder.description)
      }
      #expect(model.spreading.head == [2: 32, 3: 16, 4: 4][tiny.queryHeads])
      #expect(model.weights.description.turnsResidual == recipe.rotates)
      var simulation = FloatDecoder(
        model.weights, transform: FakeQuantization.transform(model.spreading))
      var other = FloatDecoderState(decoder.description)
      let simulated = simulation.forward(tokens: someTokens, state: &other)
      var divergence = 0.0
      var reached = 0.0
      for (index, row) in rows.enumerated() {
        divergence += klDivergence(expected.row(index), row.map { Float($0) * 0x1p-16 })
        reached += klDivergence(expected.row(index), simulated.row(index))
      }
      divergence /= Double(rows.count)
      reached /= Double(rows.count)
      #expect(divergence < 5e-3)
      #expect(divergence < 1.5 * reached)
    }
  }

  @Test func stepsAndThreadsDoNotMatter() throws {
    try withTemporaryFolder { folder in
      let converted = try Converted(TinyCheckpoint(), .rtn4, in: folder)
      let once = try integerLogits(converted.path, someTokens, chunk: 40)
      for (chunk, threads) in [(1, 1), (7, 2), (64, 3)] as [(Int, UInt32)] {
        #expect(
          try integerLogits(converted.path, someTokens, chunk: chunk, threads: threads) == once)
      }
    }
  }

  @Test(arguments: [2, 3, 4, 5, 6, 7, 8, 16])
  func weightsComeBackAsTheyWereQuantized(bits: Int) throws {
    try withTemporaryFolder { folder in
      let group = bits == 16 || bits == 8 ? 0 : 32
      let recipe = Recipe(
        name: "test", clip: .none, standard: TensorRule(bits: bits, group: group))
      let converted = try Converted(TinyCheckpoint(), recipe, in: folder)
      let file = try FileMapping(converted.path)
      let weights = try DecoderWeights(converted.checkpoint.source)
      let model = try withExtendedLifetime(file) {
        try DequantizedModel(CurtaFile(file.bytes), like: weights.description)
      }
      for (role, original, restored) in [
        (TensorRole.embedding, weights.ends.embedding, model.weights.ends.embedding),
        (.down, weights.layers[1].down.weight, model.weights.layers[1].down.weight),
        (.key, weights.layers[0].key.weight, model.weights.layers[0].key.weight),
        (.output, weights.layers[0].output.weight, model.weights.layers[0].output.weight),
      ] {
        let block = Spreading(weights.description).block(of: role)
        let turned = Spreading.turned(original, block: block)
        var expected = try #require(recipe.quantize(turned, name: "x", role: role).dequantized())
        if block > 0 { hadamard(&expected.values, block: block, scale: 1) }
        #expect(restored == expected)
      }
      // 2…7 bits are unpacked when a session is made.
      _ = try integerLogits(converted.path, Array(someTokens.prefix(4)), chunk: 4)
    }
  }

  @Test func memoryIsRefusedByThePlan() throws {
    try withTemporaryFolder { folder in
      let converted = try Converted(TinyCheckpoint(), .w8, in: folder)
      var options = HostOptions()
      options.context = 97
      #expect(
        throws: HostError.file(path: converted.path, CurtaError(.badArgument))
      ) { try HostSession(converted.path, options) }
      #expect(throws: HostError.self) { try HostSession(folder.path + "/nothing") }
      #expect(throws: HostError.self) { try HostSession(folder.path) }
    }
  }

  @Test func kernelsHaveNames() throws {
    #expect(try HostSession.kernels(named: "auto") == 0)
    #expect(try HostSession.kernels(named: "scalar") == 1)
    #expect(throws: HostError.self) { try HostSession.kernels(named: "abacus") }
  }
}

@Suite struct FakeQuantizationTests {
  @Test func hadamardKeepsProducts() {
    var random = SeededRandom(5)
    var a = (0..<32).map { _ in Float(random.below(2001) - 1000) / 1000 }
    var b = (0..<32).map { _ in Float(random.below(2001) - 1000) / 1000 }
    func product() -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    let before = product()
    FakeQuantization.rotate(&a, 32)
    FakeQuantization.rotate(&b, 32)
    #expect(abs(product() - before) < 1e-4)
  }

  @Test func roundingIsByRow() {
    var values: [Float] = [1, 0.5, -0.004, 0, 0, 0, 100, 0.2, -0.6]
    FakeQuantization.round(&values, 3)
    #expect(values[0] == 1)
    #expect(abs(values[1] - 64.0 / 127) < 1e-6)
    #expect(abs(values[2] + 1.0 / 127) < 1e-6)
    #expect(values[3...5].allSatisfy { $0 == 0 })
    #expect(values[7] == 0)
    #expect(abs(values[8] + 100.0 / 127) < 1e-4)
  }
}
