// From the float weights of a vision transformer to the integers of a file.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// Turns a vision transformer into tensors and a program.
struct VisionLowering {
  let weights: VisionWeights
  let recipe: Recipe
  let codec: CodecChoice
  /// Images to measure activations on besides the drawn ones, [height][width][channels] each.
  var images: [[UInt8]] = []
  /// How many drawn scenes a calibrated recipe looks at where there are no images.
  var drawn = CalibrationInput.imageCount
  /// What errors cost, where the recipe has a loss.
  var rates: RatePlan?
  /// What is found made, and what is made.
  var work = ConversionWork.none
  let progress: (ConversionStage) -> Void

  /// Quantizes tensor by tensor. Of a part of the model the first has the program. Throws
  /// `ConversionError`, `WorkError` or `WriteError`.
  func run() throws -> LoweredModel {
    var weights = weights
    weights.description.body.spreadsRows = recipe.prune == nil
    try weights.description.checkLimits()
    if recipe.rotates {
      try weights.description.checkRotation()
      weights = weights.turningResidual()
    }
    let layers = try work.layers(of: weights.description.body.layers)
    var seen: [[UInt8]] = []
    if recipe.isCalibrated, work.statistics == nil {
      seen = images.isEmpty ? DrawnScenes.images(weights.description, count: drawn) : images
    }
    var factors: [LayerFactors] = []
    if recipe.smooths {
      let count = weights.description.body.layers
      factors = try LayerStack(weights, seen).smoothingFactors(recipe) {
        progress(.measuring(layer: $0, count: count))
      }
      weights = weights.scaled(factors)
    }
    let codes =
      try recipe.attentionBits.map { try LayerStack(weights, seen).scoreCodes(bits: $0) } ?? []
    let vision = FoldedVision(weights)
    let inventory = VisionInventory(vision, lowRank: recipe.lowRank)
    var program: ProgramDescription?
    if layers.lowerBound == 0 {
      progress(.calibrating)
      program = try .vision(
        vision.d, inventory, VisionCalibration.ranges(weights, more: images), codes: codes)
    }

    var packer = TensorPacker(
      planned: inventory.tensors, factors: inventory.layers.factors, recipe: recipe, codec: codec,
      progress: progress)
    packer.rates = rates
    func values(_ parts: [VisionPart]) -> [Matrix] { parts.compactMap { $0.values(vision.ends) } }
    if layers.lowerBound == 0 {
      try work.put(0..<inventory.firstParts.count, in: &packer) {
        try $0.put(values(inventory.firstParts), at: 0)
      }
    }
    var calibration: LayerCalibration?
    if recipe.isCalibrated {
      let stack = LayerStack(weights, seen)
      if let rule = recipe.prune, rule.form == .blocks {
        packer.masks = try stack.masks(rule, statistics: work.statistics) {
          progress(.measuring(layer: $0, count: vision.d.body.layers))
        }
      }
      if work.statistics == nil {
        calibration = LayerCalibration(
          vision.d.body, stack.streams, codes: codes, aims: recipe.aims)
      }
    }
    for index in layers {
      progress(.reading)
      try work.put(
        vision.layer(index), index, inventory.layers, vision.d.body, in: &packer, &calibration,
        progress)
    }
    if layers.upperBound == vision.d.body.layers {
      let place = inventory.layers.first(of: vision.d.body.layers)
      try work.put(place..<inventory.tensors.count, in: &packer) {
        try $0.put(values(inventory.lastParts), at: place)
      }
    }
    return LoweredModel(
      tensors: work.finish(packer), program: program, smoothing: factors.report)
  }
}
