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
  /// The token that texts begin with, for the ranges of activations.
  let begin: Int32?
  /// What solvers are calibrated on, where the recipe has one: sequences of tokens.
  var sequences: [[Int32]] = []
  let progress: (ConversionStage) -> Void

  /// Quantizes layer by layer; beside the packed results one layer's floats are in memory, and the
  /// streams of the sequences.
  ///
  /// Throws what reading throws, `ConversionError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription) {
    var source = source.foldingNormBiases()
    if recipe.prune != nil { source = source.withoutSpreading() }
    let d = source.description
    try d.checkLimits()
    progress(.calibrating)
    let ranges = try Calibration.ranges(source, begin: begin)
    let inventory = TensorInventory(d, lowRank: recipe.lowRank)
    let program = try ProgramDescription.decoder(d, inventory, ranges)

    var packer = TensorPacker(
      planned: inventory.tensors, factors: inventory.layers.factors, recipe: recipe, codec: codec,
      progress: progress)
    var calibration: LayerCalibration?
    // A tied head is quantized for what the head reads, which is known at the end.
    var (first, last) = (inventory.firstParts, inventory.lastParts)
    do {
      let ends = try source.ends()
      if recipe.isCalibrated {
        let stack = LayerStack(source, ends, sequences)
        if let rule = recipe.prune {
          packer.masks = try stack.masks(rule) { progress(.measuring(layer: $0, count: d.layers)) }
        }
        calibration = LayerCalibration(d, stack.streams)
        if d.tiedHead, let place = first.firstIndex(of: .embedding) {
          last.append(first.remove(at: place))
        }
      }
      for part in first { try packer.put([part.values(ends, d)], at: inventory.index(part)!) }
    }
    for index in 0..<d.layers {
      let layer = try source.layer(index)
      let tensors = try packer.put(
        inventory.layerParts.map { $0.values(layer) }, at: inventory.layers.first(of: index),
        moments: calibration?.watch(layer, index))
      calibration?.advance(layer, index, as: tensors)
    }
    let ends = try source.ends()
    let moments = calibration?.watchHead(ends)
    for part in last {
      try packer.put([part.values(ends, d)], at: inventory.index(part)!, moments: moments)
    }
    for (index, table) in d.rotary.enumerated() {
      try packer.put(table, at: inventory.layers.phases(index))
    }
    return (packer.packed, program)
  }
}

extension DecoderSource {
  /// The same decoder, its rows quantized as they are.
  fileprivate func withoutSpreading() -> DecoderSource {
    var description = description
    description.spreadsRows = false
    return DecoderSource(
      description: description, parameterCount: parameterCount, ends: ends, layer: layer)
  }
}
