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
    try weights.description.checkLimits()
    progress(.calibrating)
    let ranges = try VisionCalibration.ranges(weights, more: images)
    let vision = FoldedVision(weights)
    let inventory = VisionInventory(vision)
    let program = try ProgramDescription.vision(vision.d, inventory, ranges)

    var packer = TensorPacker(
      planned: inventory.tensors, recipe: recipe, codec: codec, progress: progress)
    func values(_ parts: [VisionPart]) -> [Matrix] { parts.compactMap { $0.values(vision.ends) } }
    try packer.add(values(inventory.firstParts))
    for index in 0..<vision.d.body.layers {
      let layer = vision.layer(index)
      try packer.add(inventory.layers.parts.map { $0.values(layer) })
    }
    try packer.add(values(inventory.lastParts))
    return (packer.packed, program)
  }
}
