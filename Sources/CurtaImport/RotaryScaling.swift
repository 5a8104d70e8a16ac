// How rotary frequencies are changed for contexts longer than a model was first trained for.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// The corrections that `transformers` (modeling_rope_utils.py) and llama.cpp know.
enum RotaryScaling: Equatable, Sendable {
  case none
  /// All pairs turn slower by a factor.
  case linear(factor: Double)
  /// The base grows so that the slowest pair turns slower by about `factor · context / trained`.
  case dynamic(factor: Double, trained: Int, context: Int)
  /// Fast pairs stay, slow ones turn slower, with a ramp between (Peng et al., arXiv 2309.00071).
  case yarn(Yarn)
  /// The same with the bounds of Llama 3.1.
  case llama3(factor: Double, low: Double, high: Double, trained: Int)
  /// A divisor for every pair (LongRoPE, arXiv 2402.13753).
  case divisors([Double])

  struct Yarn: Equatable, Sendable {
    var factor: Double
    var fast: Double = 32
    var slow: Double = 1
    var trained: Int
    /// Whether the bounds of the ramp are whole pairs.
    var isTruncated = true
  }

  /// Radians per position of the pairs of `width` elements.
  func frequencies(base: Double, width: Int) -> [Double] {
    let pairs = width / 2
    func plain(_ base: Double) -> [Double] {
      (0..<pairs).map { pow(base, -2 * Double($0) / Double(width)) }
    }
    switch self {
    case .none: return plain(base)
    case .linear(let factor): return plain(base).map { $0 / factor }
    case .dynamic(let factor, let trained, let context):
      guard width > 2, context > trained else { return plain(base) }
      let stretch = factor * Double(context) / Double(trained) - (factor - 1)
      return plain(base * pow(stretch, Double(width) / Double(width - 2)))
    case .yarn(let yarn): return yarn.frequencies(plain(base), base: base, width: width)
    case .llama3(let factor, let low, let high, let trained):
      return plain(base).map { frequency in
        let turns = Double(trained) * frequency / (2 * .pi)
        if turns > high { return frequency }
        if turns < low { return frequency / factor }
        let kept = (turns - low) / (high - low)
        return (1 - kept) * frequency / factor + kept * frequency
      }
    case .divisors(let divisors):
      return zip(plain(base), divisors).map { $0 / $1 }
    }
  }
}

extension RotaryScaling.Yarn {
  fileprivate func frequencies(_ plain: [Double], base: Double, width: Int) -> [Double] {
    /// The pair that turns so often in the context of the training.
    func pair(_ turns: Double) -> Double {
      Double(width) * log(Double(trained) / (turns * 2 * .pi)) / (2 * log(base))
    }
    var (low, high) = (pair(fast), pair(slow))
    if isTruncated { (low, high) = (low.rounded(.down), high.rounded(.up)) }
    low = max(low, 0)
    high = min(high, Double(width - 1))
    if low == high { high += 0.001 }
    return plain.enumerated().map { index, frequency in
      let slowed = min(max((Double(index) - low) / (high - low), 0), 1)
      return frequency / factor * slowed + frequency * (1 - slowed)
    }
  }

  /// What cosines and sines are multiplied by, of a scaling by `factor`.
  static func magnitude(_ factor: Double, _ scale: Double = 1) -> Double {
    factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
  }
}

/// A rotary table, and what its cosines and sines are multiplied by.
struct ScaledRotary: Equatable, Sendable {
  var table: RotaryTable
  var magnitude = 1.0
}

extension DecoderDescription {
  /// Sets the tables and multiplies the scores by the square of their magnitude, which is in both
  /// q and k. Returns what is wrong where that would not be the same.
  mutating func setRotary(_ tables: [ScaledRotary]) -> String? {
    rotary = tables.map(\.table)
    for layer in attention.indices where attention[layer].rotary == nil {
      attention[layer].rotary = tables.isEmpty ? nil : 0
    }
    guard let magnitude = tables.first?.magnitude else { return nil }
    guard tables.allSatisfy({ $0.magnitude == magnitude }) else {
      return "rotary tables of different attention factors (supported: one for all layers)"
    }
    guard magnitude != 1 else { return nil }
    guard rotary.allSatisfy({ 2 * $0.frequencies.count == headWidth }) else {
      return "an attention factor of \(magnitude) where only a part of a head turns "
        + "(supported: 1, or heads that turn as a whole)"
    }
    scoreScale *= magnitude * magnitude
    return nil
  }
}
