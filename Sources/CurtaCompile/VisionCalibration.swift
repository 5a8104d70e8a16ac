// How large the activations of a vision transformer get.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// What was measured of a vision transformer.
struct VisionRanges {
  /// Of the layers.
  let layers: ActivationRanges
  /// The rows before the first norm; without one they are the residual stream.
  let embedded: FixedPoint
  /// The rows behind a norm that comes before they are pooled.
  let normed: FixedPoint
  /// The rows of the head's inner layer.
  let hidden: FixedPoint

  init(
    layers: ActivationRanges, embedded: Float, normed: Float, hidden: Float, epsilon: Float
  ) {
    self.layers = layers
    self.embedded = FixedPoint(largest: embedded, epsilon: epsilon)
    self.normed = FixedPoint(largest: normed, epsilon: epsilon)
    self.hidden = FixedPoint(largest: hidden, epsilon: epsilon)
  }
}

/// A handful of drawn images that need no file, the same on every run.
///
/// What is kept of them are powers of two with a factor of 16 to spare.
enum VisionCalibration {
  /// The largest magnitudes over the drawn images and `more`, [height][width][channels] each.
  ///
  /// Throws `ConversionError` for activations that are not finite.
  static func ranges(
    _ weights: VisionWeights, more: [[UInt8]] = []
  ) throws(ConversionError) -> VisionRanges {
    let d = weights.description
    let recorder = ActivationRecorder()
    let before = ActivationRecorder()
    var hidden: Float = 0
    var isFirst = true
    let watch = SiteTransform { site, _, values, _ in
      guard site == .headInput, isFirst, let layer = weights.ends.hidden else { return }
      isFirst = false
      let row = Matrix(rows: 1, columns: values.count, values: values)
      let products = row.times(transposed: layer.weight).values
      for (i, product) in products.enumerated() {
        hidden = max(hidden, abs(product + (layer.bias?[i] ?? 0)))
      }
    }
    let model = FloatVision(weights, transform: recorder.transform.then(watch))
    let entry = FloatVision(weights.withoutLayers, transform: before.transform)
    var isFinite = true
    for image in drawn(d) + more {
      isFirst = true
      isFinite = model.forward(image).allSatisfy(\.isFinite) && isFinite
      if d.hasFirstNorm { _ = entry.forward(image) }
    }
    let largest = recorder.maximum(.residual)
    guard isFinite, largest.isFinite else {
      throw .unsupported([
        "activations beyond float32: the residual stream is not finite; check the weights"
      ])
    }
    let epsilon = d.body.normEpsilon
    // A norm of n numbers gives none above √n times its weight; FixedPoint leaves a factor of 16.
    let gamma = weights.ends.finalNorm.map { largestMagnitude($0.weight) } ?? 0
    let normed = gamma * Float(d.body.width).squareRoot() / 16
    return VisionRanges(
      layers: ActivationRanges(residual: largest, epsilon: epsilon) { site, layer in
        recorder.maximum(site, layer: layer)
      },
      embedded: before.maximum(.residual), normed: normed, hidden: hidden, epsilon: epsilon)
  }

  /// Plain black, grey and white, slopes, noise of pixels and of waves.
  static func drawn(_ d: VisionDescription) -> [[UInt8]] {
    var random = RandomNumbers(seed: 0)
    func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }
    func image(_ value: (Double, Double, Int) -> Double) -> [UInt8] {
      var pixels: [UInt8] = []
      pixels.reserveCapacity(d.height * d.width * d.channels)
      for y in 0..<d.height {
        for x in 0..<d.width {
          for channel in 0..<d.channels {
            let v = value(Double(y) / Double(d.height), Double(x) / Double(d.width), channel)
            pixels.append(UInt8(min(255, max(0, v * 255))))
          }
        }
      }
      return pixels
    }
    var images = [0, 0.5, 1].map { level in image { _, _, _ in level } }
    images.append(image { y, x, channel in channel == 1 ? 1 - y : x })
    images.append(image { _, _, _ in unit() })
    for _ in 0..<3 {
      // A sum of waves in each channel, most of it slow, as in photographs.
      let waves = (0..<3 * 12).map { i in
        let pitch = Double(1 + i % 12)
        return (
          y: (unit() - 0.5) * 2 * pitch, x: (unit() - 0.5) * 2 * pitch, phase: unit(),
          height: 0.6 / pitch
        )
      }
      images.append(
        image { y, x, channel in
          waves[12 * channel..<12 * channel + 12].reduce(0.5) { sum, wave in
            sum + wave.height * cos(2 * .pi * (wave.y * y + wave.x * x + wave.phase))
          }
        })
    }
    return images
  }
}

extension VisionWeights {
  /// What stands before the first norm, alone.
  fileprivate var withoutLayers: VisionWeights {
    var weights = self
    weights.layers = []
    weights.ends.firstNorm = nil
    weights.description.hasFirstNorm = false
    weights.description.body.layers = 0
    weights.description.body.attention = []
    return weights
  }
}
