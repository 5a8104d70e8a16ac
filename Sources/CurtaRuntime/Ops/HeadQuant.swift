// head_quant and cache_append: norm, rotary positions, Hadamard, and int8 with a scale a head.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func headQuant() {
    let out = buffer(2)
    let heads = Int(out.record.scales)
    let width = Int(out.record.width) / heads
    let stride = Int(out.codes.stride)
    for t in rows(1) {
      let row = out.codes.codes + t * stride
      for i in (heads * width)..<stride { row[i] = 0 }
      eachHead(row: t, heads: heads, width: width) { h in
        (row + h * width, out.codes.scales + (t * heads + h))
      }
      // With one head the row may be the input of a product, which needs the sums.
      kernels.block_sums(row, out.codes.stride, out.codes.sums + t * (stride / 32))
    }
  }

  func cacheAppend() {
    let cache = state(2)
    let positions = Int(session.pointee.sizes.positions)
    for t in rows(1) {
      let place = session.pointee.past + t
      eachHead(row: t, heads: cache.heads, width: cache.width) { h in
        let at = h * positions + place
        return (cache.codes + at * cache.width, cache.scales + at)
      }
    }
  }

  /// Quantizes every head of row `t`, normalized and rotated, to the codes and the scale that `place`
  /// tells.
  private func eachHead(
    row t: Int, heads: Int, width: Int,
    _ place: (Int) -> (UnsafeMutablePointer<Int8>, UnsafeMutablePointer<curta_scale>)
  ) {
    let input = buffer(1)
    let total = heads * width
    let z = input.values + t * total
    let gamma = op.operands[6] == Program.none ? nil : tensor(6)
    var rowScale = scale(input, row: t)
    if gamma == nil { rowScale.e &-= narrow(z, total, to: scratch.narrowA) }
    let pairing = Pairing(rawValue: op.operands[4])!
    var pairs = 0
    if pairing != .none {
      let phases = tensor(3)
      pairs = turns(phases, position: session.pointee.position(t, in: op[1]))
    }
    for h in 0..<heads {
      let y = scratch.wide
      var scale = rowScale
      var codes = scratch.narrowA
      if let gamma {
        scale = normScale(z + h * width, width, gamma: gamma, epsilon: epsilon(7))
        scale.e &-= narrow(z + h * width, times: gamma, width, to: scratch.narrowA)
      } else {
        codes += h * width
      }
      let (q, step) = place(h)
      if pairing == .none {
        step.pointee = spread(codes, width, scale, hadamard: op[5], to: q)
        continue
      }
      for i in 0..<width { y[i] = Int32(codes[i]) }
      switch pairing {
      case .none: break
      case .interleaved:
        kernels.rotate_interleaved(y, scratch.cosine, scratch.sine, UInt32(pairs))
      case .halfSplit:
        kernels.rotate_half_split(y, scratch.cosine, scratch.sine, UInt32(pairs))
      }
      hadamard(y, width, block: op[5])
      step.pointee = quantize(y, width, scale, to: q)
    }
  }

  /// Cosines and sines of a position into scratch; returns how many pairs there are.
  private func turns(_ table: TensorEntry, position: Int) -> Int {
    guard let phases = table.words else { return 0 }
    let pairs = Int(table.weight.columns)
    let p = UInt32(truncatingIfNeeded: position)
    for i in 0..<pairs {
      let phase = p &* phases[i]
      scratch.cosine[i] = Fixed.cosine(phase)
      scratch.sine[i] = Fixed.sine(phase)
    }
    return pairs
  }
}
