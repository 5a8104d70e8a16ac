// What the scales of a row are multiplied by, and how their products weigh.
// SPDX-License-Identifier: Apache-2.0

/// For every row of a block: A_ij = a_i H a_jᵀ and b_i = a_i H wᵀ, in double precision.
///
/// a_i are the codes of group i, and with offsets also the ones of group i, after all codes.
struct Basis {
  private let lanes: Int
  private let size: Int
  private let products: NumberBuffer<Double>  // A [size][size][lanes], symmetric
  private let linear: NumberBuffer<Double>  // b [size][lanes]

  init(_ block: RowBlock, _ hessian: SolverHessian) {
    let (columns, lanes) = (block.columns, block.lanes)
    // Without group scales a row has one scale, whatever its groups.
    let groups = block.groupScales == nil ? 1 : block.groups
    let groupOf = block.groupScales == nil ? [Int](repeating: 0, count: columns) : block.groupOf
    let hasOffsets = block.groupOffsets != nil
    self.lanes = lanes
    size = hasOffsets ? 2 * groups : groups
    products = NumberBuffer(size * size * lanes)
    linear = NumberBuffer(size * lanes)

    let codes = NumberBuffer<Double>(columns * lanes)
    let target = NumberBuffer<Double>(columns * lanes)
    for j in 0..<columns {
      for lane in 0..<block.rows.count {
        codes[j * lanes + lane] = Double(block.code(j, lane))
        target[j * lanes + lane] = Double(block.targets[j * lanes + lane])
      }
    }
    let image = NumberBuffer<Double>(columns * lanes)  // H a, [columns][lanes]
    product(
      hessian.moments.base, target.base, into: image.base, m: columns, n: lanes, k: columns)
    for j in 0..<columns {
      for lane in 0..<lanes {
        linear[groupOf[j] * lanes + lane] += codes[j * lanes + lane] * image[j * lanes + lane]
        if hasOffsets { linear[(groups + groupOf[j]) * lanes + lane] += image[j * lanes + lane] }
      }
    }

    var members = [[Int]](repeating: [], count: groups)
    for j in 0..<columns { members[groupOf[j]].append(j) }
    for (g, members) in members.enumerated() {
      // Rows of H, and the codes of their columns.
      let part = groups == 1 ? hessian.moments : NumberBuffer(members.count * columns)
      let own = NumberBuffer<Double>(members.count * lanes)
      for (i, j) in members.enumerated() {
        if groups > 1 {
          (part.base + i * columns).update(from: hessian.moments.base + j * columns, count: columns)
        }
        (own.base + i * lanes).update(from: codes.base + j * lanes, count: lanes)
      }
      product(
        transposed: part.base, own.base, into: image.base, m: columns, n: lanes, k: members.count)
      add(image, codes, groupOf, to: g, groups, hasOffsets)
      guard hasOffsets else { continue }
      for i in 0..<own.count { own[i] = 1 }
      product(
        transposed: part.base, own.base, into: image.base, m: columns, n: lanes, k: members.count)
      add(image, codes, groupOf, to: groups + g, groups, true)
    }
  }

  /// Row `i` of A from H a_i.
  private func add(
    _ image: NumberBuffer<Double>, _ codes: NumberBuffer<Double>, _ groupOf: [Int], to i: Int,
    _ groups: Int, _ hasOffsets: Bool
  ) {
    for (j, g) in groupOf.enumerated() {
      let (place, cell) = (j * lanes, (i * size + g) * lanes)
      for lane in 0..<lanes { products[cell + lane] += codes[place + lane] * image[place + lane] }
      guard hasOffsets else { continue }
      for lane in 0..<lanes { products[cell + groups * lanes + lane] += image[place + lane] }
    }
  }

  /// A and b of one row.
  func system(_ lane: Int) -> QuadraticForm {
    QuadraticForm(
      matrix: (0..<size * size).map { products[$0 * lanes + lane] },
      linear: (0..<size).map { linear[$0 * lanes + lane] })
  }
}
