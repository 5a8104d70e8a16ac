// Scores of logits: log-softmax, likelihood, divergence, all in double precision.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import Glibc

/// Largest |x|; 0 for no values.
public func largestMagnitude(_ values: [Float]) -> Float {
  guard !values.isEmpty else { return 0 }
  return abs(values[Int(cblas_isamax(blasint(values.count), values, 1))])
}

/// Natural logarithms of softmax probabilities, [n] nats.
@inlinable
public func logSoftmax(_ logits: some Collection<Float>) -> [Double] {
  logSoftmax(logits.map(Double.init))
}

/// Natural logarithms of softmax probabilities, [n] nats.
public func logSoftmax(_ logits: [Double]) -> [Double] {
  guard let largest = logits.max() else { return [] }
  var sum = 0.0
  for value in logits { sum += exp(value - largest) }
  let shift = largest + log(sum)
  return logits.map { $0 - shift }
}

/// −log p(target) in nats.
public func negativeLogLikelihood(_ logits: some Collection<Float>, target: Int) -> Double {
  let logProbabilities = logSoftmax(logits)
  precondition(logProbabilities.indices.contains(target))
  return -logProbabilities[target]
}

/// KL(p‖q) = Σ p (log p − log q) in nats, both given as logits over the same tokens.
@inlinable
public func klDivergence(_ p: some Collection<Float>, _ q: some Collection<Float>) -> Double {
  klDivergence(logProbabilities: logSoftmax(p), logSoftmax(q))
}

/// KL(p‖q) = Σ p (log p − log q) in nats, both given as log-probabilities.
public func klDivergence(logProbabilities p: [Double], _ q: [Double]) -> Double {
  precondition(p.count == q.count)
  var sum = 0.0
  for index in p.indices where p[index] > -.infinity {
    sum += exp(p[index]) * (p[index] - q[index])
  }
  return sum
}

/// Index of the largest value, the first of equals; 0 for no values.
public func argmax(_ values: some Collection<Float>) -> Int {
  var best = 0
  var largest = -Float.infinity
  for (index, value) in values.enumerated() where value > largest {
    best = index
    largest = value
  }
  return best
}
