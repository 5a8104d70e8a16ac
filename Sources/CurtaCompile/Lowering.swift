// From float weights to the integers of a file: every tensor quantized, and the program over them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
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

/// Turns a decoder into tensors and a program.
struct Lowering {
  let source: DecoderSource
  let recipe: Recipe
  let codec: CodecChoice
  /// The token that texts begin with, for calibration.
  let begin: Int32?
  let progress: (ConversionStage) -> Void

  /// Quantizes layer by layer; beside the packed results one layer's floats are in memory.
  ///
  /// Throws what reading throws, `ConversionError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription) {
    let source = source.foldingNormBiases()
    let d = source.description
    try d.checkLimits()
    progress(.calibrating)
    let ranges = try Calibration.ranges(source, begin: begin)
    let inventory = TensorInventory(d)
    let program = try DecoderProgram.make(d, inventory, ranges)

    let planned = inventory.tensors
    var packed: [TensorContents] = []
    packed.reserveCapacity(planned.count)
    func add(_ values: [Matrix]) throws {
      packed += try pack(values, planned, from: packed.count)
    }
    var lastValues: [Matrix] = []
    do {
      let ends = try source.ends()
      try add(inventory.firstParts.map { $0.values(ends, d) })
      if inventory.lastParts.contains(.head) {
        // Read again when it is its turn: it is as large as the embedding.
      } else {
        lastValues = inventory.lastParts.map { $0.values(ends, d) }
      }
    }
    for index in 0..<d.layers {
      let layer = try source.layer(index)
      try add(inventory.layerParts.map { $0.values(layer) })
    }
    if lastValues.isEmpty {
      let ends = try source.ends()
      lastValues = inventory.lastParts.map { $0.values(ends, d) }
    }
    try add(lastValues)
    for table in d.rotary {
      let name = planned[packed.count].name
      progress(.quantizing(name: name, index: packed.count, count: planned.count))
      packed.append(try phases(table, name))
    }
    return (packed, program)
  }

  /// Quantizes and packs tensors; `first` is the place of the first in the file.
  private func pack(
    _ values: [Matrix], _ planned: [PlannedTensor], from first: Int
  ) throws -> [TensorContents] {
    let spreading = Spreading(source.description)
    var contents: [TensorContents] = []
    for (offset, values) in values.enumerated() {
      let tensor = planned[first + offset]
      guard let role = tensor.role else { preconditionFailure("\(tensor.name) has no values") }
      progress(.quantizing(name: tensor.name, index: first + offset, count: planned.count))
      do throws(QuantizeError) {
        let turned = Spreading.turned(values, block: spreading.block(of: role))
        contents.append(
          TensorContents(try recipe.quantize(turned, name: tensor.name, role: role)))
      } catch {
        throw ConversionError.tensor(name: tensor.name, error)
      }
    }
    return try TensorContents.packed(contents, codec)
  }

  private func phases(_ table: RotaryTable, _ name: String) throws -> TensorContents {
    let words: WordsTensor
    do throws(QuantizeError) {
      words = try PhaseTable.increments(frequencies: table.frequencies)
    } catch {
      throw ConversionError.tensor(name: name, error)
    }
    let tensor = TensorContents(QuantizedTensor(name: name, .words(words)))
    return try TensorContents.packed([tensor], codec)[0]
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
          groupOffsets: grid.groupOffsets))
    case .wide(let wide):
      payload = .wide(
        Wide(exponent: wide.exponent, codes: wide.codes, mantissas: wide.mantissas))
    case .words(let words):
      payload = .words(words.words)
    }
    self.init(name: tensor.name, rows: tensor.rows, columns: tensor.columns, payload: payload)
  }
}
