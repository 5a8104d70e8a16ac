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
  /// What is found made, and what is made.
  var work = ConversionWork.none
  let progress: (ConversionStage) -> Void

  /// Quantizes layer by layer; beside the packed results one layer's floats are in memory, and the
  /// streams of the sequences.
  ///
  /// Of a part of the model the first has the program. Throws what reading throws,
  /// `ConversionError`, `WorkError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription?) {
    var source = source.foldingNormBiases()
    if recipe.prune != nil { source = source.withoutSpreading() }
    let d = source.description
    try d.checkLimits()
    let layers = try work.layers(of: d.layers)
    let inventory = TensorInventory(d)
    var program: ProgramDescription?
    if layers.lowerBound == 0 {
      progress(.calibrating)
      program = try .decoder(d, inventory, Calibration.ranges(source, begin: begin))
    }

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    var calibration: LayerCalibration?
    // A tied head is quantized for what the head reads, which is known at the end.
    var (first, last) = (inventory.firstParts, inventory.lastParts)
    do {
      let ends = try source.ends()
      if recipe.isCalibrated {
        let stack = LayerStack(source, ends, sequences)
        if let rule = recipe.prune {
          packer.masks = try stack.masks(rule, statistics: work.statistics) {
            progress(.measuring(layer: $0, count: d.layers))
          }
        }
        if work.statistics == nil { calibration = LayerCalibration(d, stack.streams) }
        if d.tiedHead, let place = first.firstIndex(of: .embedding) {
          last.append(first.remove(at: place))
        }
      }
      for part in first where layers.lowerBound == 0 {
        let place = inventory.index(part)!
        try work.put(place..<place + 1, in: &packer) {
          try $0.put([part.values(ends, d)], at: place)
        }
      }
    }
    for index in layers {
      progress(.reading)
      let layer = try source.layer(index)
      let places = inventory.layers.places(of: index)
      let tensors = try work.put(places, in: &packer, needsValues: calibration != nil) {
        progress(.calibrating)
        let moments =
          try work.statistics?.moments(layer: index, d) ?? calibration?.watch(layer, index)
        return try $0.put(
          inventory.layerParts.map { $0.values(layer) }, at: places.lowerBound, moments: moments)
      }
      progress(.calibrating)
      calibration?.advance(layer, index, as: tensors)
    }
    if layers.upperBound == d.layers {
      let ends = try source.ends()
      let moments = try work.statistics?.headMoments(d) ?? calibration?.watchHead(ends)
      for part in last {
        let place = inventory.index(part)!
        try work.put(place..<place + 1, in: &packer) {
          try $0.put([part.values(ends, d)], at: place, moments: moments)
        }
      }
      for (index, table) in d.rotary.enumerated() {
        try packer.put(table, at: inventory.layers.phases(index))
      }
    }
    return (work.finish(packer), program)
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
