// Better masks of blocks: what hardly matters goes, what is missed most comes back (GraNet).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Rounds of dropping and regrowing blocks over several tensors, at the same number of cells.
///
/// GraNet (Liu et al. 2021, arXiv 2106.10404) drops the weights of least magnitude while it trains and
/// regrows those of largest gradient. Here nothing is trained, and both are exact for a block alone:
/// what the least-squares solution on the survivors loses without it, and what it would gain with it.
/// The share of the survivors that may change falls with the cosine of the round.
public struct DropAndRegrow: Sendable {
  public var rounds: Int
  /// Of the survivors, in the first round.
  public var share: Double
  /// Part of the mean second moment that is added to the diagonal.
  public var damping: Double

  public init(rounds: Int, share: Double = 0.1, damping: Double = 0.01) {
    self.rounds = rounds
    self.share = share
    self.damping = damping
  }

  /// Masks with no more cells and no greater loss, of `tensors` in their order.
  ///
  /// A strip drops one block and regrows one in a round, at most. Floors hold as in
  /// `BlockPruning.select`. Cost: about columns³ / 2 multiplications a strip and round. Throws
  /// `QuantizeError`.
  public func refine(
    _ tensors: [PrunableTensor], _ masks: [BlockMask]
  ) throws(QuantizeError) -> [BlockMask] {
    var layers: [PrunedLayer] = []
    for tensor in tensors { layers.append(try PrunedLayer(tensor, damping)) }
    var (best, least) = (masks, Double.infinity)
    var current = masks
    for round in 0...max(rounds, 0) {
      var moves: [StripMoves] = []
      for (index, layer) in layers.enumerated() {
        moves += try layer.moves(current[index], tensor: index)
      }
      let loss = moves.reduce(0) { $0 + $1.loss }
      guard loss < least else { break }
      (best, least) = (current, loss)
      guard round < rounds else { break }
      let part = share * (1 + cos(.pi * Double(round) / Double(rounds))) / 2
      let changed = exchange(moves, tensors, &current, part)
      guard changed else { break }
    }
    return best
  }

  /// Drops the cheapest blocks for the dearest ones; false where no pair of them gains.
  private func exchange(
    _ moves: [StripMoves], _ tensors: [PrunableTensor], _ masks: inout [BlockMask], _ part: Double
  ) -> Bool {
    let drops = moves.compactMap(\.drop).sorted { $0.before($1, by: <) }
    let gains = moves.compactMap(\.gain).sorted { $0.before($1, by: >) }
    let survivors = masks.reduce(0) { $0 + $1.survives.count { $0 } }
    var cells = masks.map { mask in
      mask.survives.indices.reduce(0) { $0 + (mask.survives[$1] ? mask.cells($1) : 0) }
    }
    let limit = cells.reduce(0, +)
    var total = limit
    var left = max(1, Int(part * Double(survivors)))
    var changed = false
    var drop = drops.makeIterator()
    for gain in gains where left > 0 {
      let area = masks[gain.tensor].cells(gain.index)
      var gone: [BlockMove] = []
      // Blocks at an edge are smaller: it may take two of them.
      while total + area > limit, let next = drop.next(), next.slope < gain.slope {
        let own = masks[next.tensor].cells(next.index)
        let floor = tensors[next.tensor].floor * Double(tensors[next.tensor].weight.values.count)
        guard cells[next.tensor] - own >= max(1, Int(floor.rounded(.up))) else { continue }
        gone.append(next)
        cells[next.tensor] -= own
        total -= own
      }
      guard total + area <= limit else {
        for block in gone { total += masks[block.tensor].cells(block.index) }
        break
      }
      for block in gone { masks[block.tensor].survives[block.index] = false }
      masks[gain.tensor].survives[gain.index] = true
      cells[gain.tensor] += area
      total += area
      left -= 1
      changed = true
    }
    return changed
  }
}

/// A block that may go or come back.
private struct BlockMove {
  let tensor: Int
  /// Of its tensor's mask.
  let index: Int
  /// Weighted loss for each cell.
  let slope: Double

  func before(_ other: BlockMove, by less: (Double, Double) -> Bool) -> Bool {
    slope != other.slope
      ? less(slope, other.slope) : (tensor, index) < (other.tensor, other.index)
  }
}

/// The cheapest survivor of a strip, and the block that it misses most.
private struct StripMoves {
  var loss: Double
  var drop: BlockMove?
  var gain: BlockMove?
}

/// A tensor with what is needed to solve its strips.
private struct PrunedLayer {
  let tensor: PrunableTensor
  /// H, damped, [columns][columns].
  let moments: [Double]
  /// W H, [rows][columns].
  let targets: [Double]
  let importance: Double

  init(_ tensor: PrunableTensor, _ damping: Double) throws(QuantizeError) {
    let (rows, columns) = (tensor.weight.rows, tensor.weight.columns)
    try checkPruning(tensor.weight, tensor.hessian)
    let moments = try dampedMoments(tensor.hessian, damping)
    var targets = [Double](repeating: 0, count: rows * columns)
    SingleThreadedBLAS.run {
      product(
        tensor.weight.values.map(Double.init), moments, into: &targets, m: rows, n: columns,
        k: columns)
    }
    self.tensor = tensor
    self.moments = moments
    self.targets = targets
    importance = try tensor.weightOfErrors()
  }

