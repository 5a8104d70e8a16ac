// A few rows of a layer while solvers work on them: columns permuted, rows beside one another.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Up to `RowBlock.width` rows of weights with their current codes and steps.
///
/// Buffers are [columns][lanes], a lane a row, so that what a solver does to one column of all rows
/// is one run of memory; columns stand in the order of the `SolverHessian`. Lanes past the last row
/// have step 0 and are ignored.
final class RowBlock {
  static let width = 64
  typealias Lanes = SIMD8<Float>

  let rows: Range<Int>
  let columns: Int
  /// `rows.count` rounded up to a multiple of 8.
  let lanes: Int
  let groups: Int
  /// The group of every column, in permuted order.
  let groupOf: [Int]
  let low: Float
  let high: Float
  let exponent: Int
  /// What is to be approximated: the weights, 0 for columns without input.
  let weights: NumberBuffer<Float>
  /// The weights less what overlays add: what the codes are to approximate.
  let targets: NumberBuffer<Float>
  /// The columns (permuted) of each row to which an overlay adds, [rows].
  let overlaid: [[Int]]
  /// 1 where an overlay adds, else 0, [columns][lanes]; nil: there is none.
  let isOverlaid: NumberBuffer<Float>?
  /// What it adds to each in units of `overlayUnit`.
  var added: [[Int8]]
  private let overlayStep: Int
  /// The values of the current codes, step · code + offset.
  let values: NumberBuffer<Float>
  let steps: NumberBuffer<Float>  // [groups][lanes]
  let offsets: NumberBuffer<Float>  // [groups][lanes]
  /// The integers behind steps and offsets.
  var mantissas: [UInt16]  // [lanes]
  var groupScales: [UInt8]?  // [groups][lanes]
  var groupOffsets: [Int16]?  // [groups][lanes]
  /// What codes cost beside their error; nil: nothing.
  var prices: RowPrices?

  /// The rows `rows` of `tensor`, which stands for `matrix`.
  init(_ tensor: GridTensor, _ matrix: Matrix, _ hessian: SolverHessian, rows: Range<Int>) {
    self.rows = rows
    columns = tensor.columns
    lanes = (rows.count + 7) / 8 * 8
    groups = tensor.groups
    let width = tensor.group == 0 ? tensor.columns : tensor.group
    groupOf = hessian.order.map { $0 / width }
    let range = GridTensor.codeRange(bits: tensor.bits)
    (low, high) = (Float(range.lowerBound), Float(range.upperBound))
    exponent = tensor.exponent
    weights = NumberBuffer(columns * lanes)
    let overlay = tensor.overlays.first
    targets = overlay == nil ? weights : NumberBuffer(columns * lanes)
    overlayStep = overlay?.step ?? 0
    let places = overlay == nil ? [] : hessian.places
    overlaid = rows.map { row in overlay?.columns(of: row).map { places[$0] } ?? [] }
    isOverlaid = overlay == nil ? nil : NumberBuffer(columns * lanes)
    for (lane, own) in overlaid.enumerated() {
      for j in own { isOverlaid?[j * lanes + lane] = 1 }
    }
    added = rows.map { row in
      guard let overlay else { return [] }
      let first = overlay.start(of: row)
      return Array(overlay.values[first..<first + overlay.columns(of: row).count])
    }
    values = NumberBuffer(columns * lanes)
    steps = NumberBuffer(groups * lanes)
    offsets = NumberBuffer(groups * lanes)
    mantissas = [UInt16](repeating: 1, count: lanes)
    groupScales = tensor.groupScales.map { _ in [UInt8](repeating: 0, count: groups * lanes) }
    groupOffsets = tensor.groupOffsets.map { _ in [Int16](repeating: 0, count: groups * lanes) }
    for (lane, row) in rows.enumerated() {
      mantissas[lane] = tensor.mantissas[row]
      for g in 0..<groups {
        groupScales?[g * lanes + lane] = tensor.groupScales![row * groups + g]
        groupOffsets?[g * lanes + lane] = tensor.groupOffsets![row * groups + g]
      }
      updateSteps(lane)
      for (j, column) in hessian.order.enumerated() {
        let (place, cell) = (row * columns + column, groupOf[j] * lanes + lane)
        if j < hessian.live {
          values[j * lanes + lane] = steps[cell] * Float(tensor.codes[place]) + offsets[cell]
          weights[j * lanes + lane] = matrix.values[place]
        } else {
          values[j * lanes + lane] = steps[cell] * code(j, lane) + offsets[cell]
        }
      }
    }
    guard overlay != nil else { return }
    targets.base.update(from: weights.base, count: columns * lanes)
    for lane in 0..<rows.count { updateTargets(lane) }
  }

