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
  /// What is found made, and what is made.
  var work = ConversionWork.none
  let progress: (ConversionStage) -> Void

  /// Quantizes tensor by tensor. Of a part of the model the first has the program. Throws
  /// `ConversionError`, `WorkError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription?) {
    var weights = weights
    weights.description.body.spreadsRows = recipe.prune == nil
    try weights.description.checkLimits()
    let layers = try work.layers(of: weights.description.body.layers)
    let vision = FoldedVision(weights)
    let inventory = VisionInventory(vision)
    var program: ProgramDescription?
    if layers.lowerBound == 0 {
      progress(.calibrating)
      program = try .vision(
        vision.d, inventory, VisionCalibration.ranges(weights, more: images))
    }

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    func values(_ parts: [VisionPart]) -> [Matrix] { parts.compactMap { $0.values(vision.ends) } }
    if layers.lowerBound == 0 {
      try work.put(0..<inventory.firstParts.count, in: &packer) {
        try $0.put(values(inventory.firstParts), at: 0)
      }
    }
    var calibration: LayerCalibration?
    if recipe.isCalibrated {
      let stack = LayerStack(
        weights,
        work.statistics != nil ? [] : images.isEmpty ? VisionCalibration.drawn(vision.d) : images)
      if let rule = recipe.prune {
        packer.masks = try stack.masks(rule, statistics: work.statistics) {
          progress(.measuring(layer: $0, count: vision.d.body.layers))
        }
      }
      if work.statistics == nil {
        calibration = LayerCalibration(vision.d.body, stack.streams)
      }
    }
    for index in layers {
      progress(.reading)
      let layer = vision.layer(index)
      let places = inventory.layers.places(of: index)
      let tensors = try work.put(places, in: &packer, needsValues: calibration != nil) {
        progress(.calibrating)
        let moments =
          try work.statistics?.moments(layer: index, vision.d.body)
          ?? calibration?.watch(layer, index)
        return try $0.put(
          inventory.layers.parts.map { $0.values(layer) }, at: places.lowerBound, moments: moments)
      }
      progress(.calibrating)
      calibration?.advance(layer, index, as: tensors)
    }
    if layers.upperBound == vision.d.body.layers {
      let place = inventory.layers.first(of: vision.d.body.layers)
      try work.put(place..<inventory.tensors.count, in: &packer) {
        try $0.put(values(inventory.lastParts), at: place)
      }
    }
    return (work.finish(packer), program)
  }
}
