// Round-to-nearest with searched clipping: a float matrix to a grid of 2 to 8 bit codes.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Round-to-nearest quantization of a matrix.
///
/// Scales become integers before codes do: first the best step of every group (or row) in real
/// numbers, then one exponent for the tensor, a mantissa for every row and, with groups, a u8 for
/// every group, and last the codes against that exact integer scale. The exponent gives the largest
/// mantissa 16 bits; rows that are much smaller keep fewer.
///
/// Cost: about 30 passes over the weights with `.search`, 6 with `.none`, on all cores.
public struct GridQuantizer: Sendable, Equatable {
  /// 2…8.
  public var bits: Int
  /// Columns in a group, a multiple of 32; 0 is the whole row.
  public var group: Int
  public var clip: ClipSearch

  /// Throws `QuantizeError.unsupported` where the encoding has no such bits or group.
  public init(bits: Int, group: Int, clip: ClipSearch = .search) throws(QuantizeError) {
    guard (2...8).contains(bits) else {
      throw .unsupported("\(bits) bits are not possible; a grid has 2 to 8")
    }
    guard group >= 0, group % 32 == 0 else {
      throw .unsupported("groups of \(group) are not possible; a group is a multiple of 32")
    }
    self.bits = bits
    self.group = group
    self.clip = clip
  }

  /// Quantizes `weights` [rows][columns].
  ///
  /// `importance` [columns], not negative, weighs the squared error of each column, for instance
  /// with the mean square of its input; nil: all alike. The total error is never above that of
  /// `.none`. Throws `QuantizeError` for weights that are not finite or beyond the exponents.
  public func quantize(
    _ weights: Matrix, importance: [Float]? = nil
  ) throws(QuantizeError) -> GridTensor {
    guard weights.rows > 0, weights.columns > 0 else { throw .unsupported("an empty matrix") }
    guard importance.map({ $0.count == weights.columns }) ?? true else {
      throw .unsupported("\(importance?.count ?? 0) importances for \(weights.columns) columns")
    }
    guard (importance ?? []).allSatisfy({ $0 >= 0 && $0.isFinite }) else {
      throw .unsupported("an importance is negative or not a finite number")
    }
    if let place = weights.values.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(row: place / weights.columns, column: place % weights.columns)
    }
    let plain = try quantize(weights, importance, clip: .none)
    guard clip == .search else { return plain }
    let searched = try quantize(weights, importance, clip: .search)
    let (a, b) = (
      squaredError(of: searched, weights, importance), squaredError(of: plain, weights, importance)
    )
    return a <= b ? searched : plain
  }

  private func quantize(
    _ weights: Matrix, _ importance: [Float]?, clip: ClipSearch
  ) throws(QuantizeError) -> GridTensor {
    let groups = group == 0 ? 1 : (weights.columns + group - 1) / group
    var steps = [Float](repeating: 0, count: weights.rows * groups)
    let ratios = clip.ratios(bits: bits)
    withSpans(weights, importance) { span in
      steps.withUnsafeMutableBufferPointer { steps in
        forEachRow(weights.rows) { row in
          for g in 0..<groups {
            steps[row * groups + g] = span(row, g).bestStep(
              ratios: ratios, corrections: clip == .search ? 2 : 0)
          }
        }
      }
    }
    let largest = (steps.max() ?? 0) / (group == 0 ? 1 : 255)
    var tensor = GridTensor(
      rows: weights.rows, columns: weights.columns, bits: bits, group: group,
      exponent: try mantissaExponent(largest: largest),
      codes: [Int8](repeating: 0, count: weights.values.count),
      mantissas: [UInt16](repeating: 1, count: weights.rows),
      groupScales: group == 0 ? nil : [UInt8](repeating: 0, count: steps.count))
    withSpans(weights, importance) { span in
      if group == 0 {
        roundRows(&tensor, steps, span)
      } else {
        roundGroups(&tensor, steps, groups: groups, span)
      }
    }
    return tensor
  }

  /// Calls `body` with the function that gives the span of (row, group).
  private func withSpans(
    _ weights: Matrix, _ importance: [Float]?, _ body: ((Int, Int) -> WeightSpan) -> Void
  ) {
    let range = GridTensor.codeRange(bits: bits)
    let width = group == 0 ? weights.columns : group
    weights.values.withUnsafeBufferPointer { values in
      (importance ?? []).withUnsafeBufferPointer { factors in
        body { row, g in
          WeightSpan(
            weights: values.baseAddress! + row * weights.columns + g * width,
            importance: importance == nil ? nil : factors.baseAddress! + g * width,
            count: min(width, weights.columns - g * width),
            low: Float(range.lowerBound), high: Float(range.upperBound))
        }
      }
    }
  }

  /// Row mantissas and codes of a tensor whose rows have one scale each.
  private func roundRows(
    _ tensor: inout GridTensor, _ steps: [Float], _ span: (Int, Int) -> WeightSpan
  ) {
    let (columns, exponent) = (tensor.columns, tensor.exponent)
    tensor.mantissas.withUnsafeMutableBufferPointer { mantissas in
      tensor.codes.withUnsafeMutableBufferPointer { codes in
        forEachRow(steps.count) { row in
          guard steps[row] > 0 else { return }
          let weights = span(row, 0)
          let ideal = scalbn(Double(steps[row]), exponent).rounded()
          let (mantissa, step) = weights.bestInteger(
            near: Int(ideal), in: 1...65535, unit: scalbn(1, -exponent))
          mantissas[row] = UInt16(mantissa)
          weights.writeCodes(step: step, to: codes.baseAddress! + row * columns)
        }
      }
    }
  }

  /// Row mantissas, group scales and codes.
  private func roundGroups(
    _ tensor: inout GridTensor, _ steps: [Float], groups: Int, _ span: (Int, Int) -> WeightSpan
  ) {
    let (rows, columns, exponent) = (tensor.rows, tensor.columns, tensor.exponent)
    var scales = [UInt8](repeating: 0, count: steps.count)
    tensor.mantissas.withUnsafeMutableBufferPointer { mantissas in
      tensor.codes.withUnsafeMutableBufferPointer { codes in
        scales.withUnsafeMutableBufferPointer { scales in
          forEachRow(rows) { row in
            let own = steps[row * groups..<(row + 1) * groups]
            guard let largest = own.max(), largest > 0 else { return }
            // Up, so that the largest group scale of the row is at most 255.
            let ideal = scalbn(Double(largest) / 255, exponent).rounded(.up)
            let mantissa = min(max(ideal, 1), 65535)
            mantissas[row] = UInt16(mantissa)
            let unit = scalbn(mantissa, -exponent)
            for (g, step) in own.enumerated() {
              let weights = span(row, g)
              let (scale, exact) = weights.bestInteger(
                near: Int((Double(step) / unit).rounded()), in: 0...255, unit: unit)
              scales[row * groups + g] = UInt8(scale)
              weights.writeCodes(
                step: exact, to: codes.baseAddress! + row * columns + g * self.group)
            }
          }
        }
      }
    }
    tensor.groupScales = scales
  }

  private func squaredError(
    of tensor: GridTensor, _ weights: Matrix, _ importance: [Float]?
  ) -> Double {
    let columns = weights.columns
    var errors = [Double](repeating: 0, count: weights.rows)
    errors.withUnsafeMutableBufferPointer { errors in
      weights.values.withUnsafeBufferPointer { weights in
        forEachRow(tensor.rows) { row in
          withUnsafeTemporaryAllocation(of: Float.self, capacity: columns) { values in
            tensor.dequantize(row, into: values)
            var total = 0.0
            for i in 0..<columns {
              let d = Double(weights[row * columns + i]) - Double(values[i])
              total += d * d * Double(importance?[i] ?? 1)
            }
            errors[row] = total
          }
        }
      }
    }
    return errors.reduce(0, +)
  }
}

