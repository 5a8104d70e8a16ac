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
  let progress: (ConversionStage) -> Void

  /// Quantizes tensor by tensor. Throws `ConversionError` or `WriteError`.
  func run() throws -> LoweredModel {
    var weights = weights
    weights.description.body.spreadsRows = recipe.prune == nil
    try weights.description.checkLimits()
    progress(.calibrating)
    let seen = images.isEmpty ? DrawnScenes.images(weights.description, count: drawn) : images
    var factors: [LayerFactors] = []
    if recipe.smooths {
      let layers = weights.description.body.layers
      factors = try LayerStack(weights, seen).smoothingFactors(recipe) {
        progress(.measuring(layer: $0, count: layers))
      }
      weights = weights.scaled(factors)
    }
    let codes =
      try recipe.attentionBits.map { try LayerStack(weights, seen).scoreCodes(bits: $0) } ?? []
    let ranges = try VisionCalibration.ranges(weights, more: images)
    let vision = FoldedVision(weights)
    let inventory = VisionInventory(vision)
    let program = try ProgramDescription.vision(vision.d, inventory, ranges, codes: codes)

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    packer.rates = rates
    func values(_ parts: [VisionPart]) -> [Matrix] { parts.compactMap { $0.values(vision.ends) } }
    try packer.put(values(inventory.firstParts), at: 0)
    var calibration: LayerCalibration?
    if recipe.isCalibrated {
      let stack = LayerStack(weights, seen)
      if let rule = recipe.prune, rule.form == .blocks {
        packer.masks = try stack.masks(rule) {
          progress(.measuring(layer: $0, count: vision.d.body.layers))
        }
      }
      calibration = LayerCalibration(vision.d.body, stack.streams, codes: codes)
    }
    for index in 0..<vision.d.body.layers {
      let layer = vision.layer(index)
      try packer.put(
        layer, index, inventory.layers.parts, at: inventory.layers.first(of: index), &calibration)
    }
    try packer.put(
      values(inventory.lastParts), at: inventory.layers.first(of: vision.d.body.layers))
    return LoweredModel(tensors: packer.packed, program: program, smoothing: factors.report)
  }
}
