// Codes and scales that lose least at a layer's outputs: the solvers, one after the other.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Dispatch

/// A way to better the integers of a grid by the second moments of the layer's input.
///
/// Each takes what the one before left, and is measured by Σ (w − ŵ) H (w − ŵ)ᵀ in double
/// precision, and the bits of codes that have a price: rows that it does not better stay as they were.
public enum Solver: String, Sendable, Hashable, CaseIterable, Codable {
  /// New codes in one pass over the columns (see `GPTQ`).
  case gptq
  /// 20 sweeps over the codes, one at a time (see `QuantEase`); with outliers 20 more, and before each
  /// 10 new values for these (see `OverlayFit`).
  case quantease
  /// New scales for the codes and new codes for the scales, in turn, three times: the alternation of
  /// decoupleQ (Guo et al. 2024, arXiv 2404.12759) with `ScaleFit` and 3 sweeps of `QuantEase`.
  case decoupleq
  /// Weights and scales learned through their rounding, 150 iterations (see `AdaQuant`). Not with
  /// outliers.
  case adaquant

  /// Those that lose least together, from the coarsest to the finest.
  public static let best: [Solver] = [.gptq, .quantease, .decoupleq]
}

extension GridQuantizer {
  /// Quantizes `weights` [rows][columns] for inputs with the moments `hessian`.
  ///
  /// Starts from the searched grid with the importance diag(H), as `quantize(_:importance:)` does,
  /// and runs `solvers` on it in their order. Columns without any input (H_jj = 0) get code 0. The
  /// same integers on any number of cores; OpenBLAS may round otherwise on another processor. `watch`
  /// is told what each step left. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, hessian: SolverHessian, solvers: [Solver],
    watch: (([SolvingStep]) -> Void)? = nil
  ) throws(QuantizeError) -> GridTensor {
    let importance = try hessian.importance(for: weights)
    var tensor = try quantize(weights, importance: importance)
    tensor.solve(weights, hessian, solvers, watch: watch)
    return tensor
  }

  /// The same for moments that no other layer shares. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, hessian: Hessian, solvers: [Solver]
  ) throws(QuantizeError) -> GridTensor {
    try quantize(weights, hessian: SolverHessian(hessian), solvers: solvers)
  }
}

extension SolverHessian {
  /// How much each column of `weights` counts, [columns]: diag(H), the largest 1. Throws
  /// `QuantizeError` where it has other columns.
  func importance(for weights: Matrix) throws(QuantizeError) -> [Float] {
    guard weights.columns == columns else {
      throw .unsupported("second moments of \(columns) inputs for \(weights.columns) columns")
    }
    let largest = diagonal.max() ?? 0
    return diagonal.map { largest > 0 ? Float($0 / largest) : 1 }
  }
}

extension GridTensor {
  /// Σ (w − ŵ) H (w − ŵ)ᵀ over all rows: the mean squared error of a token's outputs, summed over
  /// the outputs.
  public func outputError(of weights: Matrix, _ hessian: SolverHessian) -> Double {
    outputErrors(of: weights, hessian).reduce(0, +)
  }

  /// (w − ŵ) H (w − ŵ)ᵀ of every row, [rows].
  public func outputErrors(of weights: Matrix, _ hessian: SolverHessian) -> [Double] {
    inBlocks { rows in
      RowBlock(self, weights, hessian, rows: rows).errors(hessian)
    }.flatMap { $0 }
  }

  /// Σ (w − ŵ)² of every row, [rows].
  public func squaredErrors(of weights: Matrix) -> [Double] {
    let values = dequantized()
    return (0..<rows).map { row in
      zip(weights.row(row), values.row(row)).reduce(0.0) {
        $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
      }
    }
  }

