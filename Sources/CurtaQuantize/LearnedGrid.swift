// A grid whose weights, steps and offsets are learned through the rounding, from gradients of any loss.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Continuous weights, steps and offsets in the place of the integers of a `GridTensor`, as in
/// `AdaQuant`, for gradients that come from elsewhere.
///
/// With g the gradient by a value of the grid, a weight in steps has g · step as if rounding were not
/// there, none where it is clipped; a step has Σ g (c − x), as in LSQ (Esser et al. 2019, arXiv
/// 1902.08153), an offset Σ g. Codes are free over the whole grid: a weight may pass any number of them.
package struct LearnedGrid {
  private let start: GridTensor
  private let width: Int
  private let groups: Int
  private let low: Float
  private let high: Float
  /// Steps and offsets of all cells as they were, [rows][groups].
  private let steps: [Float]
  private let offsets: [Float]
  /// In those steps, [rows][columns].
  private var weights: [Float]
  /// ln(step / step as it was), [rows][groups].
  private var logarithms: [Float]
  /// What is added to offsets, in steps as they were, [rows][groups]; empty: there are none.
  private var shifts: [Float]
  private var weightAdam: Adam
  private var stepAdam: Adam
  private var shiftAdam: Adam

  /// Starts at the codes of `tensor`, which has no mask and no overlay, and of the way to the weights
  /// [rows][columns] that it stands for, in steps, goes up to `edge`, below 0.5, so that codes stay.
  package init(_ tensor: GridTensor, weights target: Matrix, edge: Float) {
    precondition(tensor.mask == nil && tensor.overlays.isEmpty)
    start = tensor
    width = tensor.group == 0 ? tensor.columns : tensor.group
    groups = tensor.groups
    let range = GridTensor.codeRange(bits: tensor.bits)
    (low, high) = (Float(range.lowerBound), Float(range.upperBound))
    var (steps, offsets): ([Float], [Float]) = ([], [])
    for row in 0..<tensor.rows {
      for cell in row * groups..<(row + 1) * groups {
        let unit = scalbn(Double(tensor.mantissas[row]), -tensor.exponent)
        steps.append(Float(unit * Double(tensor.groupScales?[cell] ?? 1)))
        offsets.append(Float(unit * Double(tensor.groupOffsets?[cell] ?? 0)))
      }
    }
    (self.steps, self.offsets) = (steps, offsets)
    weights = tensor.codes.map { Float($0) }
    logarithms = [Float](repeating: 0, count: steps.count)
    shifts = [Float](repeating: 0, count: tensor.groupOffsets == nil ? 0 : steps.count)
    weightAdam = Adam(count: weights.count)
    stepAdam = Adam(count: steps.count)
    shiftAdam = Adam(count: shifts.count)
    var own = weights
    forEachCell { cell, places in
      guard steps[cell] > 0 else { return }
      for i in places {
        let place = (target.values[i] - offsets[cell]) / steps[cell]
        own[i] = min(max(place, own[i] - edge), own[i] + edge)
      }
    }
    weights = own
  }

  /// Calls `body` with each cell and the places of its weights.
  @inline(__always)
  private func forEachCell(_ body: (_ cell: Int, _ places: Range<Int>) -> Void) {
    for row in 0..<start.rows {
      for g in 0..<groups {
        let first = row * start.columns + g * width
        let end = min(first + width, (row + 1) * start.columns)
        body(row * groups + g, first..<end)
      }
    }
  }

  /// The code of a place in steps as they are now.
  @inline(__always)
  private func code(_ place: Float) -> Float { (min(max(place, low), high) + 0x1.8p23) - 0x1.8p23 }

  /// The real numbers that the grid stands for now, [rows][columns].
  package var values: Matrix {
    var result = Matrix(rows: start.rows, columns: start.columns)
    result.values.withUnsafeMutableBufferPointer { values in
      weights.withUnsafeBufferPointer { weights in
        forEachCell { cell, places in
          let (step, inverse) = (steps[cell] * exp(logarithms[cell]), exp(-logarithms[cell]))
          let offset = offsets[cell] + (shifts.isEmpty ? 0 : shifts[cell] * steps[cell])
          for i in places { values[i] = code(weights[i] * inverse) * step + offset }
        }
      }
    }
    return result
  }

  /// Moves everything against the gradient of a loss by `values`, [rows][columns]: a weight or an offset
  /// by about `weightRate` steps, the logarithm of a step by `stepRate`.
  package mutating func step(gradient: Matrix, weightRate: Float, stepRate: Float) {
    var slopes = gradient.values
    var byStep = [Float](repeating: 0, count: steps.count)
    var byShift = [Float](repeating: 0, count: shifts.count)
    slopes.withUnsafeMutableBufferPointer { slopes in
      weights.withUnsafeBufferPointer { weights in
        forEachCell { cell, places in
          let inverse = exp(-logarithms[cell])
          var (sum, whole) = (Float(0), Float(0))
          for i in places {
            let slope = slopes[i] * steps[cell]
            let place = weights[i] * inverse
            let isInside = place >= low - 0.5 && place <= high + 0.5
            sum += slope * (isInside ? code(place) - place : code(place))
            whole += slope
            slopes[i] = isInside ? slope : 0
          }
          byStep[cell] = sum
          if !shifts.isEmpty { byShift[cell] = whole }
        }
      }
    }
    weightAdam.step(&weights, gradient: slopes, rate: weightRate)
    stepAdam.step(&logarithms, gradient: byStep, rate: stepRate)
    if !shifts.isEmpty { shiftAdam.step(&shifts, gradient: byShift, rate: weightRate) }
  }

  /// The codes as they are now, with integer scales and offsets next to the learned ones.
  package var tensor: GridTensor {
    var result = start
    forEachCell { cell, places in
      let inverse = exp(-logarithms[cell])
      for i in places { result.codes[i] = Int8(code(weights[i] * inverse)) }
    }
    for row in 0..<start.rows {
      let cells = row * groups..<(row + 1) * groups
      let learned = cells.map { Double(steps[$0]) * Double(exp(logarithms[$0])) }
      let added = cells.map {
        Double(offsets[$0]) + (shifts.isEmpty ? 0 : Double(shifts[$0]) * Double(steps[$0]))
      }
      guard let largest = learned.max(), largest > 0 else { continue }
      let hasScales = start.groupScales != nil
      // Up, so that the largest scale of the row is at most 255, and offsets 32767.
      let unit = hasScales ? max(largest / 255, (added.map(abs).max() ?? 0) / 32767) : largest
      let mantissa = min(
        max(scalbn(unit, start.exponent).rounded(hasScales ? .up : .toNearestOrAwayFromZero), 1),
        65535)
      result.mantissas[row] = UInt16(mantissa)
      let exact = scalbn(mantissa, -start.exponent)
      for (g, cell) in cells.enumerated() {
        if let former = start.groupScales?[cell] {
          result.groupScales?[cell] =
            former == 0 ? 0 : UInt8(min(max((learned[g] / exact).rounded(), 1), 255))
        }
        result.groupOffsets?[cell] = Int16(min(max((added[g] / exact).rounded(), -32767), 32767))
      }
    }
    return result
  }
}
