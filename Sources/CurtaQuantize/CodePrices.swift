// What every code takes in a compressed file: bits of the Huffman codes that zstd will give them.
// SPDX-License-Identifier: Apache-2.0

/// Bits of the 8-bit codes of a tensor, as literals of zstd blocks.
///
/// zstd cuts a stream into blocks of 128 KiB, and gives the literals of each a Huffman code of their
/// own of at most 11 bits (RFC 8878, section 4.2.1). Codes that a block does not hold take 11 bits.
struct CodePrices: Sendable {
  /// Bytes of a block.
  static let blockSize = 1 << 17
  /// The longest Huffman code.
  static let longest = 11

  /// Rows whose first byte lies in the same block share a table.
  private let rowsInBlock: Int
  /// [blocks][256] bits, code −127 first; the last is no code.
  private let tables: [NumberBuffer<Float>]

  /// The prices of `codes` [rows][columns].
  init(_ codes: [Int8], columns: Int) {
    rowsInBlock = CodePrices.rowsInBlock(columns: columns)
    let length = rowsInBlock * columns
    tables = stride(from: 0, to: codes.count, by: length).map { start in
      var counts = [Int](repeating: 0, count: 255)
      for code in codes[start..<min(start + length, codes.count)] { counts[Int(code) + 127] += 1 }
      let table = NumberBuffer<Float>(256)
      for (i, bits) in CodePrices.lengths(counts).enumerated() {
        table[i] = Float(counts[i] == 0 ? CodePrices.longest : bits)
      }
      return table
    }
  }

  /// The rows that a block holds, about: a multiple of `RowBlock.width`.
  static func rowsInBlock(columns: Int) -> Int {
    max(1, blockSize / ((columns + 31) / 32 * 32 * RowBlock.width)) * RowBlock.width
  }

  /// The bits of the codes of a row, [256].
  func table(row: Int) -> NumberBuffer<Float> { tables[row / rowsInBlock] }

  /// Lengths of the Huffman code of symbols that occur `counts` times, none above 11; 0 for those that
  /// do not occur, and for one that is alone.
  ///
  /// Where a code would be longer, the rarest symbols count for more until none is.
  static func lengths(_ counts: [Int]) -> [Int] {
    var least = 1
    while true {
      let lengths = huffman(counts.map { $0 == 0 ? 0 : max($0, least) })
      if lengths.allSatisfy({ $0 <= longest }) { return lengths }
      least *= 2
    }
  }

  /// Lengths of a Huffman code (Huffman 1952) by two queues, both in ascending order.
  private static func huffman(_ counts: [Int]) -> [Int] {
    let symbols = counts.indices.filter { counts[$0] > 0 }.sorted {
      (counts[$0], $0) < (counts[$1], $1)
    }
    guard symbols.count > 1 else { return counts.map { _ in 0 } }
    // Leaves first, then what two of them make.
    var weights = symbols.map { counts[$0] }
    var parents = [Int](repeating: 0, count: 2 * symbols.count - 1)
    var (leaf, inner) = (0, symbols.count)
    while weights.count < parents.count {
      var sum = 0
      for _ in 0..<2 {
        let takesLeaf =
          leaf < symbols.count && (inner >= weights.count || weights[leaf] <= weights[inner])
        let node = takesLeaf ? leaf : inner
        if takesLeaf { leaf += 1 } else { inner += 1 }
        sum += weights[node]
        parents[node] = weights.count
      }
      weights.append(sum)
    }
    var depths = [Int](repeating: 0, count: parents.count)
    for node in (0..<parents.count - 1).reversed() { depths[node] = depths[parents[node]] + 1 }
    var lengths = [Int](repeating: 0, count: counts.count)
    for (i, symbol) in symbols.enumerated() { lengths[symbol] = depths[i] }
    return lengths
  }
}

/// What the rows of a `RowBlock` pay for their codes beside their error.
struct RowPrices {
  /// [256] bits, code −127 first.
  let bits: NumberBuffer<Float>
  /// The error (w − ŵ) H (w − ŵ)ᵀ that a row takes for one bit less, [lanes], in the units of
  /// `SolverHessian.moments32`; 0: none.
  let errorPerBit: NumberBuffer<Float>

  /// The value of the grid of eight rows from `lane` on that costs least: its squared distance to
  /// `target`, times `weight`, and its bits. Codes farther from 0 than the nearest two take no fewer
  /// bits and are not looked at.
  @inline(__always)
  func cheapest(
    _ target: RowBlock.Lanes, _ grid: LaneGrid, weight: Float, _ lane: Int
  ) -> RowBlock.Lanes {
    let code = (target - grid.offset) * grid.inverse
    let scale = weight * grid.step * grid.step
    let factor = errorPerBit.lanes(lane)
    // From the next code outwards to the next inwards, as long as the distance alone costs less.
    let outer = code.rounded(outwardsIn: grid)
    let inwards = RowBlock.Lanes(repeating: -1).replacing(with: 1, where: code .< 0)
    var candidate = outer
    var best = outer
    var least = RowBlock.Lanes(repeating: .infinity)
    var isOpen = grid.step .> 0
    best.replace(with: 0, where: .!isOpen)
    while true {
      let distance = code - candidate
      let error = scale * distance * distance
      let isCode = (candidate .>= grid.low) .& (candidate .<= grid.high)
      isOpen.replace(with: false, where: .!((error .< least) .& isCode))
      guard any(isOpen) else { break }
      let cost = error + factor * bits(of: candidate)
      let isBetter = isOpen .& (cost .< least)
      least.replace(with: cost, where: isBetter)
      best.replace(with: candidate, where: isBetter)
      candidate += inwards
    }
    return best * grid.step + grid.offset
  }

  /// The bits of eight codes; any number where a code is none.
  @inline(__always)
  func bits(of codes: RowBlock.Lanes) -> RowBlock.Lanes {
    // The last bits of the sum are those of code + 127.
    let places = unsafeBitCast(codes + (0x1.8p23 + 127), to: SIMD8<UInt32>.self) & 255
    var result = RowBlock.Lanes()
    for i in 0..<8 { result[i] = bits[Int(places[i])] }
    return result
  }
}

extension RowBlock.Lanes {
  /// The next codes of a grid, away from 0, for what lies between two; whole ones above 0 go one on.
  @inline(__always)
  fileprivate func rounded(outwardsIn grid: LaneGrid) -> Self {
    var x = self
    x.replace(with: grid.low, where: x .< grid.low)
    x.replace(with: grid.high, where: x .> grid.high)
    let nearest = (x + LaneGrid.rounder) - LaneGrid.rounder
    let below = nearest.replacing(with: nearest - 1, where: nearest .> x)
    var outer = below.replacing(with: below + 1, where: x .>= 0)
    outer.replace(with: grid.high, where: outer .> grid.high)
    return outer
  }
}
