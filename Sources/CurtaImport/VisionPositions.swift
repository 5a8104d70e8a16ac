// Tables of learned positions: which rows are of patches, and how they come to another grid.
// SPDX-License-Identifier: Apache-2.0

package enum VisionPositions {
  /// How many of the rows are those of tokens in front, and the grid of the others. Registers often
  /// have none, and so do class tokens at times. nil: the rows are those of no square grid.
  static func grid(
    rows stored: Int, prefixRows: Int, wanted: (rows: Int, columns: Int)
  ) -> (prefix: Int, rows: Int, columns: Int)? {
    let prefixes = [prefixRows] + (prefixRows > 1 ? [1] : []) + (prefixRows > 0 ? [0] : [])
    for prefix in prefixes where stored - prefix == wanted.rows * wanted.columns {
      return (prefix, wanted.rows, wanted.columns)
    }
    for prefix in prefixes {
      if let edge = squareRoot(stored - prefix) { return (prefix, edge, edge) }
    }
    return nil
  }

  /// The root of a square number above zero.
  static func squareRoot(_ area: Int) -> Int? {
    guard area > 0, area <= VisionLimit.rows else { return nil }
    let edge = Int(Double(area).squareRoot().rounded())
    return edge * edge == area ? edge : nil
  }

  /// The first `stored` rows of a table, and zeros for the rest of the tokens.
  static func prefix(_ table: [Float], stored: Int, rows: Int, width: Int) -> [Float] {
    Array(table[..<(stored * width)]) + [Float](repeating: 0, count: (rows - stored) * width)
  }

  /// A table [rows][columns][width] on another grid, as torch's `interpolate` does it without
  /// aligned corners.
  package static func resized(
    _ table: [Float], from: (rows: Int, columns: Int), to: (rows: Int, columns: Int), width: Int,
    _ kind: VisionInterpolation
  ) -> [Float] {
    guard from != to else { return table }
    let horizontal = taps(from: from.columns, to: to.columns, kind)
    let vertical = taps(from: from.rows, to: to.rows, kind)
    // [from.rows][to.columns][width], then [to.rows][to.columns][width].
    let between = passed(
      table, outer: from.rows, from: from.columns, width: width, horizontal)
    return passed(between, outer: 1, from: from.rows, width: to.columns * width, vertical)
  }

  /// Which elements a new one is the weighted sum of.
  private typealias Taps = [(index: Int, weight: Double)]

  /// The middle axis of [outer][from][width] goes through the taps.
  private static func passed(
    _ values: [Float], outer: Int, from: Int, width: Int, _ taps: [Taps]
  ) -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(outer * taps.count * width)
    var sums = [Double](repeating: 0, count: width)
    for block in 0..<outer {
      for taps in taps {
        for i in 0..<width { sums[i] = 0 }
        for (index, weight) in taps {
          let start = (block * from + index) * width
          for i in 0..<width { sums[i] += weight * Double(values[start + i]) }
        }
        result += sums.map { Float($0) }
      }
    }
    return result
  }

  private static func taps(from: Int, to: Int, _ kind: VisionInterpolation) -> [Taps] {
    let step = Double(from) / Double(to)
    return (0..<to).map { index in
      switch kind {
      case .bicubic:
        // Keys' kernel with a = −0.75; what is outside repeats the edge.
        let center = (Double(index) + 0.5) * step - 0.5
        let first = Int(center.rounded(.down))
        return (first - 1...first + 2).map { at in
          (min(max(at, 0), from - 1), cubic(Double(at) - center, -0.75))
        }
      case .bicubicAntialiased:
        // a = −0.5, as wide as the step; what is outside does not count.
        let scale = max(step, 1)
        let center = (Double(index) + 0.5) * step
        let first = max(0, Int(center - 2 * scale + 0.5))
        let end = min(from, Int(center + 2 * scale + 0.5))
        let taps = (first..<max(end, first)).map { at in
          (at, cubic((Double(at) + 0.5 - center) / scale, -0.5))
        }
        let sum = taps.reduce(0) { $0 + $1.1 }
        return taps.map { ($0.0, $0.1 / sum) }
      }
    }
  }

  /// Keys' cubic convolution kernel.
  private static func cubic(_ distance: Double, _ a: Double) -> Double {
    let x = abs(distance)
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
    return 0
  }
}
