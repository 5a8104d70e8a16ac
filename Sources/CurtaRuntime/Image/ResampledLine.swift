// A line of pixels that becomes longer or shorter: which pixels count, and how much.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// A line of `from` pixels that becomes one of `to` (`curta-arithmetic.md` section 5).
///
/// Positions are exact: fractions over 2 * to. With from below 2^16 and to below 2^30 they fit 64 bits.
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
    var sum: Int128 = 0  // below 2^66: 2^49 for each unit of r
    for k in 0..<window.count {
      let distance = (2 &* Int64(window.lowerBound + k) &+ 1) &* to &- x
      c[k] = place(distance)
      sum &+= Int128(weight(c[k]))
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

  /// floor(2^22 * w / sum + 1/2), a bit of the quotient at a time: there is no division of 128 bits
  /// without a library.
  private static func share(_ w: Int64, of sum: Int128) -> Int32 {
    let divisor = UInt128(truncatingIfNeeded: sum)
    var rest = UInt128(w.magnitude)
    var quotient: Int32 = 0
    for bit in 0...22 {
      if bit > 0 { rest = rest &<< 1 }
      quotient = quotient &<< 1
      if rest >= divisor {  // w is below 2 * sum
        rest = rest &- divisor
        quotient |= 1
      }
    }
    let twice = rest &<< 1
    if w < 0 { return 0 &- quotient &- (twice > divisor ? 1 : 0) }
    return quotient &+ (twice >= divisor ? 1 : 0)
  }
}
