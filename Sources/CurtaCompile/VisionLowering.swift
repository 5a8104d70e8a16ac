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
  let progress: (ConversionStage) -> Void

  /// Quantizes tensor by tensor. Throws `ConversionError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription) {
    var weights = weights
    weights.description.body.spreadsRows = recipe.prune == nil
    try weights.description.checkLimits()
    progress(.calibrating)
    let ranges = try VisionCalibration.ranges(weights, more: images)
    let vision = FoldedVision(weights)
    let inventory = VisionInventory(vision, lowRank: recipe.lowRank)
    let program = try ProgramDescription.vision(vision.d, inventory, ranges)

    var packer = TensorPacker(
      planned: inventory.tensors, factors: inventory.layers.factors, recipe: recipe, codec: codec,
      progress: progress)
    func values(_ parts: [VisionPart]) -> [Matrix] { parts.compactMap { $0.values(vision.ends) } }
    try packer.put(values(inventory.firstParts), at: 0)
    var calibration: LayerCalibration?
    if recipe.isCalibrated {
      let stack = LayerStack(
        weights, images.isEmpty ? VisionCalibration.drawn(vision.d) : images)
      if let rule = recipe.prune {
        packer.masks = try stack.masks(rule) {
          progress(.measuring(layer: $0, count: vision.d.body.layers))
        }
      }
      calibration = LayerCalibration(vision.d.body, stack.streams)
    }
    for index in 0..<vision.d.body.layers {
      let layer = vision.layer(index)
      let tensors = try packer.put(
        inventory.layers.parts.map { $0.values(layer) }, at: inventory.layers.first(of: index),
        moments: calibration?.watch(layer, index))
      calibration?.advance(layer, index, as: tensors)
    }
    try packer.put(
      values(inventory.lastParts), at: inventory.layers.first(of: vision.d.body.layers))
    return (packer.packed, program)
  }
}
