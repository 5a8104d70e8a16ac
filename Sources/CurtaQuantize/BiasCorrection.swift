// What a bias adds so that quantized weights give the outputs that they should on average.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// Bias correction (Nagel et al. 2019, arXiv 1906.04721; for transformers in place of the batch norms'
/// statistics that AdaQuant tunes, Hubara et al. 2021, arXiv 2006.10518).
///
/// A layer gives Ŵ x + b̂ where W x + b was wanted. The bias of least squared error is b + (W − Ŵ) μ,
/// and with it that error is the one by the moments about the mean, (W − Ŵ) (H − μ μᵀ) (W − Ŵ)ᵀ
/// (`Hessian.centred`): solvers that are given those find the weights that are best beside it.
public enum BiasCorrection {
  /// E[W (x + Δ) + δ − Ŵ x], [rows]: what a bias has to add for weights W [rows][columns] with the codes
  /// Ŵ, inputs x with the `mean` μ [columns], float inputs x + Δ with the mean `drift` of Δ [columns],
  /// and a sum that the outputs enter and that lies `behind` [rows] of the float one on average.
  public static func shift(
    of weights: Matrix, quantized: Matrix, mean: [Double], drift: [Double]? = nil,
    behind: [Double]? = nil
  ) -> [Float] {
    let (rows, columns) = (weights.rows, weights.columns)
    precondition(quantized.rows == rows && quantized.columns == columns && mean.count == columns)
    precondition(drift.map { $0.count == columns } ?? true)
    precondition(behind.map { $0.count == rows } ?? true)
    return (0..<rows).map { row in
      var sum = behind?[row] ?? 0
      for j in 0..<columns {
        let place = row * columns + j
        let wanted = Double(weights.values[place])
        sum += (wanted - Double(quantized.values[place])) * mean[j]
        if let drift { sum += wanted * drift[j] }
      }
      return Float(sum)
    }
  }
}
