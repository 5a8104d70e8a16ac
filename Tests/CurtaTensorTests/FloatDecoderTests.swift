// The float decoder against numpy, against itself step by step, and its sites.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Testing

@Suite struct FloatDecoderTests {
  let tokens: [Int32] = [1, 5, 36, 0, 7, 7, 12, 30, 2, 19, 4]

  @Test(arguments: [RopePairing.interleaved, .halfSplit], [(true, 2), (false, 3), (false, 6)])
  func matchesNumpy(pairing: RopePairing, layout: (tied: Bool, keyValueHeads: Int)) throws {
    let weights = TinyLlama.weights(
      pairing: pairing, tied: layout.tied, keyValueHeads: layout.keyValueHeads)
    let expected = try withScratch { folder in
      try TinyLlama.write(weights, to: folder)
      return try numpyLogits(model: folder.path, tokens: tokens, scratch: folder)
    }
    var decoder = FloatDecoder(weights)
    var state = FloatDecoderState(weights.description)
    let logits = decoder.forward(tokens: tokens, state: &state)
    try #require(logits.values.count == expected.count)
    let worst = zip(logits.values, expected).map { abs(Double($0) - $1) }.max() ?? .infinity
    #expect(worst <= 1e-4)
    #expect((expected.map(abs).max() ?? 0) > 0.5, "the reference must not be trivial")
    #expect(state.position == tokens.count)
  }

  @Test(arguments: [[1], [3], [4, 1, 6], [10, 1]])
  func stepsEqualOneForward(steps: [Int]) {
    let weights = TinyLlama.weights(pairing: .halfSplit, tied: true, keyValueHeads: 2)
    var decoder = FloatDecoder(weights)
    var whole = FloatDecoderState(weights.description)
    let expected = decoder.forward(tokens: tokens, state: &whole)
    var state = FloatDecoderState(weights.description)
    var values: [Float] = []
    var start = 0
    var turn = 0
    while start < tokens.count {
      let end = min(tokens.count, start + steps[turn % steps.count])
      let part = Array(tokens[start..<end])
      values += decoder.forward(tokens: part, state: &state).values
      start = end
      turn += 1
    }
    #expect(values.count == expected.values.count)
    #expect(zip(values, expected.values).allSatisfy { abs($0 - $1) <= 1e-4 })
    #expect(state.position == tokens.count)
  }

  @Test(arguments: [1, 4, 11])
  func theLastRowsAreThoseOfAll(outputs: Int) {
    let weights = TinyLlama.weights(pairing: .halfSplit, tied: true, keyValueHeads: 2)
    var decoder = FloatDecoder(weights)
    var state = FloatDecoderState(weights.description)
    let all = decoder.forward(tokens: tokens, state: &state)
    state = FloatDecoderState(weights.description)
    let last = decoder.forward(tokens: tokens, outputs: outputs, state: &state)
    #expect(last.rows == outputs)
    let expected = all.values.suffix(outputs * all.columns)
    #expect(zip(last.values, expected).allSatisfy { abs($0 - $1) <= 1e-5 })
  }

  @Test func everySiteIsCalledWithItsRows() {
    let weights = TinyLlama.weights(pairing: .halfSplit, tied: true, keyValueHeads: 2)
    let d = weights.description
    var calls: [ActivationSite: Int] = [:]
    var elements: [ActivationSite: Set<[Int]>] = [:]
    var decoder = FloatDecoder(
      weights,
      transform: SiteTransform { site, layer, values, rowWidth in
        calls[site, default: 0] += 1
        elements[site, default: []].insert([values.count, rowWidth])
        #expect((0..<d.layers).contains(layer))
      })
    var state = FloatDecoderState(d)
    _ = decoder.forward(tokens: tokens, state: &state)
    let n = tokens.count
    let expected: [ActivationSite: (calls: Int, count: Int, rowWidth: Int)] = [
      .attentionInput: (3, n * 24, 24), .query: (3, n * 48, 8), .key: (3, n * 16, 8),
      .value: (3, n * 16, 8), .attentionOutput: (3, n * 48, 48), .feedForwardInput: (3, n * 24, 24),
      .feedForwardProduct: (3, n * 20, 20), .headInput: (1, n * 24, 24), .residual: (7, n * 24, 24),
      .queryRow: (3, n * 48, 48), .keyRow: (3, n * 16, 16), .valueRow: (3, n * 16, 16),
      .gateRow: (3, n * 20, 20), .upRow: (3, n * 20, 20),
      .attentionWeights: (3 * 6, n * n, n),
    ]
    for site in ActivationSite.allCases {
      #expect(calls[site] == expected[site]?.calls)
      if expected[site] == nil { continue }
      #expect(elements[site] == [[expected[site]?.count ?? -1, expected[site]?.rowWidth ?? -1]])
    }
  }

  @Test func recordingChangesNothingAndTransformsTakeEffect() {
    let weights = TinyLlama.weights(pairing: .halfSplit, tied: true, keyValueHeads: 2)
    func run(_ transform: SiteTransform) -> Matrix {
      var decoder = FloatDecoder(weights, transform: transform)
      var state = FloatDecoderState(weights.description)
      return decoder.forward(tokens: tokens, state: &state)
    }
    let plain = run(.none)
    let recorder = ActivationRecorder()
    #expect(run(recorder.transform) == plain)
    let residual = recorder.maximum(.residual)
    #expect(residual > 0)
    #expect(residual == (0..<3).map { recorder.maximum(.residual, layer: $0) }.max())
    let unused: Set<ActivationSite> = [.attentionResult, .feedForwardResult]  // post norms only
    for changed in ActivationSite.allCases where !unused.contains(changed) {
      let logits = run(
        SiteTransform { site, _, values, _ in
          if site == changed {
            for i in values.indices { values[i] = (values[i] * 8).rounded() / 8 }
          }
        })
      #expect(logits != plain, "\(changed) must reach the logits")
    }
  }

  @Test func weightsOfTheWrongShapeAreFound() {
    var weights = TinyLlama.weights(pairing: .halfSplit, tied: true, keyValueHeads: 2)
    #expect(weights.isConsistent)
    #expect(weights.parameterCount == 37 * 24 + 24 + 3 * (48 + 2 * 48 * 24 + 2 * 16 * 24 + 3 * 480))
    weights.layers[1].key = LinearLayer(Matrix(rows: 15, columns: 24))
    #expect(!weights.isConsistent)
  }
}
