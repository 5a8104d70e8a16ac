// The moments of what enters the linear layers of one layer of a model.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// Gathers X Xᵀ where linear layers read, once for all that read the same rows, and how far these
/// rows and the residual stream are from those of the float model.
///
/// The rows are those of the file's program: turned by the Hadamard of the site. All of them serve
/// both the solvers and the choice between a solver's result and what was there before: where half of
/// the tokens is held out for the choice, more is lost than is won (SmolLM2-135M, gptq, 4 096 tokens:
/// KL 0.139; with a choice for each row on the other half 0.150, for each tensor 0.165).
final class InputMoments {
  private let spreading: Spreading
  /// Whether a norm stands between what a block gives and the sum, which then says nothing about it.
  private let sumsAreNormed: Bool
  private var moments: [ActivationSite: Hessian] = [:]
  private var prepared: [Prepared: SolverHessian] = [:]
  private var drifts: [ActivationSite: CrossMoments] = [:]
  private var streamDrifts: [ActivationSite: CrossMoments] = [:]

  private struct Prepared: Hashable {
    let site: ActivationSite
    let isCentred: Bool
  }

  /// Solvers would otherwise fit the noise of few tokens.
  private static let damping = 0.01

  /// `moments` are those of rows that are turned already.
  init(
    _ spreading: Spreading, _ moments: [ActivationSite: Hessian] = [:], sumsAreNormed: Bool = false
  ) {
    self.spreading = spreading
    self.moments = moments
    self.sumsAreNormed = sumsAreNormed
  }

  /// Adds `rows` [tokens][columns] that reach a site. Throws `QuantizeError` for rows that are not
  /// finite.
  func gather(_ rows: Matrix, at site: ActivationSite) throws(QuantizeError) {
    try moments[site, default: Hessian(columns: rows.columns)]
      .accumulate(rows: turned(rows, at: site))
  }

  /// The same of a passage, with what the float model has in its place. Throws `QuantizeError`.
  func gather(
    _ passage: LayerPassage, exact: LayerPassage, at site: ActivationSite
  ) throws(QuantizeError) {
    try gather(passage.rows, at: site)
    let rows = turned(passage.rows, at: site)
    drifts[site, default: CrossMoments(rows: rows.columns, columns: rows.columns)].accumulate(
      left: turned(exact.rows.minus(passage.rows), at: site), right: rows)
    guard !sumsAreNormed, site == .attentionOutput || site == .feedForwardProduct else { return }
    let behind = exact.stream.minus(passage.stream)
    streamDrifts[site, default: CrossMoments(rows: behind.columns, columns: rows.columns)]
      .accumulate(left: behind, right: rows)
  }

  private func turned(_ rows: Matrix, at site: ActivationSite) -> Matrix {
    var result = rows
    let block = spreading[site]
    if block > 0 { hadamard(&result.values, block: block, scale: 1) }
    return result
  }

  /// What was seen of the rows that a tensor multiplies, ready for the solvers, `centred` about their
  /// mean for weights beside a corrected bias; nil for a tensor that multiplies none. Throws
  /// `QuantizeError`.
  func hessian(
    for role: TensorRole, centred: Bool = false
  ) throws(QuantizeError) -> SolverHessian? {
    guard let site = site(of: role), let seen = gathered(for: role, centred: centred) else {
      return nil
    }
    let place = Prepared(site: site, isCentred: centred)
    if let ready = prepared[place] { return ready }
    let ready = try SolverHessian(seen.damped(by: InputMoments.damping))
    prepared[place] = ready
    return ready
  }

  /// All that was seen.
  var all: [ActivationSite: Hessian] { moments }

  /// The same as they were gathered.
  func gathered(for role: TensorRole, centred: Bool = false) -> Hessian? {
    guard let site = site(of: role), let seen = moments[site] else { return nil }
    return centred ? seen.centred : seen
  }

  /// What a tensor should hold, turned as the rows are, for the float model's outputs to come of the
  /// rows that were seen: itself, where the float model's rows were not.
  func target(_ weights: Matrix, for role: TensorRole, centred: Bool = false) -> Matrix {
    guard let site = site(of: role), let mean = moments[site]?.mean, let drift = drifts[site],
      let seen = gathered(for: role, centred: centred)
    else { return weights }
    let behind = streamDrifts[site]
    return weights.aimed(
      from: seen.damped(by: InputMoments.damping), drift: centred ? drift.centred(mean) : drift,
      behind: centred ? behind?.centred(mean) : behind)
  }

  /// What the bias beside `weights`, turned as the rows are, has to add where the file has `quantized`
  /// in their place; nil for a tensor that multiplies no rows.
  func biasShift(_ weights: Matrix, quantized: Matrix, for role: TensorRole) -> [Float]? {
    guard let site = site(of: role), let seen = moments[site] else { return nil }
    return BiasCorrection.shift(
      of: weights, quantized: quantized, mean: seen.mean, drift: drifts[site]?.mean,
      behind: streamDrifts[site]?.mean)
  }
}

extension InputMoments {
  /// Where the rows that a tensor multiplies are.
  private func site(of role: TensorRole) -> ActivationSite? {
    switch role {
    case .query, .key, .value: .attentionInput
    case .output: .attentionOutput
    case .gate, .up:
      // Parallel branches may share one norm.
      moments[.feedForwardInput] != nil ? .feedForwardInput : .attentionInput
    case .down: .feedForwardProduct
    case .embedding, .head: .headInput
    case .norm, .bias, .position, .patch: nil
    }
  }
}