  /// What each strip loses with its survivors, and its moves.
  func moves(_ mask: BlockMask, tensor index: Int) throws(QuantizeError) -> [StripMoves] {
    let strips: [StripMoves?] = SingleThreadedBLAS.run {
      concurrentMap(mask.strips) { strip in
        guard let solved = StripSolution(self, mask, strip) else { return nil }
        var moves = StripMoves(loss: importance * solved.error)
        for block in 0..<mask.blocks {
          let place = strip * mask.blocks + block
          let span = mask.columns(of: block)
          let scale = importance / Double(mask.cells(place))
          if mask.survives[place] {
            guard let loss = solved.loss(without: span) else { return nil }
            let move = BlockMove(tensor: index, index: place, slope: loss * scale)
            if moves.drop.map({ move.slope < $0.slope }) ?? true { moves.drop = move }
          } else {
            guard let gain = solved.gain(with: span) else { return nil }
            let move = BlockMove(tensor: index, index: place, slope: gain * scale)
            if moves.gain.map({ move.slope > $0.slope }) ?? true { moves.gain = move }
          }
        }
        return moves
      }
    }
    var result: [StripMoves] = []
    for strip in strips {
      guard let strip else { throw .unsupported("second moments that are not positive definite") }
      result.append(strip)
    }
    return result
  }
}

/// The least-squares solution of the rows of a strip on the columns A that survive.
struct StripSolution {
  private let rows: Range<Int>
  private let columns: Int
  private let kept: [Int]  // A
  private let moments: [Double]
  private let inverse: [Double]  // (H_AA)⁻¹
  private let values: [Double]  // ŵ_A, [rows][A]
  private let residual: [Double]  // (w − ŵ) H, [rows][columns]
  /// Σ (w − ŵ) H (w − ŵ)ᵀ.
  let error: Double

  fileprivate init?(_ layer: PrunedLayer, _ mask: BlockMask, _ strip: Int) {
    let rows = mask.rows(of: strip)
    let kept = (0..<mask.blocks).filter { mask.survives[strip * mask.blocks + $0] }
      .flatMap { Array(mask.columns(of: $0)) }
    self.init(
      weights: layer.tensor.weight.values[
        rows.lowerBound * mask.columns..<rows.upperBound * mask.columns
      ].map(Double.init),
      targets: Array(
        layer.targets[rows.lowerBound * mask.columns..<rows.upperBound * mask.columns]),
      rows: rows, moments: layer.moments, columns: mask.columns, kept: kept)
  }

  /// `weights` w and `targets` w H [rows][columns], `moments` H [columns][columns]; nil where H_AA is
  /// not positive definite.
  init?(
    weights: [Double], targets: [Double], rows: Range<Int>, moments: [Double], columns: Int,
    kept: [Int]
  ) {
    self.rows = rows
    self.columns = columns
    self.kept = kept
    self.moments = moments
    let (m, n) = (rows.count, kept.count)
    var values = [Double](repeating: 0, count: m * n)
    var residual = targets
    if n > 0 {
      let square = kept.flatMap { i in kept.map { moments[i * columns + $0] } }
      guard let inverse = symmetricInverse(square, n) else { return nil }
      self.inverse = inverse
      let own = (0..<m).flatMap { row in kept.map { targets[row * columns + $0] } }
      product(own, inverse, into: &values, m: m, n: n, k: n)
      let panel = kept.flatMap { moments[$0 * columns..<($0 + 1) * columns] }  // H_A
      subtractProduct(values, panel, from: &residual, m: m, n: columns, k: n)
    } else {
      inverse = []
    }
    self.values = values
    self.residual = residual
    // (w − ŵ) H is 0 on A, so that only w counts.
    error = max(0, zip(weights, residual).reduce(0) { $0 + $1.0 * $1.1 })
  }

  /// What is lost more without the survivors of `span`: Σ ŵ_S ([(H_AA)⁻¹]_SS)⁻¹ ŵ_Sᵀ.
  func loss(without span: Range<Int>) -> Double? {
    guard let first = kept.firstIndex(of: span.lowerBound) else { return nil }
    let (n, own) = (kept.count, first..<first + span.count)
    let square = own.flatMap { inverse[$0 * n + own.lowerBound..<$0 * n + own.upperBound] }
    let part = (0..<rows.count).flatMap { row in
      values[row * n + own.lowerBound..<row * n + own.upperBound]
    }
    return form(part, square, span.count)
  }

  /// What is lost less with the columns of `span`: Σ g_T (H_TT − H_TA (H_AA)⁻¹ H_AT)⁻¹ g_Tᵀ of the
  /// gradients g = (w − ŵ) H.
  func gain(with span: Range<Int>) -> Double? {
    let (n, width) = (kept.count, span.count)
    var square = span.flatMap {
      moments[$0 * columns + span.lowerBound..<$0 * columns + span.upperBound]
    }
    if n > 0 {
      let cross = span.flatMap { i in kept.map { moments[i * columns + $0] } }  // H_TA
      let turned = kept.flatMap { i in span.map { moments[i * columns + $0] } }  // H_AT
      var solved = [Double](repeating: 0, count: width * n)
      product(cross, inverse, into: &solved, m: width, n: n, k: n)
      subtractProduct(solved, turned, from: &square, m: width, n: width, k: n)
    }
    let part = (0..<rows.count).flatMap { row in
      residual[row * columns + span.lowerBound..<row * columns + span.upperBound]
    }
    return form(part, square, width)
  }

  /// Σ x M⁻¹ xᵀ over the rows x.
  private func form(_ x: [Double], _ matrix: [Double], _ n: Int) -> Double? {
    solutions(matrix, n, rows: x).map { zip(x, $0).reduce(0) { $0 + $1.0 * $1.1 } }
  }
}
