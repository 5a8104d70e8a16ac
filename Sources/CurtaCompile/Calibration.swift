// How large the residual stream gets: it decides where the point of the fixed-point sum lies.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// Tokens that the model itself makes, the same on every run.
///
/// The tokens hang on float arithmetic, so another BLAS may draw others; what is kept of them is
/// one power of two with a factor of four to spare.
enum Calibration {
  /// Tokens in one sequence, at most.
  static let length = 256

  /// Largest |x| of the residual stream over two sequences and all rows of the embedding.
  ///
  /// One sequence begins with `begin` (or token 0) and goes on with tokens drawn from the model at
  /// temperature 1; the other is `length` token ids evenly spaced over the vocabulary. Costs two
  /// forward passes of `length` tokens, one of them token by token.
  static func largestResidual(_ weights: DecoderWeights, begin: Int32?) -> Float {
    let recorder = ActivationRecorder()
    var decoder = FloatDecoder(weights, transform: recorder.transform)
    let d = weights.description
    let count = min(length, d.contextLength)

    var generator = RandomNumbers(seed: 0)
    var state = FloatDecoderState(d)
    var token = begin ?? 0
    for _ in 0..<count {
      let logits = decoder.forward(tokens: [token], state: &state)
      token = draw(logits.row(0), generator.unit())
    }

    let spread = min(count, d.vocabularySize)
    var fresh = FloatDecoderState(d)
    let ids = (0..<spread).map { Int32($0 * d.vocabularySize / spread) }
    _ = decoder.forward(tokens: ids, state: &fresh)
    return max(recorder.maximum(.residual), largestMagnitude(weights.embedding.values))
  }

  /// The token at `unit`, 0 ..< 1, of the cumulative probabilities.
  private static func draw(_ logits: ArraySlice<Float>, _ unit: Double) -> Int32 {
    let probabilities = logSoftmax(logits).map { exp($0) }
    var rest = unit
    for (index, probability) in probabilities.enumerated() {
      rest -= probability
      if rest < 0 { return Int32(index) }
    }
    return Int32(argmax(logits))
  }
}

/// The generator of `Formats/curta-arithmetic.md` section 6.
private struct RandomNumbers {
  private var state: UInt64

  init(seed: UInt64) {
    var z = seed &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    state = z == 0 ? 1 : z
  }

  /// A number in 0 ..< 1.
  mutating func unit() -> Double {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return Double((state &* 0x2545_F491_4F6C_DD1D) >> 11) * 0x1p-53
  }
}

/// The fixed point of the residual stream.
struct ResidualScale: Equatable, Sendable {
  /// F: the stream holds x · 2^F.
  var fraction: Int
  /// The norms' epsilon in units of 2^(−2F). 0 where it is below half a unit; the runtime then
  /// takes a sum of squares of 0 for 1.
  var epsilon: UInt64

  /// Leaves room for four times the largest magnitude that was seen.
  init(largest: Float, epsilon: Float) {
    var fraction = 30
    if largest > 0 {
      fraction = Int(log2(0x1p31 / (4 * Double(largest))).rounded(.down))
      fraction = min(30, max(0, fraction))
    }
    func scaled() -> Double { (Double(epsilon) * pow(4, Double(fraction)) + 0.5).rounded(.down) }
    while fraction > 0, scaled() > 0x1p40 { fraction -= 1 }
    self.fraction = fraction
    self.epsilon = UInt64(min(scaled(), 0x1p40))
  }
}
