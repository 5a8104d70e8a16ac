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
    var cosine = session.pointee.shared(session.pointee.scratch.rotations, Int32.self)
    if pairing != .none {
      pairs = Int(tensor(3).weight.columns)
      cosine += t * 2 * pairs
    }
    for h in 0..<heads {
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
      let rotated = kernels.spread_rotated(
        codes, UInt32(width), cosine, cosine + pairs, UInt32(pairs),
        pairing == .interleaved ? 1 : 0, UInt32(op[5]), scratch.wide, q)
      step.pointee = OpWork.codeScale(rotated, scale)
    }
  }
}

extension Session {
  /// Makes the cosines and sines that the current op rotates its rows by, where they differ from
  /// those that the op before rotated by: with one table of phases, once in a step.
  func placeRotations() {
    let op = state.pointee.op
    let table = op.operands[3]
    guard Pairing(rawValue: op.operands[4])! != .none, table != Program.none,
      let phases = state.pointee.tensors[Int(table)].words
    else { return }
    let key = RotationKey(phases: table, rows: state.pointee.buffers[op[1]].record.rows)
    guard state.pointee.rotations != key else { return }
    state.pointee.rotations = key
    let pairs = Int(state.pointee.tensors[Int(table)].weight.columns)
    var to = state.pointee.shared(state.pointee.scratch.rotations, Int32.self)
    for row in 0..<state.pointee.rows(op[1]) {
      let p = UInt32(truncatingIfNeeded: state.pointee.position(row, in: op[1]))
      for i in 0..<pairs {
        to[i] = Fixed.cosine(p &* phases[i])
        to[pairs + i] = Fixed.sine(p &* phases[i])
      }
      to += 2 * pairs
    }
  }
}
