// Likelihoods and divergences of rows of logits, summed in double precision.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// The log-probabilities of one row of logits.
struct LogProbabilities {
  private(set) var values: [Double]  // [vocabulary], nats
  /// The likeliest token, the first of equals.
  private(set) var best = 0

  init(vocabulary: Int) { values = [Double](repeating: 0, count: vocabulary) }

  /// Takes a row of float logits.
  mutating func set(_ logits: ArraySlice<Float>) {
    precondition(logits.count == values.count)
    for (i, logit) in logits.enumerated() { values[i] = Double(logit) }
    normalize()
  }

  /// Takes a row of integer logits in units of 2^−16.
  mutating func set(_ logits: UnsafeBufferPointer<Int32>) {
    precondition(logits.count == values.count)
    for i in values.indices { values[i] = Double(logits[i]) * 0x1p-16 }
    normalize()
  }

  private mutating func normalize() {
    let best = values.withUnsafeMutableBufferPointer { values in
      var best = 0
      for i in values.indices where values[i] > values[best] { best = i }
      let largest = values[best]
      var sum = 0.0
      for value in values { sum += exp(value - largest) }
      let shift = largest + log(sum)
      for i in values.indices { values[i] -= shift }
      return best
    }
    self.best = best
  }

  /// KL(self‖other) in nats.
  func divergence(from other: LogProbabilities) -> Double {
    values.withUnsafeBufferPointer { p in
      other.values.withUnsafeBufferPointer { q in
        var sum = 0.0
        for i in p.indices { sum += exp(p[i]) * (p[i] - q[i]) }
        return sum
      }
    }
  }
}

/// Sums over positions of what a model predicts, against a reference.
struct ScoreSum: Sendable {
  var positions = 0
  private var lost = 0.0  // −log p of the targets, nats
  private var divergence = 0.0
  private var agreeing = 0

  mutating func add(_ model: LogProbabilities, target: Int32, reference: LogProbabilities?) {
    positions += 1
    lost -= model.values[Int(target)]
    guard let reference else { return }
    divergence += reference.divergence(from: model)
    if reference.best == model.best { agreeing += 1 }
  }

  var perplexity: Double { exp(lost / Double(positions)) }
  var meanDivergence: Double { divergence / Double(positions) }
  /// Share of positions, 0…1, with the same likeliest token.
  var agreement: Double { Double(agreeing) / Double(positions) }
}
