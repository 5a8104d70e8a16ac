// embed and select: rows in, rows out.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// Looks up one row of the weight for each token.
  func embed() {
    let weight = tensor(1).weight
    let out = buffer(2)
    let shift = weight.exponent - out.record.fraction
    let width = Int(out.record.width)
    for t in rows(2) {
      let id = Int(session.pointee.tokens[t])
      let m = Int64(weight.mantissas[id])
      let x = out.values + t * width
      for k in 0..<width {
        x[k] = Fixed.clamp32(Fixed.rescale(weight.value(id, k) &* m, shift))
      }
    }
  }

  /// Copies the last `outputs` rows.
  func select() {
    let input = buffer(1)
    let out = buffer(2)
    let width = Int(out.record.width)
    let first = session.pointee.count - session.pointee.outputs
    for t in rows(2) {
      (out.values + t * width).update(from: input.values + (first + t) * width, count: width)
    }
  }
}

extension curta_weight {
  /// s[n][g] * c[n][k] + o[n][g], one element of row n without its mantissa.
  func value(_ n: Int, _ k: Int) -> Int64 {
    let row = codes + n * Int(row_bytes)
    let code: Int64
    switch Int(kind) {
    case CURTA_WEIGHT_WIDE:
      return Int64(row.load(fromByteOffset: 2 * k, as: Int16.self))
    case CURTA_WEIGHT_BYTES:
      code = Int64(row.load(fromByteOffset: k, as: Int8.self))
    default:
      let i = k % 32
      let byte = row.load(fromByteOffset: k / 32 * 16 + i % 16, as: UInt8.self)
      code = Int64(i < 16 ? byte & 15 : byte >> 4) - 8
    }
    guard let scales = group_scales else { return code }
    let g = n * Int(groups) + k / (32 * Int(group_blocks))
    let offset = group_offsets.map { Int64($0[g]) } ?? 0
    return Int64(scales[g]) * code + offset
  }
}
