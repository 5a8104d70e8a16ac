// Which tensors a decoder's file holds, in which order and under which names.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// A tensor that a file will hold.
package struct PlannedTensor: Sendable {
  package let name: String
  /// nil for the phases of rotary positions, which are constants.
  package let role: TensorRole?
  package let rows: Int
  package let columns: Int
  /// Size of the Hadamard blocks of the rows that it multiplies; 0 is none.
  package var block: Int
  /// The same of the rows that it gives, or is added to.
  package var outputBlock = 0
  /// Whether it has 8 bits, whatever the recipe's rule for its role.
  package var isFine = false
  /// Of a bias: the weight before it, whose outputs it is added to.
  package var biasOf: TensorRole?
}

/// The two tensors that a weight is, or that are added to it.
package struct FactorPlaces: Sendable, Equatable {
  package let left: Int
  package let right: Int
  /// Columns of the left and rows of the right one.
  package let rank: Int
}

/// Where the tensors of the layers are in a file.
package struct LayerPlaces: Sendable {
  /// What every layer has, in the order of the file.
  package let parts: [LayerPart]
  /// Place of the first tensor of the first layer.
  let first: Int
  /// Place of the first table of phases.
  let phases: Int
  /// Factors of the weights, where a recipe has them, by the place of the weight.
  private(set) var factors: [Int: FactorPlaces] = [:]

  init(parts: [LayerPart], first: Int, phases: Int) {
    self.parts = parts
    self.first = first
    self.phases = phases
  }

  /// Makes the weights among `tensors`, which are all of a file, products of two; their right factors,
  /// and with a base the left ones, come behind all others.
  mutating func factor(_ tensors: inout [PlannedTensor], layers: Int, _ rule: LowRankRule?) {
    guard let rule else { return }
    for layer in 0..<layers {
      for part in parts where part.isWeight {
        guard let place = index(part, layer: layer) else { continue }
        let whole = tensors[place]
        let rank = rule.rank(rows: whole.rows, columns: whole.columns)
        func factor(_ side: String, _ rows: Int, _ columns: Int, _ block: Int) -> PlannedTensor {
          PlannedTensor(
            name: "\(whole.name).\(side)", role: whole.role, rows: rows, columns: columns,
            block: block, isFine: rule.keepsBase)
        }
        var left = factor("left", whole.rows, rank, Spreading.block(rank))
        left.outputBlock = whole.outputBlock
        var leftPlace = place
        if rule.keepsBase {
          leftPlace = tensors.count
          tensors.append(left)
        } else {
          tensors[place] = left
        }
        factors[place] = FactorPlaces(left: leftPlace, right: tensors.count, rank: rank)
        tensors.append(factor("right", rank, whole.columns, whole.block))
      }
    }
  }

  /// Factors of a weight of a layer; nil where it is one tensor.
  func factors(_ part: LayerPart, layer: Int) -> FactorPlaces? {
    index(part, layer: layer).flatMap { factors[$0] }
  }

  /// Place of a tensor of a layer; nil where there is none.
  package func index(_ part: LayerPart, layer: Int) -> Int? {
    parts.firstIndex(of: part).map { first + layer * parts.count + $0 }
  }

  /// Place of the first tensor of a layer.
  func first(of layer: Int) -> Int { first + layer * parts.count }

  /// Places of the tensors of a layer.
  func places(of layer: Int) -> Range<Int> { first(of: layer)..<first(of: layer + 1) }

  /// Place of the phases of a rotary table.
  func phases(_ table: Int) -> Int { phases + table }
}

/// The tensors of a decoder in the order of the file, and where each is.
///
/// Its norms have no bias (`DecoderSource.foldingNormBiases`).
package struct TensorInventory: Sendable {
  package let tensors: [PlannedTensor]
  package let firstParts: [EndPart]
  package let layers: LayerPlaces
  package let lastParts: [EndPart]
  private let d: DecoderDescription

  package init(_ d: DecoderDescription, lowRank: LowRankRule? = nil) {
    self.d = d
    firstParts = [.embedding, .positions].filter { $0.isPresent(in: d) }
    let layerParts = LayerPart.present(in: d.parts)
    lastParts = [.finalNorm, .head, .headBias].filter { $0.isPresent(in: d) }
    let spreading = Spreading(d)
    var tensors = firstParts.map { $0.planned(d, spreading) }
    for layer in 0..<d.layers {
      tensors += layerParts.map { $0.planned(d, spreading, layer: layer) }
    }
    tensors += lastParts.map { $0.planned(d, spreading) }
    var layers = LayerPlaces(parts: layerParts, first: firstParts.count, phases: tensors.count)
    for (index, table) in d.rotary.enumerated() {
      tensors.append(
        PlannedTensor(
          name: d.rotary.count == 1 ? "rotary_phases" : "rotary_phases.\(index)", role: nil,
          rows: 1, columns: table.frequencies.count, block: 0))
    }
    layers.factor(&tensors, layers: d.layers, lowRank)
    self.layers = layers
    self.tensors = tensors
  }

  /// Place of a tensor of a layer; nil where the decoder has none.
  package func index(_ part: LayerPart, layer: Int) -> Int? {
    layers.index(part, layer: layer)
  }

  /// Place of a tensor outside the layers; nil where the decoder has none.
  package func index(_ part: EndPart) -> Int? {
    if let place = firstParts.firstIndex(of: part) { return place }
    let last = lastParts.firstIndex(of: part)
    return last.map { firstParts.count + d.layers * layerParts.count + $0 }
  }

  package var layerParts: [LayerPart] { layers.parts }
  package var embedding: Int { 0 }
  /// A tied head is the embedding.
  package var head: Int { index(.head) ?? embedding }
}

