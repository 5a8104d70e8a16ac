// Which tensors a decoder's file holds, in which order and under which names.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// A tensor that a file will hold.
struct PlannedTensor: Sendable {
  let name: String
  /// nil for the phases of rotary positions, which are constants.
  let role: TensorRole?
  let rows: Int
  let columns: Int
  /// Its float values [rows][columns]; empty for the phases.
  let values: @Sendable (DecoderWeights) -> Matrix
}

/// The tensors of a decoder in the order of the file, and where each is.
struct TensorInventory: Sendable {
  /// The tensors of one layer, in order.
  enum Part: Int, CaseIterable {
    case attentionNorm, query, key, value, output, feedForwardNorm, gate, up, down
  }

  let tensors: [PlannedTensor]
  let layers: Int
  let tiedHead: Bool

  var embedding: Int { 0 }
  func index(_ part: Part, layer: Int) -> Int { 1 + layer * Part.allCases.count + part.rawValue }
  var finalNorm: Int { 1 + layers * Part.allCases.count }
  /// A tied head is the embedding.
  var head: Int { tiedHead ? embedding : finalNorm + 1 }
  var phases: Int { finalNorm + (tiedHead ? 1 : 2) }

  init(_ d: DecoderDescription) {
    layers = d.layers
    tiedHead = d.tiedHead
    var tensors = [
      PlannedTensor(
        name: "embedding", role: .embedding, rows: d.vocabularySize, columns: d.width
      ) { $0.embedding }
    ]
    for layer in 0..<d.layers {
      tensors += Part.allCases.map { PlannedTensor(part: $0, layer: layer, d) }
    }
    tensors.append(
      PlannedTensor(name: "final_norm", role: .norm, rows: 1, columns: d.width) {
        rowMatrix($0.finalNorm)
      })
    if !d.tiedHead {
      tensors.append(
        PlannedTensor(name: "head", role: .head, rows: d.vocabularySize, columns: d.width) {
          $0.head ?? $0.embedding
        })
    }
    tensors.append(
      PlannedTensor(name: "rotary_phases", role: nil, rows: 1, columns: d.headWidth / 2) { _ in
        Matrix(rows: 0, columns: 0)
      })
    self.tensors = tensors
  }
}

extension PlannedTensor {
  fileprivate init(part: TensorInventory.Part, layer: Int, _ d: DecoderDescription) {
    func make(
      _ name: String, _ role: TensorRole, _ rows: Int, _ columns: Int,
      _ values: @escaping @Sendable (DecoderLayer) -> Matrix
    ) -> PlannedTensor {
      PlannedTensor(name: "layers.\(layer).\(name)", role: role, rows: rows, columns: columns) {
        values($0.layers[layer])
      }
    }
    switch part {
    case .attentionNorm:
      self = make("attention_norm", .norm, 1, d.width) { rowMatrix($0.attentionNorm) }
    case .query: self = make("query", .query, d.queryWidth, d.width) { $0.query }
    case .key: self = make("key", .key, d.keyValueWidth, d.width) { $0.key }
    case .value: self = make("value", .value, d.keyValueWidth, d.width) { $0.value }
    case .output: self = make("output", .output, d.width, d.queryWidth) { $0.output }
    case .feedForwardNorm:
      self = make("feed_forward_norm", .norm, 1, d.width) { rowMatrix($0.feedForwardNorm) }
    case .gate: self = make("gate", .gate, d.feedForwardWidth, d.width) { $0.gate }
    case .up: self = make("up", .up, d.feedForwardWidth, d.width) { $0.up }
    case .down: self = make("down", .down, d.width, d.feedForwardWidth) { $0.down }
    }
  }
}

/// A vector as a matrix of one row.
private func rowMatrix(_ values: [Float]) -> Matrix {
  Matrix(rows: 1, columns: values.count, values: values)
}
