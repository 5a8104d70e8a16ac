// From float weights to the integers of a file: every tensor quantized, and the program over them.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

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
    let program = try ProgramDescription.decoder(d, inventory, ranges)

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    var lastValues: [Matrix] = []
    do {
      let ends = try source.ends()
      try packer.add(inventory.firstParts.map { $0.values(ends, d) })
      if inventory.lastParts.contains(.head) {
        // Read again when it is its turn: it is as large as the embedding.
      } else {
        lastValues = inventory.lastParts.map { $0.values(ends, d) }
      }
    }
    for index in 0..<d.layers {
      let layer = try source.layer(index)
      try packer.add(inventory.layerParts.map { $0.values(layer) })
    }
    if lastValues.isEmpty {
      let ends = try source.ends()
      lastValues = inventory.lastParts.map { $0.values(ends, d) }
    }
    try packer.add(lastValues)
    for table in d.rotary { try packer.add(table) }
    return (packer.packed, program)
  }
}
