// The shape of a vision transformer as its tensors have it.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// What the tensors of a checkpoint say about the model; the values are not looked at.
struct VisionInspection {
  let catalog: TensorCatalog
  let names: VisionNames

  /// A tensor of that rank whose sizes are sane.
  private func shape(_ name: String, rank: ClosedRange<Int>) throws(ImportError) -> [Int] {
    guard let tensor = catalog[name] else {
      throw .bad(
        .missingTensor, file: catalog.place, field: name, "is not there",
        advice: "check that these are all weights of the model")
    }
    guard rank.contains(tensor.shape.count),
      tensor.shape.allSatisfy({ $0 > 0 && $0 <= ConfigurationReader.sizeLimit })
    else {
      throw .bad(
        .wrongShape, file: tensor.file.path, field: name, offset: tensor.recordOffset,
        "has the shape \(tensor.shape), which is not that of such a parameter")
    }
    return tensor.shape
  }

  /// Rows of a module of one layer or of the ends, its part of a fused one.
  private func rows(_ module: VisionModule) throws(ImportError) -> Int {
    let rows = try shape(module.weight, rank: 2...2)[0]
    guard rows % module.parts == 0 else {
      throw .bad(
        .wrongShape, file: catalog.place, field: module.weight,
        "has \(rows) rows, which are not \(module.parts) parts")
    }
    return rows / module.parts
  }

  /// [width][channels][height][width] of a patch; those of a matrix are `patch` and `channels`.
  func patches(
    patch: VisionPreprocessing.Size?, channels: Int?
  ) throws(ImportError) -> (width: Int, channels: Int, patch: VisionPreprocessing.Size) {
    let name = names.prefix + names.projection.weight
    let shape = try shape(name, rank: 2...4)
    let limit = VisionLimit.imageEdge
    if shape.count == 4, shape[2] <= limit, shape[3] <= limit {
      return (shape[0], shape[1], .init(height: shape[2], width: shape[3]))
    }
    guard shape.count == 2 else {
      throw .bad(
        .wrongShape, file: catalog.place, field: name,
        "has the shape \(shape), not that of a "
          + "convolution or a matrix")
    }
    // A matrix of square patches, grey or of three colours, says so by its columns.
    for channels in channels.map({ [$0] }) ?? [3, 1] {
      if let patch, patch.height * patch.width * channels == shape[1] {
        return (shape[0], channels, patch)
      }
      if patch == nil, shape[1] % channels == 0,
        let edge = VisionPositions.squareRoot(shape[1] / channels)
      {
        return (shape[0], channels, .init(height: edge, width: edge))
      }
    }
    throw .bad(
      .missingField, file: catalog.place, field: name,
      "takes \(shape[1]) numbers, which are no square patch",
      advice: "give patch_size and num_channels in \(VisionConfiguration.fileName)")
  }

  /// Rows in front of the patches.
  func prefixRows() throws(ImportError) -> Int {
    var count = 0
    for name in names.tokens {
      count += try shape(names.prefix + name, rank: 1...3).dropLast().max() ?? 1
    }
    return count
  }

  /// Rows of the table of positions.
  func positions() throws(ImportError) -> Int {
    try shape(names.prefix + names.positions, rank: 2...3).dropLast().max() ?? 1
  }

  /// The edges of the images that the table of positions is for, where its grid is square.
  func imageSize(
    prefixRows: Int, patch: VisionPreprocessing.Size
  ) throws(ImportError) -> VisionPreprocessing.Size? {
    let none = (rows: 0, columns: 0)
    guard
      let grid = VisionPositions.grid(
        rows: try positions(), prefixRows: prefixRows, wanted: none)
    else { return nil }
    return .init(height: grid.rows * patch.height, width: grid.columns * patch.width)
  }

  /// Number of layers: those that have a query, from the first on.
  func layers() -> Int {
    var count = 0
    while count < ConfigurationReader.layerLimit,
      catalog.has(names.prefix(count) + names.layer.query.weight)
    { count += 1 }
    return count
  }

  func feedForwardWidth() throws(ImportError) -> Int {
    try rows(names.layer.up.behind(names.prefix(0)))
  }

  func queryWidth() throws(ImportError) -> Int {
    try rows(names.layer.query.behind(names.prefix(0)))
  }

  /// Rows of the head, labels or features; nil without one.
  func outputs() throws(ImportError) -> Int? {
    guard let head = names.head else { return nil }
    return try rows(head)
  }

  func headWidth() throws(ImportError) -> Int? {
    guard let hidden = names.hidden else { return nil }
    return try rows(hidden)
  }

  /// The biases of the first layer, which all others must have too.
  func parts() -> DecoderParts {
    let layer = names.layer
    let biases: [(VisionModule?, DecoderParts)] = [
      (layer.query, .queryBias), (layer.key, .keyBias), (layer.value, .valueBias),
      (layer.output, .outputBias), (layer.gate, .gateBias), (layer.up, .upBias),
      (layer.down, .downBias),
    ]
    var parts: DecoderParts = [.normBias]
    for (module, bias) in biases {
      guard let module, catalog.has(names.prefix(0) + module.bias) else { continue }
      parts.insert(bias)
    }
    return parts
  }
}
