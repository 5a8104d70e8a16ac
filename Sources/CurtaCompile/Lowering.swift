// From float weights to the integers of a file: every tensor quantized, and the program over them.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a file of a model holds.
struct LoweredModel {
  let tensors: [TensorContents]
  /// nil of a part of the model that is not its first.
  let program: ProgramDescription?
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
  /// What is found made, and what is made.
  var work = ConversionWork.none
  let progress: (ConversionStage) -> Void

  /// Quantizes layer by layer; beside the packed results one layer's floats are in memory, and the
  /// streams of the sequences.
  ///
  /// Of a part of the model the first has the program. Throws what reading throws,
  /// `ConversionError`, `WorkError` or `WriteError`.
  func run() throws -> LoweredModel {
    var source = source.foldingNormBiases()
    if recipe.prune != nil { source = source.withoutSpreading() }
    if recipe.rotates {
      try source.description.checkRotation()
      source = source.turningResidual()
    }
    let d = source.description
    try d.checkLimits()
    let layers = try work.layers(of: d.layers)
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
    let inventory = TensorInventory(d, lowRank: recipe.lowRank)
    var program: ProgramDescription?
    if layers.lowerBound == 0 {
      progress(.calibrating)
      program = try .decoder(
        d, inventory, Calibration.ranges(source, begin: begin), codes: codes)
    }

    var packer = TensorPacker(
      planned: inventory.tensors, factors: inventory.layers.factors, recipe: recipe, codec: codec,
      progress: progress)
    packer.rates = rates
    var calibration: LayerCalibration?
    // A tied head is quantized for what the head reads, which is known at the end.
    var (first, last) = (inventory.firstParts, inventory.lastParts)
    do {
      let ends = try source.ends()
      if recipe.isCalibrated {
        let stack = LayerStack(source, ends, sequences)
        if let rule = recipe.prune, rule.form == .blocks {
          packer.masks = try stack.masks(rule, statistics: work.statistics) {
            progress(.measuring(layer: $0, count: d.layers))
          }
        }
        if work.statistics == nil {
          calibration = LayerCalibration(
            d, stack.streams, codes: codes, aims: recipe.aims)
        }
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
      try work.put(layer, index, inventory.layers, d, in: &packer, &calibration, progress)
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
    return LoweredModel(
      tensors: work.finish(packer), program: program, smoothing: factors.report)
  }
}

extension ConversionWork {
  /// The tensors of layer `index`, found or made, and the streams of `calibration` behind it. Throws as
  /// `put(_:in:needsValues:_:)` does.
  func put(
    _ layer: DecoderLayer, _ index: Int, _ inventory: LayerPlaces, _ d: DecoderDescription,
    in packer: inout TensorPacker, _ calibration: inout LayerCalibration?,
    _ progress: (ConversionStage) -> Void
  ) throws {
    let places = inventory.places(of: index)
    let (seen, prunes) = (calibration, packer.recipe.prune != nil)
    let tensors = try put(places, in: &packer, needsValues: seen != nil) { packer in
      progress(.calibrating)
      let values = inventory.parts.map { $0.values(layer) }
      if prunes, let seen {
        return try seen.aim(layer, index) { own, moments in
          try packer.put(
            Array(values[own]), at: places.lowerBound + own.lowerBound, moments: moments)
        }
      }
      let moments = try statistics?.moments(layer: index, d) ?? seen?.watch(layer, index)
      guard let rule = packer.recipe.blocks, let seen else {
        return try packer.put(values, at: places.lowerBound, moments: moments)
      }
      return try packer.put(values, at: places.lowerBound, moments: moments) { tensors in
        let (learned, report) = try seen.learn(tensors, of: layer, index, rule)
        progress(.learned(report))
        return learned
      }
    }
    progress(.calibrating)
    calibration?.advance(layer, index, as: tensors)
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