/// A tensor outside the layers.
package enum EndPart: String {
  case embedding
  case positions
  case finalNorm = "final_norm"
  case head
  case headBias = "head_bias"

  package func isPresent(in d: DecoderDescription) -> Bool {
    switch self {
    case .embedding, .finalNorm: true
    case .positions: d.parts.contains(.positions)
    case .head: !d.tiedHead
    case .headBias: d.parts.contains(.headBias)
    }
  }

  package func planned(_ d: DecoderDescription, _ spreading: Spreading) -> PlannedTensor {
    let (role, rows, columns): (TensorRole, Int, Int) =
      switch self {
      case .embedding: (.embedding, d.vocabularySize, d.width)
      case .positions: (.position, d.contextLength, d.width)
      case .finalNorm: (.norm, 1, d.width)
      case .head: (.head, d.vocabularySize, d.width)
      case .headBias: (.bias, 1, d.vocabularySize)
      }
    return PlannedTensor(
      name: rawValue, role: role, rows: rows, columns: columns, block: spreading.block(of: role))
  }

  /// Its values; the decoder has it.
  package func values(_ ends: DecoderEnds, _ d: DecoderDescription) -> Matrix {
    switch self {
    case .embedding: ends.embedding
    case .positions: ends.positions!.taking(d.contextLength)
    case .finalNorm: Matrix(row: ends.finalNorm.weight)
    case .head: ends.head!
    case .headBias: Matrix(row: ends.headBias!)
    }
  }

  /// Puts values read back from a file in their place.
  package func set(_ values: Matrix, in ends: inout DecoderEnds) {
    switch self {
    case .embedding: ends.embedding = values
    case .positions: ends.positions = values
    case .finalNorm: ends.finalNorm = NormLayer(values.values)
    case .head: ends.head = values
    case .headBias: ends.headBias = values.values
    }
  }
}

