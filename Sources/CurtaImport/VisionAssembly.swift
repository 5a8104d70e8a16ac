// Puts together what the tensors of a vision transformer say and what its configuration says.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// Everything that is known of a checkpoint, before it becomes a plan.
struct VisionAssembly {
  let catalog: TensorCatalog
  var naming: VisionNaming
  var names: VisionNames
  var configuration: VisionConfiguration
  /// The file that the configuration is from, for messages.
  let file: String
  /// Number of channels to the preparation of images.
  let preprocessing: (Int) throws(ImportError) -> VisionPreprocessing
  let options: VisionOptions
  /// Whether the output is one of features, whose rows have no names.
  var givesFeatures = false
  /// Tensors of a head that nobody wants.
  var ignoresHead: @Sendable (String) -> Bool = { _ in false }

  /// The plan; `problems` is all that is unsupported.
  func plan(_ problems: inout [String]) throws(ImportError) -> VisionPlan {
    var names = names
    if options.features { leaveOutHead(&names) }
    let inspection = VisionInspection(catalog: catalog, names: names)
    let patches = try inspection.patches(
      patch: configuration.patchSize, channels: configuration.channels)
    let prefixRows = try inspection.prefixRows()
    let shape = try shape(inspection, patches, prefixRows, &problems)
    try configuration.check(shape, labels: givesFeatures ? nil : shape.outputs, file: file)

    let preprocessing = try preprocessing(patches.channels)
    let grid = try inspection.imageSize(prefixRows: prefixRows, patch: patches.patch)
    let own = configuration.imageSize ?? grid
    guard let pixels = preprocessing.pixels(model: own, chosen: options.imageSize) else {
      throw .bad(
        .missingField, file: file, field: "image_size",
        "is missing, and the positions are those of no square grid",
        advice: "give the height and the width of the images")
    }
    checkSizes(pixels, shape, &problems)
    guard problems.isEmpty else { throw .unsupported(problems) }

    let hasLabels = shape.outputs != nil && !givesFeatures
    var description = shape.description(
      pixels, parts: inspection.parts(), labels: hasLabels ? configuration.labels : [])
    let queryWidth = try inspection.queryWidth()
    description.body.headWidth = queryWidth / shape.heads
    description.body.scoreScale =
      configuration.scoreScale ?? 1 / Double(description.body.headWidth).squareRoot()
    if configuration.normsBehind ?? naming.normsBehind ?? false {
      description.body.parts.insert(.normsBehind)
    }
    description.hasFirstNorm = names.firstNorm != nil
    description.hasFinalNorm = names.finalNorm != nil
    description.headWidth = try inspection.headWidth()
    let normsMean = names.finalNorm == "fc_norm"
    let poolsMean = configuration.poolsMean ?? (normsMean || names.tokens.isEmpty)
    description.pooling = poolsMean ? .mean(first: prefixRows) : .row(0)
    description.normsPooledRow = !poolsMean || normsMean

    var notes = preprocessing.notes
    if let grid, (grid.height, grid.width) != (pixels.height, pixels.width) {
      notes.append(
        "positions are interpolated from images of \(grid.height) × \(grid.width) to "
          + "\(pixels.height) × \(pixels.width)")
    }
    return VisionPlan(
      architecture: naming.name, names: names, description: description,
      interpolation: naming.interpolation, notes: notes)
  }

  /// The pooled row is the output; the head's tensors are nobody's business.
  private func leaveOutHead(_ names: inout VisionNames) {
    let (ignored, ignoresHead) = (names.ignored, ignoresHead)
    let left = [names.head, names.hidden].compactMap { $0 }.flatMap { [$0.weight, $0.bias] }
    names.ignored = { ignored($0) || ignoresHead($0) || left.contains($0) }
    names.head = nil
    names.hidden = nil
  }

  private func shape(
    _ inspection: VisionInspection,
    _ patches: (width: Int, channels: Int, patch: VisionPreprocessing.Size), _ prefixRows: Int,
    _ problems: inout [String]
  ) throws(ImportError) -> VisionShape {
    var missing: [String] = []
    let isGated = names.layer.gate != nil
    let activation = isGated ? .silu : configuration.activation ?? naming.activation
    if activation == nil { missing.append("hidden_act") }
    if configuration.normsBehind == nil, naming.normsBehind == nil {
      missing.append("norm_placement")
    }
    let queryWidth = try inspection.queryWidth()
    let derived = naming.headWidth.flatMap { queryWidth % $0 == 0 ? queryWidth / $0 : nil }
    let heads = configuration.heads ?? derived
    if heads == nil { missing.append("num_attention_heads") }
    guard let activation, let heads, missing.isEmpty else {
      throw .bad(
        .missingField, file: file, field: missing.joined(separator: ", "),
        missing.count > 1 ? "are missing" : "is missing",
        advice: "the weights do not say it; give what the training had")
    }
    guard queryWidth % heads == 0, queryWidth / heads <= ConfigurationReader.headLimit else {
      throw .bad(
        .outOfRange, file: file, field: "num_attention_heads",
        "\(heads) heads do not divide the \(queryWidth) rows of the queries",
        advice: "check that the file belongs to these weights")
    }
    let layers = inspection.layers()
    if patches.channels != 1, patches.channels != 3 {
      problems.append("images of \(patches.channels) channels (supported: 1, 3)")
    }
    return VisionShape(
      channels: patches.channels, patchHeight: patches.patch.height,
      patchWidth: patches.patch.width, width: patches.width,
      feedForwardWidth: try inspection.feedForwardWidth(), layers: layers, heads: heads,
      normEpsilon: configuration.normEpsilon ?? naming.normEpsilon, activation: activation,
      hasGate: isGated, prefixRows: prefixRows, outputs: try inspection.outputs())
  }

  private func checkSizes(
    _ pixels: VisionPixels, _ shape: VisionShape, _ problems: inout [String]
  ) {
    let (height, width) = (pixels.height, pixels.width)
    if height % shape.patchHeight != 0 || width % shape.patchWidth != 0 {
      problems.append(
        "images of \(height) × \(width) pixels in patches of \(shape.patchHeight) × "
          + "\(shape.patchWidth) (supported: whole patches; choose another image size)")
      return
    }
    let rows = shape.prefixRows + height / shape.patchHeight * (width / shape.patchWidth)
    if rows > VisionLimit.rows || rows * shape.width > VisionLimit.tableElements {
      problems.append("images of \(height) × \(width) pixels are too many patches")
    }
  }
}
