// A line of pixels that becomes longer or shorter: which pixels count, and how much.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// A line of `from` pixels that becomes one of `to` (`curta-arithmetic.md` section 5).
///
/// Positions are exact: fractions over 2 * to. With from below 2^15 and to below 2^28 all of it fits
/// 64 bits.
struct ResampledLine {
  let from: Int64
  let to: Int64
  private let filter: Filter
  /// r, in units of 1 / to.
  private let reach: Int64
  /// Twice the support, in units of r.
  private let support: Int64

  init(from: Int, to: Int, _ filter: Filter) {
    self.from = Int64(from)
    self.to = Int64(to)
    self.filter = filter
    reach = max(Int64(from), Int64(to))
    support = ResampledLine.support(filter)
  }

  private static func support(_ filter: Filter) -> Int64 {
    switch filter {
    case .none, .box: return 1
    case .bilinear: return 2
    case .bicubic: return 4
    }
  }

  /// Most pixels that count for one.
  var widest: Int { Int(min(from, support * reach / to + 1)) }

  /// The pixels that count for pixel `i`.
  func window(_ i: Int) -> Range<Int> {
    let x = (2 &* Int64(i) &+ 1) &* from
    let first = Fixed.floorDivide(x &- support &* reach &+ to, 2 &* to)
    let end = Fixed.floorDivide(x &+ support &* reach &+ to, 2 &* to)
    return Int(max(0, first))..<Int(min(from, end))
  }

  /// The coefficients of the window of pixel `i`, in units of 2^-22.
  func coefficients(_ i: Int, to c: UnsafeMutablePointer<Int32>) -> Range<Int> {
    let window = window(i)
    let x = (2 &* Int64(i) &+ 1) &* from
    var sum: Int64 = 0  // below 2^63: 2^49 for each unit of r, which is below 2^14
    for k in 0..<window.count {
      let distance = (2 &* Int64(window.lowerBound + k) &+ 1) &* to &- x
      c[k] = place(distance)
      sum &+= weight(c[k])
    }
    for k in 0..<window.count { c[k] = ResampledLine.share(weight(c[k]), of: sum) }
    return window
  }

  /// Where a pixel lies in the filter: T, or for a box the weight itself.
  private func place(_ distance: Int64) -> Int32 {
    if filter == .box { return distance > 0 &- reach && distance <= reach ? 1 : 0 }
    let t = (Int64(distance.magnitude) &<< 16 &+ reach) / (2 &* reach)
    return Int32(truncatingIfNeeded: min(t, 1 << 18))
  }

  /// The weight at a place, at most 2^50.
  private func weight(_ place: Int32) -> Int64 {
    let t = Int64(place)
    let u: Int64 = 1 << 16
    switch filter {
    case .none, .box: return t
    case .bilinear: return max(0, u &- t)
    case .bicubic:
      if t < u { return (3 &* t &- 5 &* u) &* t &* t &+ 2 &* u &* u &* u }
      if t < 2 &* u {
        return ((5 &* u &- t) &* t &- 8 &* u &* u) &* t &+ 4 &* u &* u &* u
      }
      return 0
    }
  }

  /// floor(2^22 * w / sum + 1/2), a few bits of the quotient at a time.
  private static func share(_ w: Int64, of sum: Int64) -> Int32 {
    let divisor = sum.magnitude
    var quotient = w.magnitude / divisor
    var rest = w.magnitude % divisor
    var left = 22
    while left > 0 {
      let bits = UInt64(min(left, divisor.leadingZeroBitCount))
      rest &<<= bits
      quotient = quotient &<< bits &+ rest / divisor
      rest %= divisor
      left &-= Int(bits)
    }
    let twice = 2 &* rest
    if w < 0 {
      let up: UInt64 = twice > divisor ? 1 : 0
      return 0 &- Int32(truncatingIfNeeded: quotient &+ up)
    }
    let up: UInt64 = twice >= divisor ? 1 : 0
    return Int32(truncatingIfNeeded: quotient &+ up)
  }
}
