// Brings the masks of tensors to where the kernels read them, checking every bit on the way.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension Loader {
  /// The lists of surviving blocks that kernels walk, from a bitmap [strips][blocks].
  mutating func placeBlocks(
    _ tensor: TensorDescriptor, _ mask: TensorMask, _ bitmap: ByteView,
    to weight: inout curta_weight
  ) throws(CurtaError) {
    let strips = Int(tensor.strips)
    let blocks = Int(tensor.blocks)
    let starts = (base + Int(try next.take(UInt64(strips) + 1, 4)))
      .assumingMemoryBound(to: UInt32.self)
    let list = (base + Int(try next.take(UInt64(mask.first), 2)))
      .assumingMemoryBound(to: UInt16.self)
    var found: UInt32 = 0
    var strip = 0  // starts[0 ... strip] are filled
    starts[0] = 0
    for i in 0..<bitmap.count {
      var byte = bitmap.base.load(fromByteOffset: i, as: UInt8.self)
      while byte != 0 {
        let bit = i * 8 + byte.trailingZeroBitCount
        byte &= byte &- 1
        guard bit < strips * blocks, found < mask.first else { throw badMask(tensor, i) }
        while strip < bit / blocks {
          strip += 1
          starts[strip] = found
        }
        list[Int(found)] = UInt16(truncatingIfNeeded: bit % blocks)
        found += 1
      }
    }
    while strip < strips {
      strip += 1
      starts[strip] = found
    }
    guard found == mask.first, found - starts[strips - 1] == mask.second else {
      throw badMask(tensor, 0)
    }
    weight.mask_starts = UnsafePointer(starts)
    weight.mask_blocks = UnsafePointer(list)
  }

  /// Codes of a mask of patterns or columns as those of a dense tensor, 0 in the pruned cells.
  func expand(
    _ tensor: TensorDescriptor, _ mask: TensorMask, _ packed: ByteView, _ index: ByteView,
    to out: UnsafeMutablePointer<UInt8>
  ) throws(CurtaError) {
    let words = index.base.assumingMemoryBound(to: UInt32.self)
    let stored = (Int(tensor.storedColumns) + 31) / 32
    let rowBytes = Int(tensor.kernelRowBytes)
    if mask.form == .columns { try checkColumns(tensor, mask, words) }
    for row in 0..<Int(tensor.rows) {
      let source = PackedRow(
        blocks: packed.base.assumingMemoryBound(to: UInt8.self)
          + row * stored * 4 * Int(tensor.bits), bits: Int(tensor.bits))
      let target = out + row * rowBytes
      target.update(repeating: tensor.hasNibbles ? 0x88 : 0, count: rowBytes)
      var taken = 0
      switch mask.form {
      case .columns:
        while taken < Int(mask.first) {
          try place(source.code(taken), at: Int(words[taken]), of: tensor, to: target)
          taken += 1
        }
      default:
        for block in 0..<Int(tensor.blocks) {
          let at = row * Int(tensor.blocks) + block
          var word = words[at]
          guard isPattern(word, block, tensor, mask) else { throw badMask(tensor, 4 * at) }
          while word != 0 {
            let column = block * 32 + word.trailingZeroBitCount
            word &= word &- 1
            try place(source.code(taken), at: column, of: tensor, to: target)
            taken += 1
          }
        }
      }
      while taken < stored * 32 {
        guard source.code(taken) == 0 else { throw bad(tensor.data, row * stored * 4) }
        taken += 1
      }
    }
  }

  /// Whether each m columns of the block have n survivors, and there are none past the last column.
  private func isPattern(
    _ word: UInt32, _ block: Int, _ tensor: TensorDescriptor, _ mask: TensorMask
  ) -> Bool {
    let m = Int(mask.second)
    let group = UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(m)) - 1)
    var first = 0
    while first < 32 {
      let count = ((word &>> UInt32(first)) & group).nonzeroBitCount
      let isInside = block * 32 + first < Int(tensor.columns)
      guard count == (isInside ? Int(mask.first) : 0) else { return false }
      first += m
    }
    return true
  }

  private func checkColumns(
    _ tensor: TensorDescriptor, _ mask: TensorMask, _ list: UnsafePointer<UInt32>
  ) throws(CurtaError) {
    for i in 0..<Int(mask.first) {
      guard list[i] < tensor.columns, i == 0 || list[i] > list[i - 1] else {
        throw badMask(tensor, 4 * i)
      }
    }
  }

  /// Writes one code where the kernels read it.
  private func place(
    _ code: Int, at column: Int, of tensor: TensorDescriptor,
    to row: UnsafeMutablePointer<UInt8>
  ) throws(CurtaError) {
    guard code >= -127 else { throw bad(tensor.data, column) }
    if tensor.hasNibbles {
      let at = column / 32 * 16 + column % 16
      let nibble = UInt8(truncatingIfNeeded: code + 8)
      row[at] = column % 32 < 16 ? row[at] & 0xF0 | nibble : row[at] & 0x0F | nibble &<< 4
    } else {
      row[column] = UInt8(truncatingIfNeeded: code)
    }
  }

  private func badMask(_ tensor: TensorDescriptor, _ at: Int) -> CurtaError {
    bad(tensor.data + tensor.baseStreams, at)
  }
}

/// A row of packed codes, read one at a time.
private struct PackedRow {
  let blocks: UnsafePointer<UInt8>
  let bits: Int

  /// Code `i` of the row.
  func code(_ i: Int) -> Int {
    var plane = blocks + i / 32 * 4 * bits
    var value = 0
    var low = 0
    var width = 8
    while width > 0 {
      if bits & width != 0 {
        let length = 4 * width
        let byte = Int(plane[i % 32 % length])
        value |= ((byte &>> (width &* (i % 32 / length))) & ((1 &<< width) &- 1)) &<< low
        plane += length
        low += width
      }
      width /= 2
    }
    return bits == 8 ? Int(Int8(truncatingIfNeeded: value)) : value - (1 << (bits - 1))
  }
}
