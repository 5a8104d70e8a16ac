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

  /// Bytes of all tensors; header, directory, padding and program come on top.
  public var tensorBytes: Int { tensors.reduce(0) { $0 + $1.bytes } }

  /// The plan of a checkpoint, whose tensors are not read. Throws `ConversionError` or
  /// `ImportError`.
  public init(_ checkpoint: Checkpoint, recipe: Recipe) throws {
    let d = checkpoint.source.description.withoutNormBiases
    try d.checkLimits()
    tensors = Self.tensors(TensorInventory(d, lowRank: recipe.lowRank).tensors, recipe)
    tokenizerBytes = try tokenizerSection(of: checkpoint).count
    parameters = checkpoint.source.parameterCount
    float32Bytes = checkpoint.floatBytes
  }

  /// The plan of a vision transformer. Throws `ConversionError`.
  init(_ checkpoint: VisionCheckpoint, recipe: Recipe) throws {
    let weights = checkpoint.weights
    try weights.description.checkLimits()
    tensors = Self.tensors(
      VisionInventory(FoldedVision(weights), lowRank: recipe.lowRank).tensors, recipe)
    tokenizerBytes = 0
    parameters = weights.parameterCount
    float32Bytes = 4 * weights.parameterCount
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
