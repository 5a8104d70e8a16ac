// Quantizes and packs the tensors of a file, in their order.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a conversion is doing.
public enum ConversionStage: Sendable, Equatable {
  case reading
  /// Measuring activations with the float model.
  case calibrating
  /// Tensor `index` of `count`, counted from 0.
  case quantizing(name: String, index: Int, count: Int)
  case writing
}

/// Takes the values of planned tensors one after the other.
struct TensorPacker {
  let planned: [PlannedTensor]
  let recipe: Recipe
  let codec: CodecChoice
  let progress: (ConversionStage) -> Void
  private(set) var packed: [TensorContents] = []

  init(
    planned: [PlannedTensor], recipe: Recipe, codec: CodecChoice,
    progress: @escaping (ConversionStage) -> Void
  ) {
    self.planned = planned
    self.recipe = recipe
    self.codec = codec
    self.progress = progress
    packed.reserveCapacity(planned.count)
  }

  /// Quantizes and packs the next tensors. Throws `ConversionError` or `WriteError`.
  mutating func add(_ values: [Matrix]) throws {
    var contents: [TensorContents] = []
    for (offset, values) in values.enumerated() {
      let place = packed.count + offset
      let tensor = planned[place]
      guard let role = tensor.role else { preconditionFailure("\(tensor.name) has no values") }
      progress(.quantizing(name: tensor.name, index: place, count: planned.count))
      do throws(QuantizeError) {
        let turned = Spreading.turned(values, block: tensor.block)
        contents.append(
          TensorContents(try recipe.quantize(turned, name: tensor.name, role: role)))
      } catch {
        throw ConversionError.tensor(name: tensor.name, error)
      }
    }
    packed += try TensorContents.packed(contents, codec)
  }

  /// Packs the phases of a rotary table, the next tensor.
  mutating func add(_ table: RotaryTable) throws {
    let name = planned[packed.count].name
    progress(.quantizing(name: name, index: packed.count, count: planned.count))
    let words: WordsTensor
    do throws(QuantizeError) {
      words = try PhaseTable.increments(frequencies: table.frequencies)
    } catch {
      throw ConversionError.tensor(name: name, error)
    }
    let tensor = TensorContents(QuantizedTensor(name: name, .words(words)))
    packed.append(try TensorContents.packed([tensor], codec)[0])
  }
}

extension TensorContents {
  /// The writer's view of a quantized tensor.
  init(_ tensor: QuantizedTensor) {
    let payload: Payload
    switch tensor.base {
    case .grid(let grid):
      payload = .grid(
        Grid(
          bits: grid.bits, group: grid.group, exponent: grid.exponent, codes: grid.codes,
          mantissas: grid.mantissas, groupScales: grid.groupScales,
          groupOffsets: grid.groupOffsets, mask: grid.mask.map(Mask.init)))
    case .wide(let wide):
      payload = .wide(
        Wide(exponent: wide.exponent, codes: wide.codes, mantissas: wide.mantissas))
    case .words(let words):
      payload = .words(words.words)
    }
    self.init(name: tensor.name, rows: tensor.rows, columns: tensor.columns, payload: payload)
  }
}

extension TensorContents.Mask {
  fileprivate init(_ mask: GridMask) {
    switch mask {
    case .blocks(let mask): self = .blocks(mask.survives)
    case .pattern(let mask): self = .pattern(n: mask.n, m: mask.m, survives: mask.survives)
    case .columns(let list): self = .columns(list)
    }
  }
}
