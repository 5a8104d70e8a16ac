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
  /// Whether every group (or row) has an offset of its own, 16 bits, for weights that do not lie
  /// around 0 or have too few codes to waste one. Rows then have a scale of 8 bits as groups do.
  public var hasOffsets: Bool
  /// Whether rows without groups have a scale of 8 bits as groups do.
  var hasFineRows = false

  /// Throws `QuantizeError.unsupported` where the encoding has no such bits or group.
  public init(
    bits: Int, group: Int, clip: ClipSearch = .search, hasOffsets: Bool = false
  ) throws(QuantizeError) {
    guard (2...8).contains(bits) else {
      throw .unsupported("\(bits) bits are not possible; a grid has 2 to 8")
    }
    guard group >= 0, group % 32 == 0 else {
      throw .unsupported("groups of \(group) are not possible; a group is a multiple of 32")
    }
    self.bits = bits
    self.group = group
    self.clip = clip
    self.hasOffsets = hasOffsets
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
    var steps = [AffineStep](
      repeating: AffineStep(step: 0, offset: 0), count: weights.rows * groups)
    let ratios = clip.ratios(bits: bits)
    let corrections = clip == .search ? 2 : 0
    withSpans(weights, importance) { span in
      steps.withUnsafeMutableBufferPointer { steps in
        forEachRow(weights.rows) { row in
          for g in 0..<groups {
            let span = span(row, g)
            steps[row * groups + g] =
              hasOffsets
              ? span.bestAffineStep(ratios: ratios, corrections: corrections)
              : AffineStep(
                step: span.bestStep(ratios: ratios, corrections: corrections), offset: 0)
          }
        }
      }
    }
    let hasGroupScales = group != 0 || hasOffsets || hasFineRows
    let largest = steps.map { hasGroupScales ? $0.leastUnit : $0.step }.max() ?? 0
    var tensor = GridTensor(
      rows: weights.rows, columns: weights.columns, bits: bits, group: group,
      exponent: try mantissaExponent(largest: largest),
      codes: [Int8](repeating: 0, count: weights.values.count),
      mantissas: [UInt16](repeating: 1, count: weights.rows),
      groupScales: hasGroupScales ? [UInt8](repeating: 0, count: steps.count) : nil,
      groupOffsets: hasOffsets ? [Int16](repeating: 0, count: steps.count) : nil)
    withSpans(weights, importance) { span in
      if hasGroupScales {
        roundGroups(&tensor, steps, groups: groups, span)
      } else {
        roundRows(&tensor, steps.map(\.step), span)
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

  /// Row mantissas, group scales, offsets and codes.
  private func roundGroups(
    _ tensor: inout GridTensor, _ steps: [AffineStep], groups: Int,
    _ span: (Int, Int) -> WeightSpan
  ) {
    let (rows, columns, exponent) = (tensor.rows, tensor.columns, tensor.exponent)
    let width = group == 0 ? columns : group
    var scales = [UInt8](repeating: 0, count: steps.count)
    var offsets = [Int16](repeating: 0, count: hasOffsets ? steps.count : 0)
    tensor.mantissas.withUnsafeMutableBufferPointer { mantissas in
      tensor.codes.withUnsafeMutableBufferPointer { codes in
        scales.withUnsafeMutableBufferPointer { scales in
          offsets.withUnsafeMutableBufferPointer { offsets in
            forEachRow(rows) { row in
              let own = steps[row * groups..<(row + 1) * groups]
              guard let largest = own.map(\.leastUnit).max(), largest > 0 else { return }
              // Up, so that the largest scale of the row is at most 255, and offsets 32767.
              let ideal = scalbn(Double(largest), exponent).rounded(.up)
              let mantissa = min(max(ideal, 1), 65535)
              mantissas[row] = UInt16(mantissa)
              let unit = scalbn(mantissa, -exponent)
              for (g, affine) in own.enumerated() {
                let weights = span(row, g)
                var offset = 0.0
                if hasOffsets {
                  offset = min(max((Double(affine.offset) / unit).rounded(), -32767), 32767)
                  offsets[row * groups + g] = Int16(offset)
                  offset *= unit
                }
                let (scale, exact) = weights.bestInteger(
                  near: Int((Double(affine.step) / unit).rounded()), in: 0...255, unit: unit,
                  offset: offset)
                scales[row * groups + g] = UInt8(scale)
                weights.writeCodes(
                  step: exact, offset: offset, to: codes.baseAddress! + row * columns + g * width)
              }
            }
          }
        }
      }
    }
    tensor.groupScales = scales
    if hasOffsets { tensor.groupOffsets = offsets }
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
    near ideal: Int, in range: ClosedRange<Int>, unit: Double, offset: Double = 0
  ) -> (integer: Int, step: Double) {
    let first = min(max(ideal, range.lowerBound), range.upperBound)
    var best = first
    var least = squaredError(step: Float(Double(first) * unit), offset: Float(offset))
    for other in [first - 1, first + 1] where range.contains(other) {
      let error = squaredError(step: Float(Double(other) * unit), offset: Float(offset))
      if error < least {
        least = error
        best = other
      }
    }
    return (best, Double(best) * unit)
  }

  /// Writes the nearest code of every weight; zeros for step 0.
  fileprivate func writeCodes(
    step: Double, offset: Double = 0, to codes: UnsafeMutablePointer<Int8>
  ) {
    guard step > 0 else { return }
    let (low, high) = (Double(low), Double(high))
    for i in 0..<count {
      codes[i] = Int8(min(max(((Double(weights[i]) - offset) / step).rounded(), low), high))
    }
  }
}
