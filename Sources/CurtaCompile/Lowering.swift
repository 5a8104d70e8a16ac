// From float weights to the integers of a file: every tensor quantized, and the program over them.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a file of a model holds.
struct LoweredModel {
  let tensors: [TensorContents]
  let program: ProgramDescription
  /// Which channels were scaled and how, a line for each place; empty for none.
  let smoothing: String
}

/// Turns a decoder into tensors and a program.
struct Lowering {
  let source: DecoderSource
  let recipe: Recipe
  let codec: CodecChoice
  /// The token that texts begin with, for the ranges of activations.
  let begin: Int32?
  /// What solvers are calibrated on, where the recipe has one: sequences of tokens.
  var sequences: [[Int32]] = []
  /// What errors cost, where the recipe has a loss.
  var rates: RatePlan?
  let progress: (ConversionStage) -> Void

  /// Quantizes layer by layer; beside the packed results one layer's floats are in memory, and the
  /// streams of the sequences.
  ///
  /// Throws what reading throws, `ConversionError` or `WriteError`.
  func run() throws -> LoweredModel {
    var source = source.foldingNormBiases()
    if recipe.prune != nil { source = source.withoutSpreading() }
    let d = source.description
    try d.checkLimits()
    progress(.calibrating)
    var factors: [LayerFactors] = []
    if recipe.smooths {
      factors = try LayerStack(source, source.ends(), sequences).smoothingFactors(recipe) {
        progress(.measuring(layer: $0, count: d.layers))
      }
      source = source.scaled(factors)
    }
    let codes =
      try recipe.attentionBits.map { bits in
        try LayerStack(source, source.ends(), sequences).scoreCodes(bits: bits)
      } ?? []
    let ranges = try Calibration.ranges(source, begin: begin)
    let inventory = TensorInventory(d)
    let program = try ProgramDescription.decoder(d, inventory, ranges, codes: codes)

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    packer.rates = rates
    var calibration: LayerCalibration?
    // A tied head is quantized for what the head reads, which is known at the end.
    var (first, last) = (inventory.firstParts, inventory.lastParts)
    do {
      let ends = try source.ends()
      if recipe.isCalibrated {
        let stack = LayerStack(source, ends, sequences)
        if let rule = recipe.prune, rule.form == .blocks {
          packer.masks = try stack.masks(rule) { progress(.measuring(layer: $0, count: d.layers)) }
        }
        calibration = LayerCalibration(d, stack.streams, codes: codes)
        if d.tiedHead, let place = first.firstIndex(of: .embedding) {
          last.append(first.remove(at: place))
        }
      }
      for part in first { try packer.put([part.values(ends, d)], at: inventory.index(part)!) }
    }
    for index in 0..<d.layers {
      let layer = try source.layer(index)
      try packer.put(
        layer, index, inventory.layerParts, at: inventory.layers.first(of: index), &calibration)
    }
    let ends = try source.ends()
    let moments = try calibration?.watchHead(ends)
    for part in last {
      try packer.put([part.values(ends, d)], at: inventory.index(part)!, moments: moments)
    }
    for (index, table) in d.rotary.enumerated() {
      try packer.put(table, at: inventory.layers.phases(index))
    }
    return LoweredModel(tensors: packer.packed, program: program, smoothing: factors.report)
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
