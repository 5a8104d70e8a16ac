// norm_quant and norm: RMS norm and layer norm, to int8 or to fixed numbers.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func normQuant() {
    let out = buffer(3)
    let width = Int(out.record.width)
    let gamma = tensor(2)
    for t in rows(1) {
      let (x, scale) = normalized(row: t)
      let s = narrow(x, times: gamma, width, to: scratch.narrowB)
      quantizeNarrowed(
        curta_scale(m: scale.m, e: scale.e &- s), hadamard: op[7], to: out.codes, row: t)
    }
  }

  func norm() {
    let out = buffer(3)
    let width = Int(out.record.width)
    let codes = tensor(2).wideCodes
    for t in rows(1) {
      let (x, scale) = normalized(row: t)
      let m = Int64(scale.m)
      let shift = scale.e &- out.record.fraction
      let y = out.values + t * width
      for k in 0..<width {
        let product = Int64(x[k]) &* Int64(codes[k]) &* m  // below 2^62
        y[k] = Fixed.rescaleToInt32(product, shift)
      }
    }
  }

  /// A row of operand 1, for kind 2 less its mean, and the scale of its products with gamma,
  /// operand 2.
  private func normalized(row t: Int) -> (UnsafePointer<Int32>, curta_scale) {
    let input = buffer(1)
    let width = Int(input.record.width)
    var x = UnsafePointer(input.values + t * width)
    if op.operands[4] == NormKind.layer.rawValue {
      kernels.centre(x, UInt32(width), scratch.wide)
      x = UnsafePointer(scratch.wide)
    }
    return (x, normScale(x, width, gamma: tensor(2), epsilon: epsilon(5)))
  }

  /// The scale on which x times gamma's codes is x over the root of its mean square, times gamma.
  /// Uses `scratch.narrowA`.
  func normScale(
    _ x: UnsafePointer<Int32>, _ n: Int, gamma: TensorEntry, epsilon: UInt64
  ) -> curta_scale {
    let s = narrow(x, n, to: scratch.narrowA)
    let squares = kernels.sum_squares(scratch.narrowA, UInt32(n))
    let total = max(1, squares + UInt64(n) * (epsilon >> UInt64(min(2 * s, 62))))
    let scale = Fixed.multiply(
      OpWork.inverseRoot(total, n),
      Fixed.norm(UInt64(gamma.weight.mantissas[0]), gamma.weight.exponent))
    return curta_scale(m: scale.m, e: scale.e &+ s)
  }

  /// block(x times gamma's codes) into `y`; returns the shift.
  func narrow(
    _ x: UnsafePointer<Int32>, times gamma: TensorEntry, _ n: Int,
    to y: UnsafeMutablePointer<Int16>
  ) -> Int32 {
    let bits = Int32(truncatingIfNeeded: kernels.product_bits(x, gamma.wideCodes, UInt32(n)))
    let s = max(0, bits - 15)
    kernels.narrow_product(x, gamma.wideCodes, UInt32(n), UInt32(s), y)
    return s
  }

  /// Operands `k` and `k + 1` as one number.
  func epsilon(_ k: Int) -> UInt64 { UInt64(op.operands[k]) | UInt64(op.operands[k + 1]) << 32 }

  /// 1 / sqrt(total / n), for 1 <= total < 2^58 and n <= 2^17.
  static func inverseRoot(_ total: UInt64, _ n: Int) -> curta_scale {
    let a = 61 - Fixed.bits(total)
    let mean = (total << UInt64(a)) / UInt64(n)
    var b = 61 - Fixed.bits(mean)
    if (a + b) & 1 == 1 { b += 1 }
    let root = Fixed.squareRoot(mean << UInt64(b))
    return Fixed.norm((1 << 62) / root, 62 - (a + b) / 2)
  }
}
