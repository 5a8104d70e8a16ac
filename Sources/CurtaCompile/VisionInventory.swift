// Which tensors a vision transformer's file holds, in which order and under which names.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// A tensor outside the layers of a vision transformer, in the order of the file: what comes before
/// the layers, then what comes behind them.
enum VisionPart: String, CaseIterable {
  case projection
  case projectionBias = "projection_bias"
  case prefix
  case positions
  case firstNorm = "first_norm"
  case firstNormBias = "first_norm_bias"
  case finalNorm = "final_norm"
  case finalNormBias = "final_norm_bias"
  case hidden
  case hiddenBias = "hidden_bias"
  case head
  case headBias = "head_bias"

  var isFirst: Bool {
    switch self {
    case .projection, .projectionBias, .prefix, .positions, .firstNorm, .firstNormBias: true
    default: false
    }
  }

  var role: TensorRole {
    switch self {
    case .projection: .patch
    case .firstNorm, .finalNorm: .norm
    case .hidden, .head: .head
    case .projectionBias, .prefix, .positions, .firstNormBias, .finalNormBias, .hiddenBias,
      .headBias:
      .bias
    }
  }

  /// Its values; nil where the model has none.
  func values(_ ends: VisionEnds) -> Matrix? {
    switch self {
    case .projection: ends.projection.weight
    case .projectionBias: ends.projection.bias.map { Matrix(row: $0) }
    case .prefix: ends.prefix
    case .positions: ends.positions
    case .firstNorm: ends.firstNorm.map { Matrix(row: $0.weight) }
    case .firstNormBias: ends.firstNorm?.bias.map { Matrix(row: $0) }
    case .finalNorm: ends.finalNorm.map { Matrix(row: $0.weight) }
    case .finalNormBias: ends.finalNorm?.bias.map { Matrix(row: $0) }
    case .hidden: ends.hidden?.weight
    case .hiddenBias: ends.hidden?.bias.map { Matrix(row: $0) }
    case .head: ends.head?.weight
    case .headBias: ends.head?.bias.map { Matrix(row: $0) }
    }
  }

  /// Blocks of the Hadamard of the rows that it multiplies.
  fileprivate func block(_ d: VisionDescription) -> Int {
    switch self {
    case .hidden: Spreading(d.body).model
    case .head: d.headWidth.map { Spreading.block($0) } ?? Spreading(d.body).model
    default: 0
    }
  }
}

/// The tensors of a vision transformer in the order of the file, and where each is.
struct VisionInventory {
  let tensors: [PlannedTensor]
  /// What there is before and behind the layers.
  let firstParts: [VisionPart]
  let lastParts: [VisionPart]
  let layers: LayerPlaces
  private let layerCount: Int

  init(_ vision: FoldedVision, lowRank: LowRankRule? = nil) {
    let (d, body) = (vision.d, vision.d.body)
    let present = VisionPart.allCases.filter { $0.values(vision.ends) != nil }
    func planned(_ part: VisionPart) -> PlannedTensor {
      let values = part.values(vision.ends)
      return PlannedTensor(
        name: part.rawValue, role: part.role, rows: values?.rows ?? 0,
        columns: values?.columns ?? 0, block: part.block(d))
    }
    firstParts = present.filter(\.isFirst)
    lastParts = present.filter { !$0.isFirst }
    let layerParts = LayerPart.present(in: body.parts)
    let spreading = Spreading(body)
    var tensors = firstParts.map(planned)
    for layer in 0..<body.layers {
      tensors += layerParts.map { $0.planned(body, spreading, layer: layer) }
    }
    tensors += lastParts.map(planned)
    var layers = LayerPlaces(parts: layerParts, first: firstParts.count, phases: tensors.count)
    layers.factor(&tensors, layers: body.layers, lowRank)
    self.layers = layers
    self.tensors = tensors
    layerCount = body.layers
  }

  /// Place of a tensor outside the layers; nil where the model has none.
  func index(_ part: VisionPart) -> Int? {
    if let place = firstParts.firstIndex(of: part) { return place }
    return lastParts.firstIndex(of: part).map {
      firstParts.count + layerCount * layers.parts.count + $0
    }
  }
}
