// The parameters of a layer while they are learned.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// Grids, biases and norms of a layer that gradients move; norms of heads stay.
struct LearnedLayer {
  private let parts: [LayerPart]
  private let start: [PackedTensor]
  private let quantized: DecoderLayer
  private var grids: [LayerPart: LearnedGrid] = [:]
  private var vectors: [LayerPart: (values: [Float], adam: Adam)] = [:]

  /// How far, in steps, a weight may begin from its code towards the real number that it stands for: as far
  /// as 0.45 is no better, 0.1 is worse (curta-stories, 3 bits, 4 096 tokens: KL 0.142, 0.142, 0.152).
  private static let edge: Float = 0.3

  /// `tensors`, in the order of `parts`, stand for those of `layer`.
  init(_ layer: DecoderLayer, _ parts: [LayerPart], _ tensors: [PackedTensor]) {
    self.parts = parts
    start = tensors
    quantized = layer.replacing(parts, tensors)
    for (part, tensor) in zip(parts, tensors) {
      switch tensor.tensor?.base {
      case .grid(let grid):
        let weights = tensor.planned.turned(part.values(layer))
        grids[part] = LearnedGrid(grid, weights: weights, edge: Self.edge)
      case .wide where !part.isWeight && part != .queryNorm && part != .keyNorm:
        let values = tensor.values.values
        vectors[part] = (values, Adam(count: values.count))
      default: break
      }
    }
  }

  /// The layer as it is now, in real numbers.
  var layer: DecoderLayer {
    var layer = quantized
    for (part, tensor) in zip(parts, start) {
      if let grid = grids[part] {
        part.setWeight(tensor.planned.turnedBack(grid.values), in: &layer)
      } else if let vector = vectors[part] {
        part.set(Matrix(row: vector.values), in: &layer)
      }
    }
    return layer
  }

  /// Moves everything against the gradients by the real numbers of `layer`: weights by `rate` steps,
  /// logarithms of steps and, in parts of the mean magnitude of their tensor, vectors by `fineRate`.
  mutating func step(_ gradients: [LayerPart: Matrix], rate: Float, fineRate: Float) {
    for (part, tensor) in zip(parts, start) {
      guard let gradient = gradients[part] else { continue }
      if grids[part] != nil {
        // Turning back is its own transpose.
        grids[part]?.step(
          gradient: tensor.planned.turnedBack(gradient), weightRate: rate, stepRate: fineRate)
      }
      guard var vector = vectors.removeValue(forKey: part) else { continue }
      let mean = vector.values.reduce(0) { $0 + abs($1) } / Float(max(vector.values.count, 1))
      vector.adam.step(&vector.values, gradient: gradient.values, rate: fineRate * mean)
      vectors[part] = vector
    }
  }

  /// The tensors of a file, in the order of the parts. Throws `QuantizeError`.
  func tensors() throws(QuantizeError) -> [PackedTensor] {
    var result = start
    for (i, part) in parts.enumerated() {
      if let grid = grids[part] {
        result[i] = result[i].replaced(by: .grid(grid.tensor))
      } else if let vector = vectors[part] {
        let turned = result[i].planned.turned(Matrix(row: vector.values))
        result[i] = result[i].replaced(
          by: .wide(try WideQuantizer.quantize(vector: turned.values)))
      }
    }
    return result
  }
}

extension DecoderLayer {
  /// The layer with what tensors of a file stand for in place of `parts`.
  func replacing(_ parts: [LayerPart], _ tensors: [PackedTensor]) -> DecoderLayer {
    var layer = self
    for (part, tensor) in zip(parts, tensors) { part.set(tensor.values, in: &layer) }
    return layer
  }
}

extension PackedTensor {
  /// The same tensor with other integers.
  fileprivate func replaced(by base: QuantizedTensor.Base) -> PackedTensor {
    PackedTensor(tensor: QuantizedTensor(name: planned.name, base), planned: planned)
  }
}
