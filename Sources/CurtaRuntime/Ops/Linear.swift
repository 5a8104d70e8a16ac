// linear, linear_add and logits: products of an input with weights.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// z for rows n0..<n1 of the weight and all rows of the input; `z` is where row n0 goes.
  private func product(
    _ weight: curta_weight, _ x: curta_codes, rows count: Int, _ n: Range<Int>,
    to z: UnsafeMutablePointer<Int32>, stride: Int
  ) {
    var weight = weight
    var x = x
    let t1 = UInt32(count)
    let n0 = UInt32(n.lowerBound)
    let n1 = UInt32(n.upperBound)
    switch Int(weight.kind) {
    case CURTA_WEIGHT_NIBBLES:
      kernels.product_nibbles(&weight, &x, 0, t1, n0, n1, z, stride, scratch.product)
    case CURTA_WEIGHT_SIXES:
      kernels.product_sixes(&weight, &x, 0, t1, n0, n1, z, stride, scratch.product)
    case CURTA_WEIGHT_SMALL, CURTA_WEIGHT_BYTES:
      kernels.product_bytes(&weight, &x, 0, t1, n0, n1, z, stride, scratch.product)
    default:
      kernels.product_wide(&weight, &x, 0, t1, n0, n1, z, stride, scratch.product)
    }
    if weight.hasOverlays {
      let codes = count == 1 ? UnsafePointer(x.codes) : UnsafePointer(turned)
      kernels.add_overlays(&weight, codes, x.stride, t1, n0, n1, z, stride)
    }
  }

  /// The input of a product with overlays, sixteen rows side by side.
  private var turned: UnsafeMutablePointer<Int8> {
    session.pointee.shared(session.pointee.scratch.turned, Int8.self)
  }

  /// Fills `turned`: threads share its tiles.
  func turn() {
    let x = buffer(1).codes
    let count = session.pointee.rows(op[1])
    let together = Int(CURTA_TURNED_TOKENS)
    let stride = Int(x.stride)
    for tile in SessionState.share((count + together - 1) / together, part, parts) {
      let first = tile * together
      kernels.turn_codes(
        x.codes + first * stride, stride, UInt32(min(together, count - first)), x.stride,
        turned + first * stride)
    }
  }

  /// The rows of a weight that this part makes; strips of a masked one stay whole.
  private func share(of weight: curta_weight) -> Range<Int> {
    let rows = Int(weight.rows)
    guard weight.mask_starts != nil else { return SessionState.share(rows, part, parts) }
    let height = Int(TensorMask.stripRows)
    let strips = SessionState.share((rows + height - 1) / height, part, parts)
    return min(strips.lowerBound * height, rows)..<min(strips.upperBound * height, rows)
  }

  /// Products of one input with up to six weights, on the input's scale.
  func linear() {
    let input = buffer(1)
    let count = session.pointee.rows(op[1])
    for pair in 0..<op[2] {
      let weight = tensor(3 + 2 * pair).weight
      let out = buffer(4 + 2 * pair)
      let n = share(of: weight)
      if !n.isEmpty {
        product(
          weight, input.codes, rows: count, n, to: out.values + n.lowerBound,
          stride: Int(out.record.width))
      }
      if part == 0 {
        let change = weight.exponent &- Int32(bitPattern: weight.shift)
        for t in 0..<count {
          let scale = input.codes.scales[t]
          out.codes.scales[t] = curta_scale(m: scale.m, e: scale.e &+ change)
        }
      }
    }
  }

  func linearAdd() {
    let sum = buffer(3)
    addProducts(
      tensor(2).weight, to: sum, fraction: sum.record.fraction, together: ScratchLayout.tileRows)
  }

  /// All logits, as they are an output. To find the likeliest k alone by the codes' upper bits and
  /// refine what may reach them did not pay: of SmolLM2's 49 152 rows Cauchy-Schwarz over groups of
  /// 64 (9 bytes a row) leaves half for k = 40, with 32 calibrated directions (33 bytes) 0.9 to 8 %,
  /// which would save 5 % of a step at most.
  func logits() {
    let out = buffer(3)
    let count = session.pointee.rows(op[1])
    let width = Int(out.record.width)
    let n = share(of: tensor(2).weight)
    for t in 0..<count {
      (out.values + t * width + n.lowerBound).update(repeating: 0, count: n.count)
    }
    addProducts(tensor(2).weight, to: out, fraction: 16, together: ScratchLayout.logitRows)
  }

  /// sum += rescale(z * m, e - fraction), a tile of `together` weight rows at a time.
  private func addProducts(
    _ weight: curta_weight, to sum: BufferEntry, fraction: Int32, together: UInt32
  ) {
    let input = buffer(1)
    let count = session.pointee.rows(op[1])
    let width = Int(sum.record.width)
    let change = weight.exponent &- Int32(bitPattern: weight.shift) &- fraction
    let share = share(of: weight)
    let tile = min(Int(together), width)
    var n0 = share.lowerBound
    while n0 < share.upperBound {
      let n1 = min(n0 + tile, share.upperBound)
      product(weight, input.codes, rows: count, n0..<n1, to: scratch.tile, stride: tile)
      for t in 0..<count {
        let scale = input.codes.scales[t]
        let x = sum.values + t * width + n0
        kernels.add_rescaled(
          x, x, scratch.tile + t * tile, UInt32(n1 - n0), scale.m, scale.e &+ change)
      }
      n0 = n1
    }
  }
}

extension curta_weight {
  var hasOverlays: Bool { outliers > 0 || residual_starts != nil }

  /// Products of codes that one row of an input takes, without those of overlays.
  var products: Int64 {
    guard let starts = mask_starts else { return Int64(rows) * Int64(columns) }
    let strips = Int((rows + (TensorMask.stripRows - 1)) / TensorMask.stripRows)
    return Int64(starts[strips]) * Int64(TensorMask.stripRows * 32)
  }
}