  /// A state of its own, over the same weights.
  init(copying other: RowBlock) {
    (rows, columns, lanes, groups) = (other.rows, other.columns, other.lanes, other.groups)
    (groupOf, low, high, exponent) = (other.groupOf, other.low, other.high, other.exponent)
    weights = other.weights
    targets = other.hasOverlay ? NumberBuffer(copying: other.targets) : weights
    (overlaid, added, overlayStep) = (other.overlaid, other.added, other.overlayStep)
    isOverlaid = other.isOverlaid
    values = NumberBuffer(copying: other.values)
    steps = NumberBuffer(copying: other.steps)
    offsets = NumberBuffer(copying: other.offsets)
    mantissas = other.mantissas
    groupScales = other.groupScales
    groupOffsets = other.groupOffsets
    prices = other.prices
  }

  /// Takes one row over from another state of the same rows.
  func take(_ lane: Int, from other: RowBlock) {
    for j in 0..<columns { values[j * lanes + lane] = other.values[j * lanes + lane] }
    mantissas[lane] = other.mantissas[lane]
    added[lane] = other.added[lane]
    updateTargets(lane)
    for cell in stride(from: lane, to: groups * lanes, by: lanes) {
      steps[cell] = other.steps[cell]
      offsets[cell] = other.offsets[cell]
      groupScales?[cell] = other.groupScales![cell]
      groupOffsets?[cell] = other.groupOffsets![cell]
    }
  }

  var hasOverlay: Bool { isOverlaid != nil }

  /// What a value of an overlay of a row is worth.
  func overlayUnit(_ lane: Int) -> Double {
    scalbn(Double(mantissas[lane]), overlayStep - exponent)
  }

  /// The targets of a row from the values of its overlay.
  func updateTargets(_ lane: Int) {
    let unit = overlayUnit(lane)
    for (j, value) in zip(overlaid[lane], added[lane]) {
      targets[j * lanes + lane] = Float(
        Double(weights[j * lanes + lane]) - unit * Double(value))
    }
  }

  /// Gives cells with an overlay their nearest codes, and the overlay what these leave.
  func splitValues() {
    guard hasOverlay else { return }
    for lane in 0..<rows.count {
      let unit = overlayUnit(lane)
      for (i, j) in overlaid[lane].enumerated() {
        let (place, cell) = (j * lanes + lane, groupOf[j] * lanes + lane)
        let value = values[place]
        values[place] = steps[cell] * code(j, lane) + offsets[cell]
        let more = (Double(value - values[place]) / unit).rounded()
        added[lane][i] = Int8(min(max(Double(added[lane][i]) + more, -127), 127))
      }
      updateTargets(lane)
    }
  }

  /// Keeps what an overlay adds to a row whose mantissa was `former`.
  func keepAdded(_ lane: Int, _ former: UInt16) {
    guard hasOverlay, former != mantissas[lane] else { return }
    let ratio = Double(former) / Double(mantissas[lane])
    added[lane] = added[lane].map { Int8(min(max((Double($0) * ratio).rounded(), -127), 127)) }
    updateTargets(lane)
  }

  /// Steps and offsets of a row from its integers. A step is exact: it has 24 bits at most.
  func updateSteps(_ lane: Int) {
    let unit = scalbn(Double(mantissas[lane]), -exponent)
    for cell in stride(from: lane, to: groups * lanes, by: lanes) {
      steps[cell] = Float(unit * Double(groupScales?[cell] ?? 1))
      offsets[cell] = Float(unit * Double(groupOffsets?[cell] ?? 0))
    }
  }

  /// The grid of column j (permuted) for the eight rows from `lane` on.
  @inline(__always)
  func grid(_ j: Int, _ lane: Int) -> LaneGrid {
    let cell = groupOf[j] * lanes + lane
    return LaneGrid(step: steps.lanes(cell), offset: offsets.lanes(cell), low: low, high: high)
  }

  /// The value that column j (permuted) of the eight rows from `lane` on takes for `target`, whose
  /// squared distance costs `weight`: the nearest, or with prices the cheapest.
  @inline(__always)
  func chosen(_ j: Int, _ lane: Int, _ target: Lanes, weight: Float) -> Lanes {
    guard let prices else { return grid(j, lane).nearest(target) }
    return prices.cheapest(target, grid(j, lane), weight: weight, lane)
  }

  /// The code of column j (permuted) in a row.
  func code(_ j: Int, _ lane: Int) -> Float {
    let cell = groupOf[j] * lanes + lane
    guard steps[cell] > 0 else { return 0 }
    let code = ((values[j * lanes + lane] - offsets[cell]) / steps[cell]).rounded()
    return min(max(code, low), high)
  }

