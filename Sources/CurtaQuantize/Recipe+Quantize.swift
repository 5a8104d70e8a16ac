// A recipe applied to a tensor.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension Recipe {
  /// Quantizes `weights` [rows][columns] by the rule for its role.
  ///
  /// With `hessian`, the moments of what the tensor multiplies, the recipe's solvers work on it, and
  /// `watch` is told what each step left. A tensor that `rates` names has codes by `RateQuantizer`,
  /// without such a report. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, name: String, role: TensorRole, hessian: SolverHessian? = nil,
    rates: RatePlan? = nil, watch: (([SolvingStep]) -> Void)? = nil
  ) throws(QuantizeError) -> QuantizedTensor {
    if let rates, let weight = rates.tensors[name] {
      return QuantizedTensor(
        name: name,
        .grid(
          try RateQuantizer(lossPerWeight: rates.lossPerWeight)
            .quantize(weights, weight, hessian: hessian, solvers: solvers)))
    }
    let rule = rule(for: role, name: name)
    if rule.bits == 16 {
      return QuantizedTensor(name: name, .wide(try WideQuantizer.quantize(weights)))
    }
    let quantizer = try GridQuantizer(rule, clip: clip)
    let outliers = outliers(for: role, rule)
    guard outliers == nil || !solvers.contains(.adaquant) else {
      throw .unsupported("outliers with the solver adaquant")
    }
    guard let hessian else {
      let grid =
        if let outliers { try quantizer.quantize(weights, outliers: outliers) } else {
          try quantizer.quantize(weights)
        }
      return QuantizedTensor(name: name, .grid(grid))
    }
    if let outliers {
      return QuantizedTensor(
        name: name,
        .grid(
          try quantizer.quantize(
            weights, hessian: hessian, solvers: solvers, outliers: outliers, watch: watch)))
    }
    return QuantizedTensor(
      name: name,
      .grid(
        try quantizer.quantize(weights, hessian: hessian, solvers: solvers, watch: watch)))
  }

  /// Quantizes what `mask` leaves of `weights`, moved to make up for what goes.
  ///
  /// `moments` and `hessian` are those of what the tensor multiplies; solvers work on groups of 32
  /// columns. Throws `QuantizeError`.
  public func quantize(
    _ weights: Matrix, name: String, role: TensorRole, mask: BlockMask, moments: Hessian,
    hessian: SolverHessian
  ) throws(QuantizeError) -> QuantizedTensor {
    let rule = rule(for: role, name: name)
    guard rule.bits < 16 else { throw .unsupported("16 bits with a mask; 2 to 8 are possible") }
    guard !rule.offsets else { throw .unsupported("offsets with a mask") }
    let left = try BlockPruning().compensate(weights, moments, mask)
    let quantizer = try GridQuantizer(rule, clip: clip)
    // A group that is pruned has the step 0, which keeps its codes 0; a row has one step for all.
    let solvers = rule.group == 32 ? solvers : []
    return QuantizedTensor(
      name: name,
      .grid(try quantizer.quantize(left, hessian: hessian, solvers: solvers, mask: .blocks(mask))))
  }
}

extension Recipe {
  /// Quantizes what `prune` leaves of `weights` where that is decided tensor by tensor: by a pattern, or
  /// by columns. `moments` are those of what the tensor multiplies. Codes are rounded to nearest. Throws
  /// `QuantizeError`.
  public func quantize(
    _ weights: Matrix, name: String, role: TensorRole, prune: PruneRule, moments: Hessian
  ) throws(QuantizeError) -> QuantizedTensor {
    let rule = rule(for: role, name: name)
    guard rule.bits < 16 else { throw .unsupported("16 bits with a mask; 2 to 8 are possible") }
    guard !rule.offsets else { throw .unsupported("offsets with a mask") }
    let left: Matrix
    let mask: GridMask
    switch prune.form {
    case .blocks: preconditionFailure("blocks are chosen over all tensors")
    case .pattern(let n, let m):
      let pruned = try PatternPruning(n: n, m: m, score: prune.score).prune(weights, moments)
      var refined = (pruned.weight, pruned.mask)
      if prune.regrow > 0 {
        refined = try DropAndRegrow(rounds: prune.regrow, share: 0.3)
          .refine(weights, moments, pruned.mask)
      }
      (left, mask) = (refined.0, .pattern(refined.1))
    case .columns:
      let share = max(prune.density, prune.floor[role] ?? 0)
      let pruned = try ColumnPruning().prune(
        weights, moments,
        keeping: max(1, Int((share * Double(weights.columns)).rounded())))
      (left, mask) = (pruned.weight, .columns(pruned.columns))
    }
    let quantizer = try GridQuantizer(rule, clip: clip)
    return QuantizedTensor(
      name: name,
      .grid(
        try quantizer.quantize(
          left, importance: moments.diagonal.map(Float.init), mask: mask)))
  }

  /// Quantizes a factor of a weight: by the rule for its role, or in 8 bits with one scale a row.
  package func quantizeFactor(
    _ weights: Matrix, name: String, role: TensorRole, isFine: Bool, hessian: SolverHessian?
  ) throws(QuantizeError) -> QuantizedTensor {
    guard isFine else { return try quantize(weights, name: name, role: role, hessian: hessian) }
    var recipe = self
    recipe.tensors[name] = TensorRule(bits: 8)
    return try recipe.quantize(weights, name: name, role: role, hessian: hessian)
  }

  /// The outliers of a tensor that has the rule `rule`: those of the layers' weights in 2 to 8 bits.
  public func outliers(for role: TensorRole, _ rule: TensorRule) -> OutlierRule? {
    switch role {
    case .query, .key, .value, .output, .gate, .up, .down: rule.bits < 16 ? outliers : nil
    case .embedding, .head, .position, .patch, .norm, .bias: nil
    }
  }

  /// Bytes that a tensor of that role and shape takes before compression with the rule `rule`.
  public func byteSize(rows: Int, columns: Int, role: TensorRole, _ rule: TensorRule) -> Int {
    let base = rule.byteSize(rows: rows, columns: columns)
    guard let outliers = outliers(for: role, rule) else { return base }
    // Rows without groups have a scale then.
    let scales = rule.group == 0 && !rule.offsets ? rows : 0
    return base + scales + outliers.byteSize(rows: rows, columns: columns)
  }
}

extension GridQuantizer {
  /// What a rule of 2 to 8 bits says.
  public init(_ rule: TensorRule, clip: ClipSearch = .search) throws(QuantizeError) {
    try self.init(bits: rule.bits, group: rule.group, clip: clip, hasOffsets: rule.offsets)
  }
}

extension TensorRule {
  /// Streams that a tensor has in a file.
  package var streams: Int { bits == 16 ? 2 : offsets ? 4 : group == 0 ? 2 : 3 }

  /// Bytes that a tensor of that shape takes before compression.
  public func byteSize(rows: Int, columns: Int) -> Int {
    if bits == 16 { return rows * columns * 2 + rows * 2 }
    // A row with an offset has a scale of its own as groups do.
    let groups = group == 0 ? (offsets ? 1 : 0) : (columns + group - 1) / group
    return rows * ((columns + 31) / 32) * 4 * bits + rows * 2 + rows * groups * (offsets ? 3 : 1)
  }
}
