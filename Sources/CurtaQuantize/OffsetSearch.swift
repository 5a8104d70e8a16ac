// The step and the offset between the values of a code that lose least together.
// SPDX-License-Identifier: Apache-2.0

/// Values step · code + offset.
struct AffineStep: Equatable {
  var step: Float
  var offset: Float

  /// The least unit of which the step is at most 255 and the offset at most 32767.
  var leastUnit: Float { max(step / 255, abs(offset) / 32767) }
}

extension WeightSpan {
  /// The step and offset of least error among `ratios` of the whole range, which both ends of the
  /// codes then cover, and the best step without offset; the best is corrected by least squares
  /// `corrections` times.
  func bestAffineStep(ratios: [Float], corrections: Int) -> AffineStep {
    var best = AffineStep(step: bestStep(ratios: ratios, corrections: corrections), offset: 0)
    var least = squaredError(step: best.step)
    var (bottom, top) = (weights[0], weights[0])
    for i in 1..<max(count, 1) {
      bottom = min(bottom, weights[i])
      top = max(top, weights[i])
    }
    func offer(_ step: Float, _ offset: Float) -> Bool {
      guard step >= WeightSpan.tiniest, offset.isFinite else { return false }
      let error = squaredError(step: step, offset: offset)
      guard error < least else { return false }
      (best, least) = (AffineStep(step: step, offset: offset), error)
      return true
    }
    for ratio in ratios {
      let step = (top - bottom) * ratio / (high - low)
      _ = offer(step, (top + bottom) / 2 - step * (high + low) / 2)
    }
    for _ in 0..<corrections {
      let next = leastSquares(near: best)
      guard offer(next.step, next.offset) else { break }
    }
    return best
  }

  /// With the codes of `affine` kept, the step and offset of least error: the regression of the
  /// weights on their codes. The same where all codes are one.
  private func leastSquares(near affine: AffineStep) -> AffineStep {
    guard affine.step > 0 else { return affine }
    let inverse = 1 / affine.step
    var (n, c1, c2, w1, cw) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for i in 0..<count {
      let c = Double(code((weights[i] - affine.offset) * inverse))
      let (w, weight) = (Double(weights[i]), Double(importance?[i] ?? 1))
      n += weight
      c1 += weight * c
      c2 += weight * c * c
      w1 += weight * w
      cw += weight * c * w
    }
    let spread = n * c2 - c1 * c1
    guard spread > 1e-9 * n * c2 else { return affine }
    let step = (n * cw - c1 * w1) / spread
    return AffineStep(step: Float(step), offset: Float((w1 - step * c1) / n))
  }
}
