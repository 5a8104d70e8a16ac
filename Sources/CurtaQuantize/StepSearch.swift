// The step between the values of a code: the one that loses least over a span of weights.
// SPDX-License-Identifier: Apache-2.0

/// Which steps the search tries, as parts of the step at which nothing is clipped.
///
/// Clipping the few largest weights makes all the others finer: "searched clipping" of AWQ
/// (Lin et al. 2023, arXiv 2306.00978).
public enum ClipSearch: String, Sendable, Equatable, CaseIterable, Codable {
  /// Only the step at which nothing is clipped (min-max).
  case none
  /// 24 steps, then two least-squares corrections of the best.
  case search

  /// Descending parts of the unclipped step, 1 first.
  func ratios(bits: Int) -> [Float] {
    guard self == .search else { return [1] }
    let least: Float
    switch bits {
    case 2: least = 0.25
    case 3: least = 0.4
    case 4: least = 0.5
    case 5: least = 0.6
    default: least = 0.7
    }
    return (0..<24).map { 1 - (1 - least) * Float($0) / 23 }
  }
}

/// Weights that share a step, with the codes that they may have.
struct WeightSpan {
  /// [count] float32, finite.
  let weights: UnsafePointer<Float>
  /// How much the squared error of each weight counts, [count], not negative; nil: 1.
  let importance: UnsafePointer<Float>?
  let count: Int
  /// Least and largest code.
  let low: Float
  let high: Float

  /// Steps below this are taken as 0: no exponent reaches them.
  static let tiniest: Float = 0x1p-80

  private typealias Lanes = SIMD8<Float>

  /// Adding and subtracting it rounds |x| < 2^22 to an integer.
  private static let rounder: Float = 0x1.8p23

  /// The least step at which no weight is clipped; 0 when all weights are (almost) 0.
  var unclippedStep: Float {
    var least: Float = 0
    var most: Float = 0
    for i in 0..<count {
      least = min(least, weights[i])
      most = max(most, weights[i])
    }
    let step = max(most / high, least / low)
    return step < WeightSpan.tiniest ? 0 : step
  }

  /// The step of least error among `ratios` of the unclipped one, corrected by least squares
  /// `corrections` times; of equal ones the first.
  func bestStep(ratios: [Float], corrections: Int) -> Float {
    let unclipped = unclippedStep
    guard unclipped > 0 else { return 0 }
    var best = unclipped
    var least = Float.infinity
    for ratio in ratios {
      let error = squaredError(step: unclipped * ratio)
      if error < least {
        least = error
        best = unclipped * ratio
      }
    }
    for _ in 0..<corrections {
      let step = leastSquaresStep(near: best)
      guard step >= WeightSpan.tiniest else { break }
      let error = squaredError(step: step)
      guard error < least else { break }
      least = error
      best = step
    }
    return best
  }

  /// Sum of importance · (w − step · code − offset)², each weight on its nearest code. Step 0 makes
  /// all weights `offset`.
  func squaredError(step: Float, offset: Float = 0) -> Float {
    let inverse = step > 0 ? 1 / step : 0
    var sums = Lanes.zero
    var i = 0
    while i + Lanes.scalarCount <= count {
      let w = load(weights, i) - offset
      let d = w - code(w * inverse) * step
      sums += importance.map { d * d * load($0, i) } ?? d * d
      i += Lanes.scalarCount
    }
    var sum = sums.sum()
    while i < count {
      let w = weights[i] - offset
      let d = w - code(w * inverse) * step
      sum += importance.map { d * d * $0[i] } ?? d * d
      i += 1
    }
    return sum
  }

  /// With the codes of `step` kept, the step of least error: Σ w·c / Σ c².
  private func leastSquaresStep(near step: Float) -> Float {
    let inverse = 1 / step
    var top: Float = 0
    var bottom: Float = 0
    for i in 0..<count {
      let c = code(weights[i] * inverse)
      let weight = importance.map { $0[i] } ?? 1
      top += weight * weights[i] * c
      bottom += weight * c * c
    }
    return bottom > 0 ? top / bottom : 0
  }

  @inline(__always)
  private func load(_ values: UnsafePointer<Float>, _ i: Int) -> Lanes {
    UnsafeRawPointer(values + i).loadUnaligned(as: Lanes.self)
  }

  @inline(__always)
  func code(_ x: Float) -> Float {
    (min(max(x, low), high) + WeightSpan.rounder) - WeightSpan.rounder
  }

  @inline(__always)
  private func code(_ x: Lanes) -> Lanes {
    var y = x
    y.replace(with: low, where: x .< low)
    y.replace(with: high, where: x .> high)
    return (y + WeightSpan.rounder) - WeightSpan.rounder
  }
}
