// What a conversion will give, known before it starts: every tensor with its size.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor

/// Sizes of a file before compression, from the shapes alone.
public struct ConversionPlan: Sendable, Equatable {
  public struct Tensor: Sendable, Equatable {
    public var name: String
    public var rows: Int
    public var columns: Int
    /// Bits of a code: 2…8, 16 or 32.
    public var bits: Int
    /// Columns in a group; 0 is the whole row.
    public var group: Int
    /// Bytes of all its streams.
    public var bytes: Int
  }

  public var tensors: [Tensor]
  public var tokenizerBytes: Int
  public var parameters: Int
  /// Bytes of all parameters as float32.
  public var float32Bytes: Int

  /// What a calibrated recipe will look at; nil for one that rounds to nearest.
  public var measuring: Measuring?

  /// What a calibrated conversion has in memory beside a layer and the packed tensors.
  public struct Measuring: Sendable, Equatable {
    /// Rows of text or images, at most.
    public var rows: Int
    /// Bytes of the rows of the residual stream, on their way through a layer; where layers are learned,
    /// of those of the float model too.
    public var rowBytes: Int
    /// Bytes of the second moments of one layer's inputs, and of what solvers make of them.
    public var momentBytes: Int
    /// Whether blocks are left out by what is measured, so that sizes are those before.
    public var prunes: Bool

    init(_ d: DecoderDescription, rows: Int, recipe: Recipe) {
      self.rows = rows
      rowBytes = (recipe.blocks == nil ? 2 : 4) * 4 * rows * d.width
      let inputs =
        [d.width, d.queryWidth, d.feedForwardWidth]
        + (d.parts.contains(.sharedNorm) ? [] : [d.width])
      // `Hessian` and `SolverHessian`.
      momentBytes = inputs.reduce(0) { $0 + (8 + 16) * $1 * $1 }
      prunes = recipe.prune != nil
    }
  }

  /// Bytes of all tensors; header, directory, padding and program come on top.
  public var tensorBytes: Int { tensors.reduce(0) { $0 + $1.bytes } }

  /// The plan of a checkpoint, whose tensors are not read. Throws `ConversionError` or
  /// `ImportError`.
  public init(
    _ checkpoint: Checkpoint, recipe: Recipe, calibration: CalibrationInput = CalibrationInput()
  ) throws {
    var d = checkpoint.source.description.withoutNormBiases
    try d.checkLimits()
    if recipe.rotates {
      try d.checkRotation()
      d = d.turningResidual
    }
    tensors = Self.tensors(TensorInventory(d, lowRank: recipe.lowRank).tensors, recipe)
    tokenizerBytes = try tokenizerSection(of: checkpoint).count
    parameters = checkpoint.source.parameterCount
    float32Bytes = checkpoint.floatBytes
    if recipe.isCalibrated {
      measuring = Measuring(d, rows: calibration.tokens, recipe: recipe)
    }
  }

  /// The plan of a vision transformer. Throws `ConversionError`.
  init(
    _ checkpoint: VisionCheckpoint, recipe: Recipe, calibration: CalibrationInput
  ) throws {
    let weights = checkpoint.weights
    try weights.description.checkLimits()
    if recipe.rotates { try weights.description.checkRotation() }
    tensors = Self.tensors(
      VisionInventory(FoldedVision(weights), lowRank: recipe.lowRank).tensors, recipe)
    tokenizerBytes = 0
    parameters = weights.parameterCount
    float32Bytes = 4 * weights.parameterCount
    if recipe.isCalibrated {
      let d = weights.description
      let images = calibration.images?.count ?? VisionCalibration.drawn(d).count
      measuring = Measuring(d.body, rows: images * d.rows, recipe: recipe)
    }
  }

  private static func tensors(_ planned: [PlannedTensor], _ recipe: Recipe) -> [Tensor] {
    planned.map { tensor in
      guard let role = tensor.role else {
        return Tensor(
          name: tensor.name, rows: tensor.rows, columns: tensor.columns, bits: 32, group: 0,
          bytes: 4 * tensor.rows * tensor.columns)
      }
      let rule = tensor.isFine ? TensorRule(bits: 8) : recipe.rule(for: role, name: tensor.name)
      return Tensor(
        name: tensor.name, rows: tensor.rows, columns: tensor.columns, bits: rule.bits,
        group: rule.group,
        bytes: recipe.byteSize(rows: tensor.rows, columns: tensor.columns, role: role, rule))
    }
  }
}
