// quantize, patchify, prefix and pool: from pixels to rows, and from rows to one an image.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func quantize() {
    let input = buffer(1)
    let out = buffer(2)
    let width = Int(out.record.width)
    for t in rows(1) {
      quantizeRow(
        input.values + t * width, scale(input, row: t), hadamard: op[3], to: out.codes, row: t)
    }
  }

  /// The pixels of each patch, less 128.
  func patchify() {
    guard let image = session.pointee.program.image else { return }
    let out = buffer(1).codes
    let stride = Int(out.stride)
    let across = Int(image.width / image.patchWidth)
    let patches = Int(image.patches)
    let line = Int(image.patchWidth * image.channels)  // bytes of a patch in a row of pixels
    let pitch = across * line
    let pixels = session.pointee.shared(session.pointee.scratch.pixels, UInt8.self)
    for t in rows(1) {
      let patch = t % patches
      let rowOfPatches = (t / patches) * (patches / across) + patch / across
      var source = pixels + rowOfPatches * Int(image.patchHeight) * pitch + patch % across * line
      let row = out.codes + t * stride
      var q = row
      for _ in 0..<image.patchHeight {
        for i in 0..<line { q[i] = Int8(truncatingIfNeeded: max(Int16(source[i]) &- 128, -127)) }
        source += pitch
        q += line
      }
      while q < row + stride {
        q.pointee = 0
        q += 1
      }
      out.scales[t] = curta_scale(m: 1 << 15, e: 15)
      kernels.block_sums(row, out.stride, out.sums + t * (stride / 32))
    }
  }

  /// The rows of a weight, then the patches, of each image.
  func prefix() {
    let input = buffer(1)
    let out = buffer(3)
    let width = Int(out.record.width)
    let rowsOfImage = Int(session.pointee.sizes.context)
    let before = Int(session.pointee.program.prefixRows)
    for t in rows(3) {
      let j = t % rowsOfImage
      let x = out.values + t * width
      if j < before {
        lookUp(tensor(2).weight, row: j, width, fraction: out.record.fraction, to: x)
        continue
      }
      let patch = t / rowsOfImage * (rowsOfImage - before) + j - before
      let scale = scale(input, row: patch)
      x.update(repeating: 0, count: width)
      kernels.add_rescaled(
        x, x, input.values + patch * width, UInt32(width), scale.m,
        scale.e &- out.record.fraction)
    }
  }

  /// One row of each image, or the mean of its rows from `first` on.
  func pool() {
    let input = buffer(1)
    let out = buffer(2)
    let width = Int(out.record.width)
    let rowsOfImage = Int(session.pointee.sizes.context)
    let first = op[4]
    let n = rowsOfImage - first
    for t in rows(2) {
      let x = input.values + (t * rowsOfImage + first) * width
      let y = out.values + t * width
      guard op.operands[3] == PoolKind.mean.rawValue else {
        y.update(from: x, count: width)
        continue
      }
      for k in 0..<width {
        var sum: Int64 = 0  // below 2^51
        for i in 0..<n { sum &+= Int64(x[i * width + k]) }
        y[k] = Int32(
          truncatingIfNeeded: Fixed.floorDivide(2 &* sum &+ Int64(n), 2 &* Int64(n)))
      }
    }
  }
}