/// A tensor of a layer, in the order of the file.
package enum LayerPart: String, CaseIterable {
  case attentionNorm = "attention_norm"
  case attentionNormBias = "attention_norm_bias"
  case query
  case queryBias = "query_bias"
  case queryNorm = "query_norm"
  case key
  case keyBias = "key_bias"
  case keyNorm = "key_norm"
  case value
  case valueBias = "value_bias"
  case output
  case outputBias = "output_bias"
  case attentionPostNorm = "attention_post_norm"
  case feedForwardNorm = "feed_forward_norm"
  case feedForwardNormBias = "feed_forward_norm_bias"
  case gate
  case gateBias = "gate_bias"
  case up
  case upBias = "up_bias"
  case down
  case downBias = "down_bias"
  case feedForwardPostNorm = "feed_forward_post_norm"

  /// What layers have whose norms' biases are folded where they can be.
  static func present(in parts: DecoderParts) -> [LayerPart] {
    allCases.filter { $0.isPresent(in: parts) }
  }

  package func isPresent(in parts: DecoderParts) -> Bool {
    switch self {
    case .attentionNorm, .query, .key, .value, .output, .up, .down: true
    case .attentionNormBias, .feedForwardNormBias:
      parts.isSuperset(of: [.normBias, .normsBehind])
    case .queryBias: parts.contains(.queryBias)
    case .keyBias: parts.contains(.keyBias)
    case .valueBias: parts.contains(.valueBias)
    case .outputBias: parts.contains(.outputBias)
    case .queryNorm, .keyNorm: parts.contains(.headNorms)
    case .attentionPostNorm, .feedForwardPostNorm: parts.contains(.postNorms)
    case .feedForwardNorm: !parts.contains(.sharedNorm)
    case .gate: parts.contains(.gate)
    case .gateBias: parts.contains(.gateBias)
    case .upBias: parts.contains(.upBias)
    case .downBias: parts.contains(.downBias)
    }
  }

  package func planned(
    _ d: DecoderDescription, _ spreading: Spreading, layer: Int
  ) -> PlannedTensor {
    let (role, rows, columns): (TensorRole, Int, Int) =
      switch self {
      case .attentionNorm, .attentionPostNorm, .feedForwardNorm, .feedForwardPostNorm:
        (.norm, 1, d.width)
      case .queryNorm, .keyNorm: (.norm, 1, d.headWidth)
      case .query: (.query, d.queryWidth, d.width)
      case .key: (.key, d.keyValueWidth, d.width)
      case .value: (.value, d.keyValueWidth, d.width)
      case .output: (.output, d.width, d.queryWidth)
      case .gate: (.gate, d.feedForwardWidth, d.width)
      case .up: (.up, d.feedForwardWidth, d.width)
      case .down: (.down, d.width, d.feedForwardWidth)
      case .queryBias: (.bias, 1, d.queryWidth)
      case .keyBias, .valueBias: (.bias, 1, d.keyValueWidth)
      case .outputBias, .downBias, .attentionNormBias, .feedForwardNormBias: (.bias, 1, d.width)
      case .gateBias, .upBias: (.bias, 1, d.feedForwardWidth)
      }
    return PlannedTensor(
      name: "layers.\(layer).\(rawValue)", role: role, rows: rows, columns: columns,
      block: spreading.block(of: role),
      outputBlock: self == .value || self == .valueBias ? spreading.value : 0, biasOf: biasOf)
  }

  /// Of a bias: the weight whose outputs it is added to, which comes before it in the order of the file.
  private var biasOf: TensorRole? {
    switch self {
    case .queryBias: .query
    case .keyBias: .key
    case .valueBias: .value
    case .outputBias: .output
    case .gateBias: .gate
    case .upBias: .up
    case .downBias: .down
    default: nil
    }
  }

  /// Its values; the layer has it.
  package func values(_ layer: DecoderLayer) -> Matrix {
    switch self {
    case .attentionNorm: Matrix(row: layer.attentionNorm.weight)
    case .attentionNormBias: Matrix(row: layer.attentionNorm.bias!)
    case .feedForwardNormBias: Matrix(row: layer.feedForwardNorm!.bias!)
    case .query: layer.query.weight
    case .queryBias: Matrix(row: layer.query.bias!)
    case .queryNorm: Matrix(row: layer.queryNorm!)
    case .key: layer.key.weight
    case .keyBias: Matrix(row: layer.key.bias!)
    case .keyNorm: Matrix(row: layer.keyNorm!)
    case .value: layer.value.weight
    case .valueBias: Matrix(row: layer.value.bias!)
    case .output: layer.output.weight
    case .outputBias: Matrix(row: layer.output.bias!)
    case .attentionPostNorm: Matrix(row: layer.attentionPostNorm!.weight)
    case .feedForwardNorm: Matrix(row: layer.feedForwardNorm!.weight)
    case .gate: layer.gate!.weight
    case .gateBias: Matrix(row: layer.gate!.bias!)
    case .up: layer.up.weight
    case .upBias: Matrix(row: layer.up.bias!)
    case .down: layer.down.weight
    case .downBias: Matrix(row: layer.down.bias!)
    case .feedForwardPostNorm: Matrix(row: layer.feedForwardPostNorm!.weight)
    }
  }

  /// Whether it is a matrix that rows are multiplied by.
  var isWeight: Bool {
    switch self {
    case .query, .key, .value, .output, .gate, .up, .down: true
    default: false
    }
  }

  /// Puts other values of a weight in their place; its bias stays.
  func setWeight(_ values: Matrix, in layer: inout DecoderLayer) {
    if self == .gate { layer.gate?.weight = values } else { set(values, in: &layer) }
  }

  /// Puts values read back from a file in their place.
  package func set(_ values: Matrix, in layer: inout DecoderLayer) {
    switch self {
    case .attentionNorm: layer.attentionNorm = NormLayer(values.values)
    case .attentionNormBias: layer.attentionNorm.bias = values.values
    case .feedForwardNormBias: layer.feedForwardNorm!.bias = values.values
    case .query: layer.query.weight = values
    case .queryBias: layer.query.bias = values.values
    case .queryNorm: layer.queryNorm = values.values
    case .key: layer.key.weight = values
    case .keyBias: layer.key.bias = values.values
    case .keyNorm: layer.keyNorm = values.values
    case .value: layer.value.weight = values
    case .valueBias: layer.value.bias = values.values
    case .output: layer.output.weight = values
    case .outputBias: layer.output.bias = values.values
    case .attentionPostNorm: layer.attentionPostNorm = NormLayer(values.values)
    case .feedForwardNorm: layer.feedForwardNorm = NormLayer(values.values)
    case .gate: layer.gate = LinearLayer(values)
    case .gateBias: layer.gate!.bias = values.values
    case .up: layer.up.weight = values
    case .upBias: layer.up.bias = values.values
    case .down: layer.down.weight = values
    case .downBias: layer.down.bias = values.values
    case .feedForwardPostNorm: layer.feedForwardPostNorm = NormLayer(values.values)
    }
  }
}

extension Matrix {
  /// A vector as a matrix of one row.
  init(row values: [Float]) {
    self.init(rows: 1, columns: values.count, values: values)
  }
}