  /// (w − ŵ) H (w − ŵ)ᵀ of every row, [rows.count], in double precision; ŵ with what overlays add.
  func errors(_ hessian: SolverHessian) -> [Double] {
    let differences = NumberBuffer<Double>(columns * lanes)
    for i in 0..<columns * lanes { differences[i] = Double(targets[i]) - Double(values[i]) }
    return squares(differences, hessian)
  }

  /// w H wᵀ, summed over all rows, in double precision.
  func energy(_ hessian: SolverHessian) -> Double {
    let whole = NumberBuffer<Double>(columns * lanes)
    for i in 0..<columns * lanes { whole[i] = Double(weights[i]) }
    return squares(whole, hessian).reduce(0, +)
  }

  /// d H dᵀ of every row of d [columns][lanes], [rows.count].
  private func squares(
    _ differences: NumberBuffer<Double>, _ hessian: SolverHessian
  ) -> [Double] {
    let products = NumberBuffer<Double>(columns * lanes)
    product(
      hessian.moments.base, differences.base, into: products.base, m: columns, n: lanes,
      k: columns)
    var errors = [Double](repeating: 0, count: lanes)
    for j in 0..<columns {
      for lane in 0..<lanes {
        errors[lane] += differences[j * lanes + lane] * products[j * lanes + lane]
      }
    }
    return errors.prefix(rows.count).map { max($0, 0) }
  }

  /// What every row costs: its error, and with prices its bits.
  func costs(_ hessian: SolverHessian) -> [Double] {
    var costs = errors(hessian)
    guard let prices else { return costs }
    for first in stride(from: 0, to: lanes, by: 8) {
      var bits = SIMD8<Double>()
      // A code has at most 11 bits, so that a thousand of them add up exactly.
      for start in stride(from: 0, to: columns, by: 1024) {
        var sum = Lanes()
        for j in start..<min(start + 1024, columns) {
          let grid = grid(j, first)
          let value = values.lanes(j * lanes + first)
          sum += prices.bits(of: (value - grid.offset) * grid.inverse)
        }
        for i in 0..<8 { bits[i] += Double(sum[i]) }
      }
      for lane in first..<min(first + 8, rows.count) {
        costs[lane] += bits[lane - first] * Double(prices.errorPerBit[lane]) / hessian.unit
      }
    }
    return costs
  }

  /// The rows as a part of a tensor: codes [rows][columns] and scales [rows][groups].
  func part(_ hessian: SolverHessian) -> RowPart {
    var codes = [Int8](repeating: 0, count: rows.count * columns)
    for (j, column) in hessian.order.enumerated() {
      for lane in 0..<rows.count { codes[lane * columns + column] = Int8(code(j, lane)) }
    }
    let cells = (0..<rows.count).flatMap { lane in (0..<groups).map { $0 * lanes + lane } }
    return RowPart(
      codes: codes, mantissas: Array(mantissas.prefix(rows.count)),
      groupScales: groupScales.map { scales in cells.map { scales[$0] } },
      groupOffsets: groupOffsets.map { offsets in cells.map { offsets[$0] } },
      added: added.flatMap(\.self))
  }
}

/// The integers of some rows of a `GridTensor`.
struct RowPart: Sendable {
  let codes: [Int8]
  let mantissas: [UInt16]
  let groupScales: [UInt8]?
  let groupOffsets: [Int16]?
  /// The values of an overlay.
  let added: [Int8]
}

/// The grid of one group, for eight rows.
struct LaneGrid {
  let step: RowBlock.Lanes
  let inverse: RowBlock.Lanes  // 0 where the step is 0
  let offset: RowBlock.Lanes
  let low: Float
  let high: Float

  /// Adding and subtracting it rounds |x| < 2^22 to an integer.
  static let rounder: Float = 0x1.8p23

  @inline(__always)
  init(step: RowBlock.Lanes, offset: RowBlock.Lanes, low: Float, high: Float) {
    self.step = step
    inverse = (1 / step).replacing(with: 0, where: step .<= 0)
    self.offset = offset
    self.low = low
    self.high = high
  }

  /// The value of the grid nearest to `x`.
  @inline(__always)
  func nearest(_ x: RowBlock.Lanes) -> RowBlock.Lanes {
    var code = (x - offset) * inverse
    code.replace(with: low, where: code .< low)
    code.replace(with: high, where: code .> high)
    code = (code + LaneGrid.rounder) - LaneGrid.rounder
    return code * step + offset
  }
}
