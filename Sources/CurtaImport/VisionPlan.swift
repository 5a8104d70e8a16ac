// Where the parameters of a vision transformer are in a checkpoint, and what they compute.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// Where a linear layer or a norm is: a weight, and a bias where there is one.
struct VisionModule: Equatable, Sendable, ExpressibleByStringLiteral {
  var weight: String
  var bias: String
  /// This one of so many parts of equal size that follow each other in a fused matrix.
  var part: Int?
  var parts = 1

  init(weight: String, bias: String) {
    self.weight = weight
    self.bias = bias
  }

  init(_ name: String) { self.init(weight: name + ".weight", bias: name + ".bias") }
  init(stringLiteral name: String) { self.init(name) }

  /// Part `index` of a fused matrix of `count`.
  func part(_ index: Int, of count: Int) -> VisionModule {
    var module = self
    module.part = index
    module.parts = count
    return module
  }

  func behind(_ prefix: String) -> VisionModule {
    var module = self
    module.weight = prefix + weight
    module.bias = prefix + bias
    return module
  }
}

/// The names of a layer's parameters, behind its prefix.
struct VisionLayerNames: Sendable {
  var attentionNorm: VisionModule
  var query: VisionModule
  var key: VisionModule
  var value: VisionModule
  var output: VisionModule
  var feedForwardNorm: VisionModule
  var gate: VisionModule?
  var up: VisionModule
  var down: VisionModule
  /// What multiplies the results of attention and feed-forward network (LayerScale), where it is.
  var outputScale: String?
  var downScale: String?
}

/// The names of all parameters.
struct VisionNames: Sendable {
  /// In front of every name but those of `hidden` and `head`.
  var prefix = ""
  /// Tokens in front of the patches, in their order; each may be several rows.
  var tokens: [String]
  var positions: String
  var projection: VisionModule
  /// In front of the number of a layer.
  var layers: String
  var layer: VisionLayerNames
  var firstNorm: VisionModule?
  /// nil: there is none.
  var finalNorm: VisionModule?
  var hidden: VisionModule?
  var head: VisionModule?
  /// Tensors that are none of the transformer's business, by their full names.
  var ignored: @Sendable (String) -> Bool = { _ in false }

  func prefix(_ layer: Int) -> String { "\(prefix)\(layers)\(layer)." }
}

/// How a table of positions comes to another grid.
package enum VisionInterpolation: Sendable {
  case bicubic
  /// Widened to the step where it becomes smaller (DINOv2 with registers, timm).
  case bicubicAntialiased
}

/// A vision transformer and where its parameters are.
struct VisionPlan: Sendable {
  /// What the format calls the architecture, for messages.
  var architecture: String
  var names: VisionNames
  var description: VisionDescription
  var interpolation = VisionInterpolation.bicubic
  var notes: [String] = []
}

/// The numbers that a description is made of; those of patches, layers and head.
struct VisionShape {
  var channels: Int
  var patchHeight: Int
  var patchWidth: Int
  var width: Int
  var feedForwardWidth: Int
  var layers: Int
  var heads: Int
  var normEpsilon: Double
  var activation: DecoderActivation
  var hasGate = false
  var prefixRows: Int
  /// Labels or features; nil without a head.
  var outputs: Int?

  /// The description of such a transformer for images of `pixels`.
  func description(
    _ pixels: VisionPixels, parts: DecoderParts, labels: [String]
  ) -> VisionDescription {
    let rows = prefixRows + pixels.height / patchHeight * (pixels.width / patchWidth)
    var body = DecoderDescription(
      vocabularySize: outputs ?? width, width: width, feedForwardWidth: feedForwardWidth,
      layers: layers, queryHeads: heads, keyValueHeads: heads, headWidth: width / heads,
      contextLength: rows, norm: .layer, normEpsilon: Float(normEpsilon), activation: activation,
      parts: hasGate ? parts.union(.gate) : parts, rotary: [])
    body.isCausal = false
    return VisionDescription(
      height: pixels.height, width: pixels.width, channels: channels, patchHeight: patchHeight,
      patchWidth: patchWidth, resize: pixels.resize, filter: pixels.filter, mean: pixels.mean,
      deviation: pixels.deviation, prefixRows: prefixRows, body: body, labels: labels,
      hasHead: outputs != nil)
  }
}
