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
///
/// Heads of v whose block is 32 or more are turned by the weights that make them, which costs nothing
/// and spares their codes the outliers, too: against a Hadamard over all heads behind attention SmolLM2
/// loses 2 % less (w4, KL 0.1338 to 0.1311) and ViT on CIFAR-10 4 to 9 % less. With blocks of 16
/// curta-stories loses as much as before.
public struct Spreading: Equatable, Sendable {
  /// Rows of the model's width: the inputs of attention, feed-forward and head.
  package let model: Int
  /// A head of v where the file's weights turn it (QuaRot's R2), 0 else: attention sums whole rows of
  /// v, so that what it gives arrives turned.
  package let value: Int
  /// Rows of all query heads: the input of the output projection.
  package let attention: Int
  /// Rows of the feed-forward width: the input of the down projection.
  package let feedForward: Int
  /// A head of q and of k.
  package let head: Int

  public init(_ d: DecoderDescription) {
    func rows(_ width: Int) -> Int { d.spreadsRows ? Spreading.block(width) : 0 }
    model = d.turnsResidual ? 0 : rows(d.width)
    let turned = rows(d.headWidth)
    value = turned >= 32 ? turned : 0
    attention = value > 0 ? value : rows(d.queryWidth)
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
    case .value: value
    case .attentionOutput: attention
    case .feedForwardProduct: feedForward
    case .attentionWeights, .residual, .queryRow, .keyRow, .valueRow, .gateRow, .upRow,
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

  /// The block of the rows that the program turns behind attention, those that do not arrive turned.
  var behindAttention: Int { value > 0 ? 0 : attention }

  /// W H / block, for a row x that arrives as H x.
  package static func turned(_ weight: Matrix, block: Int) -> Matrix {
    guard block > 0 else { return weight }
    var result = weight
    hadamard(&result.values, block: block, scale: 1 / Float(block))
    return result
  }

  /// The rows that come out of a product, each through Hadamards over the product's rows: H A times
  /// `scale` of a matrix A [rows][columns].
  package static func spread(_ weight: Matrix, block: Int, scale: Float = 1) -> Matrix {
    guard block > 0 else { return weight }
    var columns = weight.transposed
    hadamard(&columns.values, block: block, scale: scale)
    return columns.transposed
  }

  /// W of `turned(W)`.
  package static func turnedBack(_ weight: Matrix, block: Int) -> Matrix {
    guard block > 0 else { return weight }
    var result = weight
    hadamard(&result.values, block: block, scale: 1)
    return result
  }
}

extension PlannedTensor {
  /// What the file holds in place of `values`: of a weight W, which multiplies rows that arrive turned,
  /// Ho W Hi / block; of a vector b that is added to rows, Ho b.
  package func turned(_ values: Matrix) -> Matrix {
    let inner = Spreading.turned(values, block: block)
    guard role != .bias else { return Spreading.turnedBack(inner, block: outputBlock) }
    return Spreading.spread(inner, block: outputBlock)
  }

  /// The values of `turned(values)`.
  package func turnedBack(_ values: Matrix) -> Matrix {
    let inner = Spreading.turnedBack(values, block: block)
    guard role != .bias else { return Spreading.turned(inner, block: outputBlock) }
    return Spreading.spread(inner, block: outputBlock, scale: 1 / Float(max(outputBlock, 1)))
  }
}