/// The exponent that gives a mantissa of `largest` · 2^exponent 16 bits, at most 64.
///
/// Throws `QuantizeError.tooLarge` where it would be below −64.
func mantissaExponent(largest: Float) throws(QuantizeError) -> Int {
  guard largest > 0 else { return 0 }
  var exponent = 15 - Int(largest.exponent)
  if scalbn(Double(largest), exponent).rounded(.up) > 65535 { exponent -= 1 }
  guard exponent >= -64 else { throw .tooLarge(step: largest) }
  return min(exponent, 64)
}

extension WeightSpan {
  /// The integer i next to `ideal` for which the step i · unit has the least error, and that step.
  fileprivate func bestInteger(
    near ideal: Int, in range: ClosedRange<Int>, unit: Double
  ) -> (integer: Int, step: Double) {
    let first = min(max(ideal, range.lowerBound), range.upperBound)
    var best = first
    var least = squaredError(step: Float(Double(first) * unit))
    for other in [first - 1, first + 1] where range.contains(other) {
      let error = squaredError(step: Float(Double(other) * unit))
      if error < least {
        least = error
        best = other
      }
    }
    return (best, Double(best) * unit)
  }

  /// Writes the nearest code of every weight; zeros for step 0.
  fileprivate func writeCodes(step: Double, to codes: UnsafeMutablePointer<Int8>) {
    guard step > 0 else { return }
    let (low, high) = (Double(low), Double(high))
    for i in 0..<count {
      codes[i] = Int8(min(max((Double(weights[i]) / step).rounded(), low), high))
    }
  }
}
