// Scales and offsets that lose least with codes that stay (the second half of decoupleQ).
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Least squares over the scales (and offsets) of a row, decoupleQ (Guo et al. 2024, arXiv 2404.12759),
/// and then over the integers that stand for them.
///
/// A row is ŵ = u · Σ_i x_i a_i: u the unit of its mantissa, x_i the u8 scale or i16 offset of a group,
/// a_i its codes or ones, and 0 elsewhere. Its error is u² xᵀ A x − 2 u bᵀ x + …, with A_ij = a_i H a_jᵀ
/// and b_i = a_i H wᵀ in double precision. Cost: 2 · rows · columns² multiplications.
enum ScaleFit {
  /// Gives every row of `block` better integers for its scales. Codes stay; no row gets worse by more
  /// than the rounding of its values to float32.
  static func solve(_ block: RowBlock, _ hessian: SolverHessian) {
    let basis = Basis(block, hessian)
    for lane in 0..<block.rows.count {
      let codes = (0..<block.columns).map { block.code($0, lane) }
      let former = block.mantissas[lane]
      fit(block, lane, basis.system(lane))
      block.updateSteps(lane)
      block.keepAdded(lane, former)
      for (j, code) in codes.enumerated() {
        let cell = block.groupOf[j] * block.lanes + lane
        block.values[j * block.lanes + lane] = block.steps[cell] * code + block.offsets[cell]
      }
    }
  }

  /// New integers for one row.
  private static func fit(_ block: RowBlock, _ lane: Int, _ system: QuadraticForm) {
    guard let scales = block.groupScales else {
      let ideal = system.linear[0] / system.matrix[0]
      let mantissa = scalbn(ideal, block.exponent).rounded()
      if mantissa.isFinite { block.mantissas[lane] = UInt16(min(max(mantissa, 1), 65535)) }
      return
    }
    let cells = (0..<block.groups).map { $0 * block.lanes + lane }
    var limits = cells.map { scales[$0] == 0 ? 0.0...0.0 : 1.0...255.0 }
    var start = cells.map { Double(scales[$0]) }
    if let offsets = block.groupOffsets {
      limits += cells.map { _ in -32767.0...32767.0 }
      start += cells.map { Double(offsets[$0]) }
    }
    var best = ScaleIntegers(
      mantissa: Double(block.mantissas[lane]), values: start, exponent: block.exponent)
    best.refine(system, limits)
    if let ideal = system.minimum() {
      // Up, so that the largest scale of the row is at most 255, and offsets 32767.
      let units = zip(ideal, limits).map { abs($0) / $1.upperBound }.filter(\.isFinite)
      let mantissa = scalbn(units.max() ?? 0, block.exponent).rounded(.up)
      var other = best
      other.mantissa = min(max(mantissa, 1), 65535)
      other.values = zip(ideal, limits).map {
        min(max(($0 / other.unit).rounded(), $1.lowerBound), $1.upperBound)
      }
      other.refine(system, limits)
      if other.error(system) < best.error(system) { best = other }
    }
    block.mantissas[lane] = UInt16(best.mantissa)
    for (g, cell) in cells.enumerated() {
      block.groupScales?[cell] = UInt8(best.values[g])
      block.groupOffsets?[cell] = Int16(best.values[block.groups + g])
    }
  }
}

/// xᵀ A x − 2 bᵀ x of n unknowns.
struct QuadraticForm {
  var matrix: [Double]  // A [n][n], symmetric
  var linear: [Double]  // b [n]

  var count: Int { linear.count }

  /// x with A x = b, with a ridge where A is (almost) singular; nil for A = 0.
  func minimum() -> [Double]? {
    let n = count
    let mean = (0..<n).reduce(0) { $0 + matrix[$1 * (n + 1)] } / Double(max(n, 1))
    guard mean > 0 else { return nil }
    for ridge in [0, 1e-6, 1e-2, 1] {
      var damped = matrix
      for i in 0..<n { damped[i * (n + 1)] += ridge * mean }
      guard let factor = upperFactor(damped, n) else { continue }
      var x = linear  // U Uᵀ x = b
      for i in (0..<n).reversed() {
        for j in i + 1..<max(n, i + 1) { x[i] -= factor[i * n + j] * x[j] }
        x[i] /= factor[i * (n + 1)]
      }
      for i in 0..<n {
        for j in 0..<i { x[i] -= factor[j * n + i] * x[j] }
        x[i] /= factor[i * (n + 1)]
      }
      if x.allSatisfy(\.isFinite) { return x }
    }
    return nil
  }
}

/// Whole numbers in place of the unknowns of a `QuadraticForm`: x = unit · values.
private struct ScaleIntegers {
  /// 1…65535, whole.
  var mantissa: Double
  /// Whole.
  var values: [Double]
  let exponent: Int

  var unit: Double { scalbn(mantissa, -exponent) }

  func error(_ form: QuadraticForm) -> Double {
    let (square, linear) = terms(form)
    return unit * unit * square - 2 * unit * linear
  }

  private func terms(_ form: QuadraticForm) -> (square: Double, linear: Double) {
    var (square, linear) = (0.0, 0.0)
    for i in 0..<form.count {
      var sum = 0.0
      for j in 0..<form.count { sum += form.matrix[i * form.count + j] * values[j] }
      square += values[i] * sum
      linear += values[i] * form.linear[i]
    }
    return (square, linear)
  }

  /// Coordinate descent over the whole numbers, and now and then the mantissa. Never worse.
  mutating func refine(_ form: QuadraticForm, _ limits: [ClosedRange<Double>]) {
    for _ in 0..<4 {
      var hasChanged = false
      for _ in 0..<8 where descend(form, limits) { hasChanged = true }
      let (square, linear) = terms(form)
      let ideal = scalbn(linear / square, exponent).rounded()
      if ideal.isFinite, min(max(ideal, 1), 65535) != mantissa {
        mantissa = min(max(ideal, 1), 65535)
        hasChanged = true
      }
      if !hasChanged { break }
    }
  }

  /// One pass over the whole numbers. Whether any changed.
  private mutating func descend(_ form: QuadraticForm, _ limits: [ClosedRange<Double>]) -> Bool {
    let (n, inverse) = (form.count, 1 / unit)
    var hasChanged = false
    for i in 0..<n where form.matrix[i * (n + 1)] > 0 {
      var rest = form.linear[i] * inverse
      for j in 0..<n { rest -= form.matrix[i * n + j] * values[j] }
      let ideal = values[i] + rest / form.matrix[i * (n + 1)]
      let value = min(max(ideal.rounded(), limits[i].lowerBound), limits[i].upperBound)
      // Ties stay, so that this ends.
      if value != values[i], abs(value - ideal) < abs(values[i] - ideal) {
        values[i] = value
        hasChanged = true
      }
    }
    return hasChanged
  }
}
