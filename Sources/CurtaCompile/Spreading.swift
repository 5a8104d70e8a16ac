// Which activations pass a Hadamard before they are quantized, and the weights that undo it.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// Sizes of the Hadamard blocks of a decoder; 0 is none.
///
/// A few channels of a trained model are many times larger than the rest and would set the step of
/// a whole row of int8 codes. A Hadamard spreads each over its block (QuaRot, Ashkboos et al. 2024,
/// here with the norm's weights applied first). The weights that multiply the row are turned the
/// other way when the file is made, so the product stays the same.
public struct Spreading: Equatable, Sendable {
  /// Rows of the model's width: the inputs of attention, feed-forward and head.
  package let model: Int
  /// Rows of all query heads: the input of the output projection.
  package let attention: Int
  /// Rows of the feed-forward width: the input of the down projection.
  package let feedForward: Int
  /// A head of q and of k.
  package let head: Int

  public init(_ d: DecoderDescription) {
    func rows(_ width: Int) -> Int { d.spreadsRows ? Spreading.block(width) : 0 }
    model = rows(d.width)
    attention = rows(d.queryWidth)
    feedForward = rows(d.feedForwardWidth)
    head = Spreading.block(d.headWidth)
  }

  /// The largest power of two up to 256 that divides `width`; below 4 it does not pay.
  package static func block(_ width: Int) -> Int {
    let largest = min(width & -width, 256)
    return largest >= 4 ? largest : 0
  }

  /// The block of the rows that are quantized at a site.
  public subscript(site: ActivationSite) -> Int {
    switch site {
    case .attentionInput, .feedForwardInput, .headInput: model
    case .query, .key: head
    case .attentionOutput: attention
    case .feedForwardProduct: feedForward
    case .value, .attentionWeights, .residual, .queryRow, .keyRow, .valueRow, .gateRow, .upRow,
      .attentionResult,
      .feedForwardResult:
      0
    }
  }

  /// The block of the row that a tensor multiplies.
  package func block(of role: TensorRole) -> Int {
    switch role {
    case .embedding, .head, .query, .key, .value, .gate, .up: model
    case .output: attention
    case .down: feedForward
    case .norm, .bias, .position, .patch: 0
    }
  }

  /// W H / block, for a row x that arrives as H x.
  package static func turned(_ weight: Matrix, block: Int) -> Matrix {
    guard block > 0 else { return weight }
    var result = weight
    hadamard(&result.values, block: block, scale: 1 / Float(block))
    return result
  }

  /// The rows that come out of a product, each through Hadamards over the product's rows: H A of a
  /// matrix A [rows][columns].
  package static func spread(_ weight: Matrix, block: Int) -> Matrix {
    guard block > 0 else { return weight }
    var columns = Matrix(rows: weight.columns, columns: weight.rows)
    for row in 0..<weight.rows {
      for column in 0..<weight.columns { columns[column, row] = weight[row, column] }
    }
    hadamard(&columns.values, block: block, scale: 1)
    var result = weight
    for row in 0..<weight.rows {
      for column in 0..<weight.columns { result[row, column] = columns[column, row] }
    }
    return result
  }

  /// W of `turned(W)`.
  package static func turnedBack(_ weight: Matrix, block: Int) -> Matrix {
    guard block > 0 else { return weight }
    var result = weight
    hadamard(&result.values, block: block, scale: 1)
    return result
  }
}
