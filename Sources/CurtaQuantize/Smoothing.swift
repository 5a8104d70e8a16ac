// Factors between channels that make linear layers lose less: AWQ's, and the channel ranges of I&S-ViT.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// Where factors come from: what a channel is measured by, and to which power.
public struct SmoothingChoice: Sendable, Equatable, CustomStringConvertible {
  public enum Measure: String, Sendable {
    /// Root mean square of the channel (AWQ, Lin et al. 2023, takes the mean magnitude).
    case rms
    /// Largest magnitude of the channel: its range, as of SmoothQuant (Xiao et al. 2023) and I&S-ViT
    /// (Zhong et al. 2023), whose re-parameterisation is the power 1.
    case peak
  }

  public var measure: Measure
  public var power: Double

  public init(measure: Measure, power: Double) {
    self.measure = measure
    self.power = power
  }

  public var description: String { "\(measure.rawValue)^\(power)" }

  /// What the search tries.
  public static let all: [SmoothingChoice] =
    [0.2, 0.35, 0.5, 0.65, 0.8, 1].map { SmoothingChoice(measure: .rms, power: $0) }
    + [0.5, 1].map { SmoothingChoice(measure: .peak, power: $0) }
}

/// The channels that several linear layers read, and what is known of them.
///
/// Channel k is divided by r_k and the columns k of the weights are multiplied by it, which changes
/// nothing but the rounding: channels that matter get finer steps.
public struct Smoothing {
  /// Second moments of the channels.
  public var moments: Hessian
  /// Largest magnitudes, [columns].
  public var peaks: [Float]

  public init(moments: Hessian, peaks: [Float]) {
    self.moments = moments
    self.peaks = peaks
  }

  /// r [columns], with the geometric mean of the least and the largest 1, within 1/64…64.
  ///
  /// `shared` [columns] names for every channel the one whose factor it has; nil: its own. Of channels
  /// that share a factor the largest measure counts.
  public func factors(_ choice: SmoothingChoice, shared: [Int]? = nil) -> [Float] {
    var sizes =
      choice.measure == .rms ? moments.diagonal.map { Float($0.squareRoot()) } : peaks
    if let shared {
      var largest = [Float](repeating: 0, count: sizes.count)
      for (k, group) in shared.enumerated() { largest[group] = max(largest[group], sizes[k]) }
      sizes = shared.map { largest[$0] }
    }
    // A channel without input has no size to go by.
    let least = sizes.lazy.filter { $0 > 0 }.min() ?? 1
    let r = sizes.map { powf(max($0, least), Float(choice.power)) }
    let middle = ((r.max() ?? 1) * (r.min() ?? 1)).squareRoot()
    return r.map { min(max($0 / middle, 1 / 64), 64) }
  }

  /// tr(E H Eᵀ) of the errors E of a weight, [rows][columns]: the mean squared error of a token's
  /// outputs, summed over outputs.
  public func outputError(_ error: Matrix) -> Double {
    let h = Matrix(
      rows: moments.columns, columns: moments.columns, values: moments.values.map { Float($0) })
    let product = error.times(transposed: h)
    var sum = 0.0
    for i in error.values.indices { sum += Double(error.values[i]) * Double(product.values[i]) }
    return sum
  }
}
