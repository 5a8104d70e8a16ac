// Pictures with the statistics of photographs, for conversions that are given none: dead leaves.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

extension VisionCalibration {
  /// What solvers and searches look at where there are no images: `count` pictures of dead leaves, the
  /// same on every run.
  static func pictures(_ d: VisionDescription, _ count: Int) -> [[UInt8]] {
    var random = RandomNumbers(seed: 1)
    return (0..<count).map { _ in deadLeaves(d, &random) }
  }

  /// Discs that cover one another, [height][width][channels]: the dead leaves model, whose edges,
  /// scales and spectrum are those of photographs (Lee, Mumford and Huang 2001, IJCV 41).
  ///
  /// Radii have the density r^−3, from 1/40 to half of the longer edge; a disc has one colour, most
  /// of which is brightness, and a slope of brightness.
  private static func deadLeaves(
    _ d: VisionDescription, _ random: inout RandomNumbers
  ) -> [UInt8] {
    func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }
    let edge = Double(max(d.height, d.width))
    let (least, most) = (max(1, edge / 40), edge / 2)
    var pixels = [Double](repeating: 0.5, count: d.height * d.width * d.channels)
    for _ in 0..<1200 {
      let radius = least / (1 - unit() * (1 - least * least / (most * most))).squareRoot()
      let (y0, x0) = (unit() * Double(d.height), unit() * Double(d.width))
      let brightness = unit()
      let colour = (0..<d.channels).map { _ in brightness + (unit() - 0.5) * 0.4 }
      let (slopeY, slopeX) = ((unit() - 0.5) * 0.4 / radius, (unit() - 0.5) * 0.4 / radius)
      let rows = max(0, Int(y0 - radius))..<min(d.height, Int(y0 + radius) + 1)
      let columns = max(0, Int(x0 - radius))..<min(d.width, Int(x0 + radius) + 1)
      for y in rows {
        for x in columns {
          let (dy, dx) = (Double(y) - y0, Double(x) - x0)
          guard dy * dy + dx * dx <= radius * radius else { continue }
          let slope = slopeY * dy + slopeX * dx
          for channel in 0..<d.channels {
            pixels[(y * d.width + x) * d.channels + channel] = colour[channel] + slope
          }
        }
      }
    }
    return pixels.map { UInt8(min(255, max(0, ($0 + (unit() - 0.5) * 0.04) * 255))) }
  }
}
