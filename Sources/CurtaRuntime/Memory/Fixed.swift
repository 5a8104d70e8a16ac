// Primitives of curta-arithmetic.md section 1 on single numbers; the kernels have the vector forms.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

enum Fixed {
  /// Number of binary digits of `x`; 0 for 0.
  @inline(__always)
  static func bits(_ x: UInt64) -> Int32 { Int32(truncatingIfNeeded: 64 - x.leadingZeroBitCount) }

  /// round(x, s) for 0 <= s <= 62: half rounds up. The equal of SRSHL by -s.
  @inline(__always)
  static func round(_ x: Int64, _ s: Int32) -> Int64 {
    s > 0 ? (x &+ (1 &<< Int64(s - 1))) &>> Int64(s) : x
  }

  /// rescale(x, s): x * 2^-s, rounded for s > 0, exact and at most * 2^14 for s < 0.
  @inline(__always)
  static func rescale(_ x: Int64, _ s: Int32) -> Int64 {
    s >= 0 ? round(x, min(s, 62)) : x &<< Int64(-max(s, -14))
  }

  /// Limits to a magnitude of 2^31 - 1.
  @inline(__always)
  static func clamp32(_ x: Int64) -> Int32 {
    Int32(truncatingIfNeeded: min(max(x, -0x7FFF_FFFF), 0x7FFF_FFFF))
  }

  /// clamp32(rescale(x, s)) for abs(x) < 2^62, of which a shift to the left may leave no trace.
  @inline(__always)
  static func rescaleToInt32(_ x: Int64, _ s: Int32) -> Int32 {
    clamp32(s >= 0 ? rescale(x, s) : rescale(Int64(clamp32(x)), s))
  }

  /// floor(x / n) for n > 0.
  static func floorDivide(_ x: Int64, _ n: Int64) -> Int64 {
    let quotient = x / n
    return x % n < 0 ? quotient - 1 : quotient
  }

  /// norm(M, E): the number M * 2^-E, M >= 1, with a mantissa of 16 bits.
  static func norm(_ mantissa: UInt64, _ exponent: Int32) -> curta_scale {
    let n = bits(mantissa) - 16
    if n <= 0 {
      return curta_scale(
        m: UInt32(truncatingIfNeeded: mantissa &<< UInt64(0 &- n)), e: exponent &- n)
    }
    // (M + 2^(n-1)) >> n without the carry out of 64 bits.
    let m = (mantissa &>> UInt64(n)) &+ ((mantissa &>> UInt64(n - 1)) & 1)
    if m == 1 << 16 { return curta_scale(m: 1 << 15, e: exponent &- n &- 1) }
    return curta_scale(m: UInt32(truncatingIfNeeded: m), e: exponent &- n)
  }

  /// The product of two scales.
  static func multiply(_ a: curta_scale, _ b: curta_scale) -> curta_scale {
    norm(UInt64(a.m) &* UInt64(b.m), a.e &+ b.e)
  }

  /// floor(sqrt(x)) for x < 2^62, by Newton's method from above.
  static func squareRoot(_ x: UInt64) -> UInt64 {
    if x == 0 { return 0 }
    var root: UInt64 = 1 &<< UInt64((bits(x) &+ 1) &>> 1)
    while true {
      let next = (root &+ x / root) &>> 1
      if next >= root { return root }
      root = next
    }
  }

  /// exp30(d): 2^30 * 2^-(d / 2^16).
  static func exp30(_ d: UInt32) -> UInt64 {
    let n = Int32(truncatingIfNeeded: min(d &>> 16, 40))
    let f = d & 0xFFFF
    let i = Int(f &>> 11)
    let r = Int64(f & 0x7FF)
    let table = curta_exp30_entries()!
    let a = Int64(table[i])
    let b = Int64(table[i + 1])
    return UInt64(truncatingIfNeeded: round(a &- round((a &- b) &* r, 11), n))
  }

  /// SINE at phase `p` (units of 2^-32 turns), in Q15.
  static func sine(_ p: UInt32) -> Int32 {
    let quadrant = p &>> 30
    var x = p & 0x3FFF_FFFF
    if quadrant & 1 == 1 { x = 0x4000_0000 &- x }
    let i = Int(x &>> 22)
    let r = Int64((x & 0x3F_FFFF) &>> 7)
    let table = curta_sine_entries()!
    let a = Int64(table[i])
    let y = Int32(truncatingIfNeeded: a &+ round((Int64(table[i + 1]) &- a) &* r, 15))
    return quadrant & 2 == 2 ? 0 &- y : y
  }

  static func cosine(_ p: UInt32) -> Int32 { sine(p &+ 0x4000_0000) }
}
