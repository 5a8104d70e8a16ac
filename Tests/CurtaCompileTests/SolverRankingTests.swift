// How the solvers rank on the layers of a real model, at outputs that they have not seen.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

/// Moments of the inputs of one layer of curta-stories, over text that it wrote itself.
private final class Moments {
  private var sums: [ActivationSite: Hessian] = [:]

  init(
    _ weights: DecoderWeights, layer index: Int, sequences: Int, _ generator: inout SeededRandom
  ) throws {
    var failure: (any Error)?
    let record = SiteTransform { site, layer, values, width in
      guard failure == nil, layer == index else { return }
      do {
        let rows = Matrix(rows: values.count / width, columns: width, values: values)
        try self.sums[site, default: Hessian(columns: width)].accumulate(rows: rows)
      } catch {
        failure = error
      }
    }
    for _ in 0..<sequences {
      var tokens: [Int32] = [0]
      var writer = FloatDecoder(weights)
      var state = FloatDecoderState(weights.description)
      while tokens.count < 128 {
        let logits = writer.forward(tokens: [tokens.last!], outputs: 1, state: &state)
        var chance = Double.random(in: 0..<1, using: &generator)
        let odds = logSoftmax(logits.row(0)).map { exp($0) }
        let next = odds.firstIndex { odd in
          chance -= odd
          return chance < 0
        }
        tokens.append(Int32(next ?? 0))
      }
      var reader = FloatDecoder(weights, transform: record)
      var fresh = FloatDecoderState(weights.description)
      _ = reader.forward(tokens: tokens, outputs: 1, state: &fresh)
    }
    if let failure { throw failure }
  }

  func at(_ site: ActivationSite) throws -> SolverHessian {
    try SolverHessian(#require(sums[site]))
  }
}

@Suite struct SolverRankingTests {
  private struct Layer {
    let weights: Matrix
    let seen: SolverHessian
    let held: SolverHessian
    /// Σ w H wᵀ.
    let energy: Double
  }

  /// The linear layers of the model's third layer.
  private func layers() throws -> [Layer] {
    let path = Repository.root.appendingPathComponent("Examples/models/curta-stories").path
    let weights = try DecoderWeights(loadCheckpoint(path).source)
    var generator = SeededRandom.announced("text for the ranking of solvers")
    let seen = try Moments(weights, layer: 2, sequences: 24, &generator)
    let held = try Moments(weights, layer: 2, sequences: 12, &generator)
    let layer = weights.layers[2]
    return try [
      (layer.query, ActivationSite.attentionInput), (layer.value, .attentionInput),
      (layer.output, .attentionOutput), (layer.up, .feedForwardInput),
      (layer.down, .feedForwardProduct),
    ].map { (linear, site) in
      let (w, held) = (linear.weight, try held.at(site))
      let nothing = GridTensor(
        rows: w.rows, columns: w.columns, bits: 2, group: 0, exponent: 0,
        codes: [Int8](repeating: 0, count: w.values.count),
        mantissas: [UInt16](repeating: 1, count: w.rows))
      return Layer(
        weights: w, seen: try seen.at(site), held: held, energy: nothing.outputError(of: w, held))
    }
  }

  /// Mean error of outputs, as a part of their mean square.
  private func error(
    _ layers: [Layer], _ quantizer: GridQuantizer, _ solvers: [Solver]
  ) throws -> Double {
    let errors = try layers.map { layer in
      let tensor = try quantizer.quantize(layer.weights, hessian: layer.seen, solvers: solvers)
      return tensor.outputError(of: layer.weights, layer.held) / layer.energy
    }
    return errors.reduce(0, +) / Double(errors.count)
  }

  @Test func eachSolverBettersOutputsThatItHasNotSeen() throws {
    let layers = try layers()
    for bits in [3] {
      var previous = Double.infinity
      for (name, solvers) in [
        ("nearest", []), ("gptq", [.gptq]), ("quantease", [.gptq, .quantease]),
        ("best", Solver.best),
      ] as [(String, [Solver])] {
        let error = try error(layers, GridQuantizer(bits: bits, group: 32), solvers)
        print("MEASURED solvers.w\(bits)-\(name) \(error)")
        #expect(error < (name == "gptq" ? 0.8 : 1) * previous)
        previous = error
      }
      let offsets = try GridQuantizer(bits: bits, group: 32, hasOffsets: true)
      let error = try error(layers, offsets, Solver.best)
      print("MEASURED solvers.w\(bits)-offsets \(error)")
      #expect(error < previous)
    }
  }
}
