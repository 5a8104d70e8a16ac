// norm_quant: RMS norm fused with quantization to int8.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func normQuant() {
    let input = buffer(1)
    let gamma = tensor(2)
    let out = buffer(3)
    let epsilon = UInt64(op.operands[5]) | UInt64(op.operands[6]) << 32
    let width = Int(input.record.width)
    let gammaScale = Fixed.norm(UInt64(gamma.weight.mantissas[0]), gamma.weight.exponent)
    for t in rows(1) {
      let s = narrow(input.values + t * width, width, to: scratch.narrowA)
      let squares = kernels.sum_squares(scratch.narrowA, UInt32(width))
      let total = max(1, squares + UInt64(width) * (epsilon >> UInt64(min(2 * s, 62))))
      let inverse = OpWork.inverseRoot(total, width)
      kernels.multiply(scratch.narrowA, gamma.wideCodes, UInt32(width), scratch.wide)
      quantizeRow(
        scratch.wide, Fixed.multiply(inverse, gammaScale), hadamard: op[7], to: out.codes, row: t)
    }
  }

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
