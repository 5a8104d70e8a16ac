// bias, add, add_position and soft_cap: element by element.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// The input, and a bias where there is one, as fixed numbers.
  func bias() {
    let input = buffer(1)
    let out = buffer(3)
    let width = Int(out.record.width)
    let fraction = out.record.fraction
    let bias = op.operands[2] == Program.none ? nil : tensor(2)
    let rows = rows(3)
    let isExact = bias.map { $0.weight.exponent < fraction } ?? false
    guard !isExact, !rows.isEmpty else {
      for t in rows {
        let z = input.values + t * width
        let x = out.values + t * width
        if let bias {
          z == x
            ? addBias(bias, 0..<width, to: x, fraction)
            : addExactly(z, scale(input, row: t), bias, to: x, width, fraction)
        }
      }
      return
    }
    // The bias alone is below 2^31: nothing is cut off. It is the same for every row.
    let part = Int(scratch.wideWidth)
    for start in stride(from: 0, to: width, by: part) {
      let n = min(part, width - start)
      scratch.wide.update(repeating: 0, count: n)
      if let bias { addBias(bias, start..<start + n, to: scratch.wide, fraction) }
      for t in rows {
        let x = out.values + t * width + start
        if input.values == out.values {
          kernels.add_rescaled(x, x, scratch.wide, UInt32(n), 1 << 15, 15)
        } else {
          let scale = scale(input, row: t)
          kernels.add_rescaled(
            x, scratch.wide, input.values + t * width + start, UInt32(n), scale.m,
            scale.e &- fraction)
        }
      }
    }
  }

  /// Adds elements of the bias to x.
  private func addBias(
    _ bias: TensorEntry, _ elements: Range<Int>, to x: UnsafeMutablePointer<Int32>,
    _ fraction: Int32
  ) {
    let m = UInt32(bias.weight.mantissas[0])
    let tile = Int(ScratchLayout.tileRows)
    for start in stride(from: 0, to: elements.count, by: tile) {
      let n = min(tile, elements.count - start)
      for i in 0..<n { scratch.tile[i] = Int32(bias.wideCodes[elements.lowerBound + start + i]) }
      kernels.add_rescaled(
        x + start, x + start, scratch.tile, UInt32(n), m, bias.weight.exponent - fraction)
    }
  }

  /// x = z + bias where the bias alone may not fit int32.
  private func addExactly(
    _ z: UnsafePointer<Int32>, _ scale: curta_scale, _ bias: TensorEntry,
    to x: UnsafeMutablePointer<Int32>, _ width: Int, _ fraction: Int32
  ) {
    let m = Int64(bias.weight.mantissas[0])
    let shift = bias.weight.exponent - fraction
    for k in 0..<width {
      x[k] = Fixed.clamp32(
        Fixed.rescale(Int64(z[k]) &* Int64(scale.m), scale.e &- fraction)
          &+ Fixed.rescale(Int64(bias.wideCodes[k]) &* m, shift))
    }
  }

  func add() {
    let input = buffer(1)
    let sum = buffer(2)
    let width = Int(sum.record.width)
    for t in rows(2) {
      let scale = scale(input, row: t)
      let x = sum.values + t * width
      kernels.add_rescaled(
        x, x, input.values + t * width, UInt32(width), scale.m, scale.e &- sum.record.fraction)
    }
  }

  /// Adds the weight's row for each token's position.
  func addPosition() {
    let weight = tensor(1).weight
    let sum = buffer(2)
    let width = Int(sum.record.width)
    let shift = weight.exponent - sum.record.fraction
    for t in rows(2) {
      let position = session.pointee.position(t, in: op[2])
      let m = Int64(weight.mantissas[position])
      let x = sum.values + t * width
      for k in 0..<width {
        x[k] = Fixed.clamp32(
          Int64(x[k]) &+ Fixed.rescale(weight.value(position, k) &* m, shift))
      }
    }
  }

  /// Rows of logits are few and wide: threads share the elements of each.
  func softCap() {
    let sum = buffer(1)
    let width = Int(sum.record.width)
    let cap = SoftCap(op.operands[2])
    let share = SessionState.share(width, part, parts)
    for t in 0..<session.pointee.rows(op[1]) {
      let x = sum.values + t * width
      for k in share { x[k] = cap(x[k]) }
    }
  }
}

/// cap(x, C) of curta-arithmetic.md section 3 for one C: nearly C * tanh(x / C).
struct SoftCap {
  private let cap: Int64
  private let reciprocal: Int64
  private let table: UnsafePointer<UInt16>

  init(_ cap: UInt32) {
    self.cap = Int64(cap)
    reciprocal = (1 << 47) / Int64(cap)
    table = curta_activation_entries(Activation.silu.rawValue)!
  }

  func callAsFunction(_ x: Int32) -> Int32 {
    let a = min(Fixed.round(Int64(x.magnitude) &* reciprocal, 30), 1 << 20)  // below 2^62 before
    let i = Int(a &>> 11)
    let low = Int64(table[i])
    let v = low &* 2048 &+ (Int64(table[i + 1]) &- low) &* (a & 0x7FF)  // at most 2^26
    let y = Int32(truncatingIfNeeded: Fixed.round((2 &* v &- 1 &<< 26) &* cap, 26))
    return x < 0 ? 0 &- y : y
  }
}
