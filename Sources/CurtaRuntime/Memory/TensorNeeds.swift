// What a tensor takes in the arena besides its bytes in the file.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Bytes of one tensor; follows what `Loader.tensor` does.
struct TensorNeeds {
  /// In the arena, as long as it is used: a multiple of 64.
  let arena: UInt64
  /// While it is brought there.
  let staging: UInt64
  /// What the kernels read, in the arena or in the file.
  let weight: UInt64

  init(_ tensor: TensorDescriptor, _ file: CurtaFile) throws(CurtaError) {
    var layout = ArenaLayout()
    var inFile = CheckedSize.zero
    let behind = try TensorNeeds.stagedMask(tensor, file)
    var staging = behind
    if let mask = tensor.mask, mask.form == .blocks {
      _ = try layout.take(UInt64(tensor.strips) + 1, 4)
      _ = try layout.take(UInt64(mask.first), 2)
    }
    for k in 0..<tensor.dataCount {
      let section = try file.data(tensor.data + k)
      if k == 0, tensor.needsUnpacking {
        _ = try layout.take(tensor.kernelCodeBytes, 1)
        if section.codec != .stored {
          staging = max(staging, try CheckedSize(behind).plus(section.size).value)
        }
      } else if tensor.mask != nil, k == tensor.baseStreams {
        continue
      } else if tensor.residual != nil, k == tensor.residualStream {
        _ = try layout.take(UInt64(tensor.rows) + 1, 4)
        if section.codec != .stored { staging = max(staging, section.size) }
      } else if section.codec != .stored {
        _ = try layout.take(section.size, 1)
      } else {
        inFile = try inFile.plus(section.size)
      }
    }
    arena = layout.end.value
    self.staging = try CheckedSize(staging).aligned(to: alignment).value
    weight = try layout.end.plus(inFile).value
  }

  /// Bytes of staging that the mask of a tensor takes while its codes are staged behind it.
  static func stagedMask(_ tensor: TensorDescriptor, _ file: CurtaFile) throws(CurtaError) -> UInt64
  {
    guard tensor.mask != nil else { return 0 }
    let section = try file.data(tensor.data + tensor.baseStreams)
    return section.codec == .stored
      ? 0 : try CheckedSize(section.size).aligned(to: alignment).value
  }
}