  /// Runs `solvers` on every row. The exponent, bits and groups stay.
  ///
  /// `price`, of 8-bit codes, gives for a row the bits of all codes and the error for one bit less.
  /// `watch` is told what each step left.
  mutating func solve(
    _ weights: Matrix, _ hessian: SolverHessian, _ solvers: [Solver],
    price: (@Sendable (Int) -> (bits: NumberBuffer<Float>, errorPerBit: Double))? = nil,
    watch: (([SolvingStep]) -> Void)? = nil
  ) {
    let isWatched = watch != nil
    let solved = inBlocks { rows in
      let block = RowBlock(self, weights, hessian, rows: rows)
      if let price {
        let errors = NumberBuffer<Float>(block.lanes)
        for (lane, row) in rows.enumerated() {
          // Finite, so that the bits of a tensor without effect still count.
          errors[lane] = Float(min(price(row).errorPerBit * hessian.unit, 1e30))
        }
        block.prices = RowPrices(bits: price(rows.lowerBound).bits, errorPerBit: errors)
      }
      let trace = block.run(solvers, hessian, isWatched: isWatched)
      return (part: block.part(hessian), trace: trace)
    }
    let parts = solved.map(\.part)
    watch?(SolvingTrace.steps(solved.compactMap(\.trace), solvers))
    codes = parts.flatMap(\.codes)
    mantissas = parts.flatMap(\.mantissas)
    if groupScales != nil { groupScales = parts.flatMap { $0.groupScales ?? [] } }
    if groupOffsets != nil { groupOffsets = parts.flatMap { $0.groupOffsets ?? [] } }
    if !overlays.isEmpty { overlays[0].values = parts.flatMap(\.added) }
  }

  /// `body` of every block of rows, on all cores.
  private func inBlocks<Result: Sendable>(_ body: (Range<Int>) -> Result) -> [Result] {
    let width = RowBlock.width
    return SingleThreadedBLAS.run {
      concurrentMap((rows + width - 1) / width) { body($0 * width..<min(rows, ($0 + 1) * width)) }
    }
  }
}

extension RowBlock {
  /// Runs `solvers`, each on what the one before left. No row gets worse. What each left, if that
  /// `isWatched`.
  @discardableResult
  func run(
    _ solvers: [Solver], _ hessian: SolverHessian, isWatched: Bool = false
  ) -> SolvingTrace? {
    var costs = costs(hessian)
    var error: Double { (prices == nil ? costs : errors(hessian)).reduce(0, +) }
    var trace = isWatched ? SolvingTrace(energy: energy(hessian), error: error) : nil
    let clock = ContinuousClock()
    func fitOverlay() {
      if hasOverlay { better(&costs, hessian) { OverlayFit.solve($0, hessian) } }
    }
    func descend() {
      better(&costs, hessian) { QuantEase.solve($0, hessian, sweeps: 3, escape: false) }
    }
    for solver in solvers {
      let start = clock.now
      fitOverlay()
      switch solver {
      case .gptq: better(&costs, hessian) { GPTQ.solve($0, hessian) }
      case .quantease:
        better(&costs, hessian) { QuantEase.solve($0, hessian, sweeps: 20, escape: true) }
        for _ in 0..<(hasOverlay ? 2 : 0) {
          fitOverlay()
          better(&costs, hessian) { QuantEase.solve($0, hessian, sweeps: 10, escape: true) }
        }
      case .decoupleq:
        for _ in 0..<3 {
          better(&costs, hessian) { ScaleFit.solve($0, hessian) }
          descend()
          fitOverlay()
        }
      case .adaquant:
        precondition(!hasOverlay, "AdaQuant with outliers")
        better(&costs, hessian) { AdaQuant.solve($0, hessian, iterations: 150) }
      }
      if solver == solvers.last { fitOverlay() }
      let duration = clock.now - start
      trace?.append(error: error, duration)
    }
    if solvers.isEmpty { fitOverlay() }
    return trace
  }

  /// Runs `solve`; rows that do not cost less than `costs` [rows] get their former state back.
  private func better(
    _ costs: inout [Double], _ hessian: SolverHessian, _ solve: (RowBlock) -> Void
  ) {
    let before = RowBlock(copying: self)
    solve(self)
    for (lane, cost) in self.costs(hessian).enumerated() {
      if cost < costs[lane] {
        costs[lane] = cost
      } else {
        take(lane, from: before)
      }
    }
  }
}
