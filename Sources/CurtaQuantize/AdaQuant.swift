// Weights learned by gradients through their rounding (AdaQuant).
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// AdaQuant (Hubara et al. 2020, arXiv 2006.10518): continuous weights and steps in the place of codes,
/// moved by `Adam`.
///
/// With G = (ŵ − w) H, half the gradient of a row's error by ŵ, a continuous weight x, in steps, has the
/// gradient G · step as if rounding were not there, none where it is clipped; the step has
/// Σ G (c − x), c the code, as in LSQ (Esser et al. 2019, arXiv 1902.08153). The error is a quadratic, so
/// that nothing else is needed. In the end scales and offsets are those of `ScaleFit`. Cost: rows ·
/// columns² multiplications in float32 an iteration.
enum AdaQuant {
  /// How far a weight goes in an iteration, in steps, and the logarithm of a step; both fall to 0 as half a
  /// cosine.
  private static let (weightRate, stepRate): (Float, Float) = (0.006, 0.002)
  /// How near to the middle between two codes a weight may start: where it stands if its own code is the
  /// nearest, else as near as this to it.
  private static let edge: Float = 0.49

  /// Betters codes and scales of `block`; each row keeps the best codes of all iterations, which may be
  /// those that it had.
  static func solve(_ block: RowBlock, _ hessian: SolverHessian, iterations: Int) {
    let (columns, lanes, cells) = (block.columns, block.lanes, block.groups * block.lanes)
    let (low, high) = (
      RowBlock.Lanes(repeating: block.low), RowBlock.Lanes(repeating: block.high)
    )
    let inverse = NumberBuffer<Float>(cells)
    for cell in 0..<cells { inverse[cell] = block.steps[cell] > 0 ? 1 / block.steps[cell] : 0 }
    // In steps as they were: the continuous weights.
    let weights = NumberBuffer<Float>(columns * lanes)
    let codes = NumberBuffer<Float>(columns * lanes)
    for j in 0..<columns {
      for lane in 0..<block.rows.count {
        let (place, cell) = (j * lanes + lane, block.groupOf[j] * lanes + lane)
        let code = block.code(j, lane)
        codes[place] = code
        weights[place] =
          inverse[cell] > 0 && j < hessian.live
          ? min(
            max((block.weights[place] - block.offsets[cell]) * inverse[cell], code - edge),
            code + edge)
          : code
      }
    }
    let logarithms = NumberBuffer<Float>(cells)
    var (weightAdam, stepAdam) = (Adam(count: columns * lanes), Adam(count: cells))
    let factors = NumberBuffer<Float>(cells)
    let slopes = NumberBuffer<Float>(cells)
    let best = NumberBuffer(copying: codes)
    var least = [Float](repeating: .infinity, count: lanes)
    let differences = NumberBuffer<Float>(columns * lanes)
    let gradient = NumberBuffer<Float>(columns * lanes)

    for iteration in 0..<iterations {
      for cell in 0..<cells { factors[cell] = exp(logarithms[cell]) }
      for j in 0..<columns {
        for lane in stride(from: 0, to: lanes, by: 8) {
          let (place, cell) = (j * lanes + lane, block.groupOf[j] * lanes + lane)
          let factor = factors.lanes(cell)
          let code = (weights.lanes(place) / factor).clamped(
            lowerBound: low, upperBound: high
          ).rounded(.toNearestOrEven)
          codes.setLanes(code, place)
          let value = code * (block.steps.lanes(cell) * factor) + block.offsets.lanes(cell)
          differences.setLanes(value - block.weights.lanes(place), place)
        }
      }
      gradient.base.update(repeating: 0, count: columns * lanes)
      addProduct(
        transposed: hessian.moments32.base, columns, differences.base, lanes, to: gradient.base,
        m: columns, n: lanes, k: columns)
      keep(&least, best, codes, differences, gradient, columns)

      // Gradients over the square of the step, which Adam does not see.
      slopes.base.update(repeating: 0, count: cells)
      for j in 0..<columns {
        for lane in stride(from: 0, to: lanes, by: 8) {
          let (place, cell) = (j * lanes + lane, block.groupOf[j] * lanes + lane)
          let x = weights.lanes(place) / factors.lanes(cell)
          let code = codes.lanes(place)
          var slope = gradient.lanes(place) * inverse.lanes(cell)
          let isInside = (x .>= low - 0.5) .& (x .<= high + 0.5)
          slopes.setLanes(
            slopes.lanes(cell) + slope * (code - x.replacing(with: 0, where: .!isInside)), cell)
          slope.replace(with: 0, where: .!isInside)
          gradient.setLanes(slope, place)
        }
      }
      let pace = 0.5 * (1 + cos(Float.pi * Float(iteration) / Float(iterations)))
      weightAdam.step(weights.base, gradient: gradient.base, rate: weightRate * pace)
      stepAdam.step(logarithms.base, gradient: slopes.base, rate: stepRate * pace)
    }

    for j in 0..<columns {
      for lane in 0..<block.rows.count {
        let (place, cell) = (j * lanes + lane, block.groupOf[j] * lanes + lane)
        block.values[place] = block.steps[cell] * best[place] + block.offsets[cell]
      }
    }
    ScaleFit.solve(block, hessian)
  }

  /// Takes over the codes of rows whose error is less than ever.
  private static func keep(
    _ least: inout [Float], _ best: NumberBuffer<Float>, _ codes: NumberBuffer<Float>,
    _ differences: NumberBuffer<Float>, _ gradient: NumberBuffer<Float>, _ columns: Int
  ) {
    let lanes = least.count
    for lane in stride(from: 0, to: lanes, by: 8) {
      var error = RowBlock.Lanes.zero
      for place in stride(from: lane, to: columns * lanes, by: lanes) {
        error += differences.lanes(place) * gradient.lanes(place)
      }
      for i in 0..<8 where error[i] < least[lane + i] {
        least[lane + i] = error[i]
        for place in stride(from: lane + i, to: columns * lanes, by: lanes) {
          best[place] = codes[place]
        }
      }
    }
  }
}
