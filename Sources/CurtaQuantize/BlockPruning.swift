// Which blocks of several tensors go, so that together they lose least (LPViT).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A tensor that is pruned together with others.
public struct PrunableTensor: Sendable {
  /// [rows][columns] float32, finite.
  public var weight: Matrix
  /// Second moments of its inputs.
  public var hessian: Hessian
  /// Rows of its input in one pass: 197 for most layers of a ViT, 1 for a head.
  public var tokens: Int
  /// The share of its cells that at least survives. Attention outputs and heads need one.
  public var floor: Double
  /// How much a squared error of its outputs matters; nil: 1 over the squared size of the outputs.
  public var importance: Double?

  public init(
    weight: Matrix, hessian: Hessian, tokens: Int = 1, floor: Double = 0, importance: Double? = nil
  ) {
    self.weight = weight
    self.hessian = hessian
    self.tokens = tokens
    self.floor = floor
    self.importance = importance
  }
}

extension PrunableTensor {
  /// What its squared errors are multiplied by.
  func weightOfErrors() throws(QuantizeError) -> Double {
    if let importance { return importance }
    let size = energy(weight, hessian)
    return size > 0 ? 1 / size : 1
  }
}

/// Selection of blocks of 16 rows by 32 columns over several tensors, and what makes up for them.
///
/// After LPViT (Xu et al. 2024, arXiv 2407.02068): distortion plus `power` times the blocks that are
/// multiplied, under a common slope. Distortion is not from gradients but from the second moments of
/// the inputs, exact for each strip of rows in the order of `StripRemoval`; strips add up, since the
/// error of a row does not depend on other rows. Where the slopes of a strip fall they are averaged,
/// so that every curve is convex and one slope is the optimum.
public struct BlockPruning: Sendable {
  /// Part of the mean second moment that is added to the diagonal.
  public var damping: Double
  /// β: what one surviving block costs for each token, in units of the weighted squared error.
  public var power: Double

  public init(damping: Double = 0.01, power: Double = 0) {
    self.damping = damping
    self.power = power
  }

  /// The masks that leave at most `density` of all cells, a mask for each tensor in their order.
  ///
  /// A tensor keeps at least its `floor` and one block, even where the target is then not met. Throws
  /// `QuantizeError` for a density outside 0…1, weights that are not finite, or other columns.
  public func select(
    _ tensors: [PrunableTensor], density: Double
  ) throws(QuantizeError) -> [BlockMask] {
    guard density > 0, density <= 1 else { throw .unsupported("a density of \(density)") }
    var removals: [BlockRemoval] = []
    for (index, tensor) in tensors.enumerated() {
      removals += try self.removals(of: tensor, index)
    }
    // One slope for all: the cheapest removals per cell first; of equal ones the first.
    removals.sort { $0.slope != $1.slope ? $0.slope < $1.slope : $0.place < $1.place }
    var masks = tensors.map { BlockMask(rows: $0.weight.rows, columns: $0.weight.columns) }
    var cells = tensors.map { $0.weight.values.count }
    var total = cells.reduce(0, +)
    let target = Int((density * Double(total)).rounded(.down))
    for removal in removals where total > target {
      let tensor = removal.place.tensor
      let least = Int(
        (tensors[tensor].floor * Double(tensors[tensor].weight.values.count)).rounded(.up))
      let area = masks[tensor].cells(removal.index)
      guard cells[tensor] - area >= max(least, 1) else { continue }
      masks[tensor].survives[removal.index] = false
      cells[tensor] -= area
      total -= area
    }
    return masks
  }

  /// Every block of a tensor with its slope; in a strip slopes do not fall.
  private func removals(
    of tensor: PrunableTensor, _ index: Int
  ) throws(QuantizeError) -> [BlockRemoval] {
    let (weight, columns) = (tensor.weight, tensor.weight.columns)
    try checkPruning(weight, tensor.hessian)
    let moments = try dampedMoments(tensor.hessian, damping)
    guard let inverse = SingleThreadedBLAS.run({ symmetricInverse(moments, columns) }) else {
      throw .unsupported("second moments that are not positive definite")
    }
    let importance = try tensor.weightOfErrors()
    let mask = BlockMask(rows: weight.rows, columns: columns)
    let power = self.power * Double(tensor.tokens)
    let strips = SingleThreadedBLAS.run {
      concurrentMap(mask.strips) { strip in
        let rows = mask.rows(of: strip)
        let removal = StripRemoval(
          weights: weight.values[rows.lowerBound * columns..<rows.upperBound * columns].map(
            Double.init),
          rows: rows.count, inverse: inverse, columns: columns, count: mask.blocks)
        return BlockRemoval.sequence(removal, strip, mask, importance: importance, power: power)
      }
    }
    return strips.enumerated().flatMap { strip, sequence in
      sequence.enumerated().map { step, removal in
        BlockRemoval(
          index: removal.index, slope: removal.slope,
          place: BlockRemoval.Place(tensor: index, strip: strip, step: step))
      }
    }
  }
}

/// One block that may go.
struct BlockRemoval: Sendable {
  struct Place: Comparable, Sendable {
    let tensor, strip, step: Int

    static func < (a: Place, b: Place) -> Bool {
      (a.tensor, a.strip, a.step) < (b.tensor, b.strip, b.step)
    }
  }

  /// Of its tensor's mask.
  let index: Int
  /// Weighted loss for each 512 cells, less the power that it saves.
  let slope: Double
  let place: Place

  /// The removals of a strip with slopes that do not fall: neighbours that do are averaged.
  static func sequence(
    _ removal: StripRemoval, _ strip: Int, _ mask: BlockMask, importance: Double, power: Double
  ) -> [(index: Int, slope: Double)] {
    var pools: [(loss: Double, cost: Double, count: Int)] = []
    for (block, loss) in zip(removal.order, removal.losses) {
      let area = Double(mask.cells(strip * mask.blocks + block))
      pools.append((loss * importance, area / Double(BlockMask.height * BlockMask.width), 1))
      while pools.count > 1 {
        let (b, a) = (pools[pools.count - 1], pools[pools.count - 2])
        guard b.loss / b.cost < a.loss / a.cost else { break }
        pools.removeLast(2)
        pools.append((a.loss + b.loss, a.cost + b.cost, a.count + b.count))
      }
    }
    let slopes = pools.flatMap { [Double](repeating: $0.loss / $0.cost - power, count: $0.count) }
    return zip(removal.order, slopes).map { (strip * mask.blocks + $0, $1) }
  }
}

extension BlockMask {
  /// Cells of block `index` of `survives`.
  func cells(_ index: Int) -> Int {
    rows(of: index / blocks).count * columns(of: index % blocks).count
  }
}
