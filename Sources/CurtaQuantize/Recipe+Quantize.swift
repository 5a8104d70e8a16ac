// A recipe applied to a tensor.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension Recipe {
  /// Quantizes `weights` [rows][columns] by the rule for its role.
  ///
  /// With `hessian`, the moments of what the tensor multiplies, the recipe's solvers work on it.
  /// Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, name: String, role: TensorRole, hessian: SolverHessian? = nil
  ) throws(QuantizeError) -> QuantizedTensor {
    let rule = rule(for: role)
    if rule.bits == 16 {
      return QuantizedTensor(name: name, .wide(try WideQuantizer.quantize(weights)))
    }
    let quantizer = try GridQuantizer(bits: rule.bits, group: rule.group, clip: clip)
    guard let hessian else {
      return QuantizedTensor(name: name, .grid(try quantizer.quantize(weights)))
    }
    return QuantizedTensor(
      name: name,
      .grid(try quantizer.quantize(weights, hessian: hessian, solvers: solvers)))
  }

  /// Bytes that a tensor of that shape and role takes before compression.
  public func byteSize(rows: Int, columns: Int, role: TensorRole) -> Int {
    let rule = rule(for: role)
    if rule.bits == 16 { return rows * columns * 2 + rows * 2 }
    let groups = rule.group == 0 ? 0 : (columns + rule.group - 1) / rule.group
    return rows * ((columns + 31) / 32) * 4 * rule.bits + rows * 2 + rows * groups
  }
}
