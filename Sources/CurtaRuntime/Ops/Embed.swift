// embed and select: rows in, rows out.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// Looks up one row of the weight for each token, and turns it back where the weight is turned.
  func embed() {
    let weight = tensor(1).weight
    let out = buffer(2)
    let shift = weight.exponent - out.record.fraction
    let width = Int(out.record.width)
    for t in rows(2) {
      let id = Int(session.pointee.tokens[t])
      let m = Int64(weight.mantissas[id])
      let x = out.values + t * width
      let block = op[3]
      if block == 0 {
        lookUp(weight, row: id, width, fraction: out.record.fraction, to: x)
        continue
      }
      for start in Swift.stride(from: 0, to: width, by: block) {
        var y = InlineArray<256, Int64>(repeating: 0)  // below 2^41 each: 2^33 times a block of 2^8
        for i in 0..<block { y[i] = weight.value(id, start + i) &* m }
        OpWork.hadamard(&y, block)
        for i in 0..<block { x[start + i] = Fixed.clamp32(Fixed.rescale(y[i], shift)) }
      }
    }
  }

  /// Row `row` of a weight as fixed numbers.
  func lookUp(
    _ weight: curta_weight, row: Int, _ width: Int, fraction: Int32,
    to x: UnsafeMutablePointer<Int32>
  ) {
    let m = Int64(weight.mantissas[row])
    let shift = weight.exponent - fraction
    for k in 0..<width {
      x[k] = Fixed.clamp32(Fixed.rescale(weight.value(row, k) &* m, shift))
    }
  }

  /// The Hadamard of the first `n` numbers, n a power of two up to 256.
  private static func hadamard(_ y: inout InlineArray<256, Int64>, _ n: Int) {
    var half = 1
    while half < n {
      for i in 0..<n where i & half == 0 {
        let (a, b) = (y[i], y[i + half])
        y[i] = a &+ b
        y[i + half] = a &- b
      }
      half *= 2
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
    case CURTA_WEIGHT_SMALL, CURTA_WEIGHT_BYTES:
      code = Int64(row.load(fromByteOffset: k, as: Int8.self))
    case CURTA_WEIGHT_SIXES:
      code = row.six(k / 32 * 24, k % 32)
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
