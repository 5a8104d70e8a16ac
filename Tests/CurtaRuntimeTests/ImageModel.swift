// A small vision transformer with every op of image programs, and where its parts are.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport

struct ImageModel {
  var f: FileBuilder
  // Buffers
  let codes, patches, x, pooled, pooledCodes: UInt32
  // Tensors
  var rows = FileBuilder.none
  let gamma: UInt32
  // Places in `ops`
  let patchify = 0, linear = 1, prefix = 2, pool: Int, quantize: Int, logits: Int

  /// `size` and `patch` are height and width, `resize` is resize, edge and filter. `layers` of
  /// attention have heads of 16.
  init(
    size: (Int, Int), channels: Int = 3, patch: (Int, Int),
    resize: (UInt32, UInt32, UInt32) = (0, 0, 0),
    prefix: Int = 1, width: Int = 32, layers: Int = 1, labels: Int = 7, fraction: UInt32 = 12
  ) {
    let none = FileBuilder.none
    let count = (size.0 / patch.0) * (size.1 / patch.1)
    let patchSize = patch.0 * patch.1 * channels
    f = FileBuilder(context: UInt32(count + prefix), vocabulary: UInt32(labels), seed: 99)
    f.image =
      [size.0, size.1, channels, patch.0, patch.1].map { UInt32($0) }
      + [resize.0, resize.1, resize.2]
    codes = f.buffer(3, patchSize)
    f.buffers[Int(codes)][1] = 2
    patches = f.buffer(2, width)
    f.buffers[Int(patches)][1] = 2
    x = f.buffer(1, width, fraction: fraction)
    pooled = f.buffer(1, width, outputs: true, fraction: fraction)
    pooledCodes = f.buffer(3, width, outputs: true)
    f.output = f.buffer(1, labels, outputs: true, fraction: 16)

    let projection = f.grid(width, patchSize, exponent: 20)
    gamma = f.wide(1, width)
    if prefix > 0 { rows = f.wide(prefix, width) }
    f.op(17, codes)
    f.op(3, codes, 1, projection, patches)
    f.op(18, patches, rows, x)
    if layers > 0 {
      let positions = f.wide(count + prefix, width)
      let square = f.grid(width, width)
      let heads = UInt32(width / 16)
      let a = f.buffer(3, width)
      let z = f.buffer(2, width)
      let q = f.buffer(3, width, scales: heads)
      f.op(14, positions, x)
      for _ in 0..<layers {
        let keys = f.state(heads: Int(heads), width: 16)
        f.op(2, x, gamma, a, 2, 100, 0)
        f.op(3, a, 1, square, z)
        f.op(5, z, q, none, 0, 0, none)
        f.op(6, z, keys, none, 0, 0, none)
        f.op(7, q, keys, keys, a, 0, 40000, 16)
        f.op(4, a, square, x)
      }
    }
    pool = f.ops.count
    quantize = pool + 1
    logits = pool + 2
    f.op(19, x, pooled, 2, UInt32(prefix))
    f.op(16, pooled, pooledCodes, 0)
    f.op(10, pooledCodes, f.grid(labels, width), f.output)
  }
}
