// How large activations get: it decides where the points of the fixed-point rows lie.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// Two sequences of tokens that need no text, the same on every run.
///
/// What is kept of them are powers of two with a factor of 16 to spare.
enum Calibration {
  /// Tokens in one sequence, at most.
  static let length = 256

  /// The largest magnitudes over two sequences and all rows of the embedding.
  ///
  /// One sequence is `begin` (or token 0) and pseudo-random tokens, the other is `length` token ids
  /// evenly spaced over the vocabulary. Reads the source a layer at a time. Throws what reading
  /// throws, and `ConversionError` for activations that are not finite.
  static func ranges(_ source: DecoderSource, begin: Int32?) throws -> ActivationRanges {
    let d = source.description
    let recorder = ActivationRecorder()
    let runner = LayerRunner(d, recorder.transform)
    let count = min(length, d.contextLength)
    var generator = RandomNumbers(seed: 0)
    let drawn = (1..<max(count, 1)).map { _ in
      Int32(Int(generator.next() >> 33) % d.vocabularySize)
    }
    let spread = min(count, d.vocabularySize)
    let sequences = [
      [begin ?? 0] + drawn, (0..<spread).map { Int32($0 * d.vocabularySize / spread) },
    ]

    var streams: [Matrix] = []
    var largest: Float = 0
    do {
      let ends = try source.ends()
      largest = largestMagnitude(ends.embedding.values)
      streams = sequences.map { runner.embed($0, ends) }
    }
    for index in 0..<d.layers {
      let layer = try source.layer(index)
      for i in streams.indices {
        var cache = LayerCache()
        runner.run(layer, index, &streams[i], from: 0, &cache)
      }
    }
    largest = max(largest, recorder.maximum(.residual))
    guard largest.isFinite, streams.allSatisfy({ $0.values.allSatisfy(\.isFinite) }) else {
      throw ConversionError.unsupported([
        "activations beyond float32: the residual stream is not finite; check the weights"
      ])
    }
    return ActivationRanges(residual: largest, epsilon: d.normEpsilon) { site, layer in
      recorder.maximum(site, layer: layer)
    }
  }
}

/// The generator of `Formats/curta-arithmetic.md` section 7.
struct RandomNumbers {
  private var state: UInt64

  init(seed: UInt64) {
    var z = seed &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    state = z == 0 ? 1 : z
  }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}

/// Where the points of a decoder's fixed-point rows lie.
struct ActivationRanges {
  let residual: FixedPoint
  private let epsilon: Float
  private let maximum: (ActivationSite, Int) -> Float

  init(
    residual: Float, epsilon: Float,
    maximum: @escaping (ActivationSite, Int) -> Float = { _, _ in 1 }
  ) {
    self.residual = FixedPoint(largest: residual, epsilon: epsilon)
    self.epsilon = epsilon
    self.maximum = maximum
  }

  /// The point of the rows at a site of one layer, which pass Hadamards of `block`; 0 is none.
  func point(_ site: ActivationSite, layer: Int, block: Int = 0) -> FixedPoint {
    FixedPoint(largest: maximum(site, layer) * Float(max(block, 1)).squareRoot(), epsilon: epsilon)
  }
}

/// The fixed point of a row, and the epsilon of a norm that reads it.
struct FixedPoint: Equatable, Sendable {
  /// F: the row holds x · 2^F.
  var fraction: Int
  /// The norms' epsilon in units of 2^(−2F). 0 where it is below half a unit; the runtime then
  /// takes a sum of squares of 0 for 1.
  var epsilon: UInt64

  /// Leaves room for 16 times the largest magnitude that was seen.
  init(largest: Float, epsilon: Float) {
    var fraction = 30
    if largest > 0, largest.isFinite {
      fraction = Int(log2(0x1p31 / (16 * Double(largest))).rounded(.down))
      fraction = min(30, max(0, fraction))
    }
    func scaled() -> Double { (Double(epsilon) * pow(4, Double(fraction)) + 0.5).rounded(.down) }
    while fraction > 0, scaled() > 0x1p40 { fraction -= 1 }
    self.fraction = fraction
    self.epsilon = UInt64(min(scaled(), 0x1p40))
  }
}
