// Images to calibrate on where a person gives none.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaTensor
import Glibc

/// Pictures of opaque shapes of all sizes that cover one another: dead leaves.
///
/// The radius r of a shape has a density of r⁻³, so that the pictures have the statistics of
/// photographs at every scale (Lee, Mumford and Huang 2001, "Occlusion models for natural images");
/// shapes are shaded, and some are striped or speckled. Pictures are as sharp as their pixels allow
/// or blurred like small photographs enlarged. The same on every run.
struct DrawnScenes {
  /// Pixels of the smallest picture that is enlarged.
  private static let smallestEdge = 24.0

  private let d: VisionDescription
  private var random = RandomNumbers(seed: 1)
  /// Of the picture that is being drawn.
  private var height = 0
  private var width = 0
  private var channels: Int { d.channels }

  private init(_ d: VisionDescription) { self.d = d }

  /// `count` pictures, [height][width][channels] each.
  static func images(_ d: VisionDescription, count: Int) -> [[UInt8]] {
    var scenes = DrawnScenes(d)
    return (0..<count).map { _ in scenes.next() }
  }

  /// A shape and its surface; lengths are parts of the shorter edge.
  private struct Leaf {
    var y, x, radius: Double
    /// Half of the smaller over half of the larger extent, and the angle of the larger one.
    var flatness, angle: Double
    var isBox: Bool
    var color: [Double]
    /// Change of brightness over a radius, and its direction.
    var shade, light: Double
    /// Stripes: how strong, and how many over a radius.
    var contrast, pitch: Double
    /// How strong the noise of its pixels is.
    var noise: Double
  }

  /// [height][width][channels].
  private mutating func next() -> [UInt8] {
    let most = max(1, Double(min(d.height, d.width)) / DrawnScenes.smallestEdge)
    let enlargement = pow(most, unit())
    height = max(1, Int(Double(d.height) / enlargement))
    width = max(1, Int(Double(d.width) / enlargement))
    let pixels = VisionPositions.resized(
      drawn().map { Float($0) }, from: (height, width), to: (d.height, d.width), width: channels,
      .bicubic)
    return pixels.map { UInt8(min(255, max(0, $0 * 255))) }
  }

  /// [height][width][channels], about 0 to 1.
  private mutating func drawn() -> [Double] {
    let edge = Double(min(height, width))
    // A palette makes a picture of a piece.
    let palette = (0..<5).map { _ in color() }
    var pixels = [Double](repeating: 0.5, count: height * width * channels)
    let smallest = 1.5 / edge
    // From the back to the front; the first covers everything.
    paint(leaf(radius: 4, palette), &pixels)
    let count = Int(40 + 160 * unit())
    for _ in 0..<count {
      // The inverse of the distribution of r⁻³ from `smallest` to 1, begun no finer than 1/20.
      let least = max(smallest, 0.05)
      let u = unit()
      let radius = 1 / (u / (least * least) + (1 - u)).squareRoot()
      paint(leaf(radius: radius, palette), &pixels)
    }
    return pixels
  }

  private mutating func leaf(radius: Double, _ palette: [[Double]]) -> Leaf {
    let base = palette[Int(unit() * Double(palette.count))]
    return Leaf(
      y: unit() * Double(height) / Double(min(height, width)),
      x: unit() * Double(width) / Double(min(height, width)), radius: radius,
      flatness: 0.3 + 0.7 * unit(), angle: unit() * 2 * .pi, isBox: unit() < 0.4,
      color: base.map { $0 + 0.1 * normal() }, shade: 0.15 * normal(), light: unit() * 2 * .pi,
      contrast: unit() < 0.3 ? 0.2 * unit() : 0, pitch: 2 + 10 * unit(),
      noise: unit() < 0.5 ? 0.08 * unit() : 0.01)
  }

  /// Paints the pixels whose centre lies in a leaf; its edge is one pixel soft.
  private mutating func paint(_ leaf: Leaf, _ pixels: inout [Double]) {
    let edge = Double(min(height, width))
    let reach = leaf.radius * (leaf.isBox ? 1.5 : 1) + 1 / edge
    func span(_ centre: Double, _ limit: Int) -> Range<Int> {
      let low = min(limit, max(0, Int((centre - reach) * edge)))
      return low..<max(low, min(limit, Int((centre + reach) * edge) + 1))
    }
    let (c, s) = (cos(leaf.angle), sin(leaf.angle))
    for row in span(leaf.y, height) {
      for column in span(leaf.x, width) {
        let (dy, dx) = ((Double(row) + 0.5) / edge - leaf.y, (Double(column) + 0.5) / edge - leaf.x)
        let (a, b) = ((c * dx + s * dy) / leaf.radius, (c * dy - s * dx) / leaf.radius)
        let far = leaf.isBox ? max(abs(a), abs(b) / leaf.flatness) : hypot(a, b / leaf.flatness)
        let cover = min(1, max(0, (1 - far) * leaf.radius * edge + 0.5))
        guard cover > 0 else { continue }
        let shade =
          leaf.shade * (cos(leaf.light) * a + sin(leaf.light) * b)
          + leaf.contrast * sin(leaf.pitch * a) + leaf.noise * normal()
        let place = (row * width + column) * channels
        for channel in 0..<channels {
          let value = leaf.color[channel] + shade
          pixels[place + channel] += cover * (value - pixels[place + channel])
        }
      }
    }
  }

  /// A colour: any brightness, little of it in one channel alone.
  private mutating func color() -> [Double] {
    let brightness = 0.1 + 0.8 * unit()
    return (0..<channels).map { _ in channels == 1 ? brightness : brightness + 0.12 * normal() }
  }

  /// 0 to 1.
  private mutating func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }

  /// Mean 0, variance 1: a sum of 12.
  private mutating func normal() -> Double {
    var sum = -6.0
    for _ in 0..<12 { sum += unit() }
    return sum
  }
}
