// The float32 forward pass of a vision transformer: the reference that quality is measured against.
// SPDX-License-Identifier: Apache-2.0

/// A vision transformer in float32, one image at a time.
public struct FloatVision {
  public let weights: VisionWeights
  private let runner: LayerRunner

  /// A model of consistent weights (`VisionWeights.isConsistent`). `transform` is called at every
  /// place where the integer runtime quantizes, but for the pixels, which are exact.
  public init(_ weights: VisionWeights, transform: SiteTransform = .none) {
    precondition(weights.isConsistent, "weights do not have the shapes of their description")
    self.weights = weights
    runner = LayerRunner(weights.description.body, transform)
  }

  /// The labels' logits, or the features, of an image [height][width][channels] of 0…255,
  /// [vocabularySize].
  public func forward(_ pixels: [UInt8]) -> [Float] {
    var x = stream(pixels)
    for (index, layer) in weights.layers.enumerated() {
      var cache = LayerCache()
      runner.run(layer, index, &x, from: 0, &cache)
    }
    return finish(x)
  }

  /// The labels' logits, or the features, of the rows behind the last layer, [vocabularySize].
  public func finish(_ rows: Matrix) -> [Float] {
    let (d, ends) = (weights.description, weights.ends)
    var x = rows
    if let norm = ends.finalNorm, !d.normsPooledRow { x = x.normed(norm, d.body) }
    var pooled = pool(x)
    if let norm = ends.finalNorm, d.normsPooledRow { pooled = pooled.normed(norm, d.body) }
    let last = max(0, d.body.layers - 1)
    if let hidden = ends.hidden {
      runner.transform.apply(.headInput, last, &pooled.values, pooled.columns)
      pooled = pooled.through(hidden)
      activate(&pooled.values, d.body.activation)
    }
    guard let head = ends.head else { return pooled.values }
    runner.transform.apply(.headInput, last, &pooled.values, pooled.columns)
    return pooled.through(head).values
  }

  /// The rows that enter the first layer, [rows][width].
  public func stream(_ pixels: [UInt8]) -> Matrix {
    var x = embed(pixels)
    let body = weights.description.body
    if let norm = weights.ends.firstNorm { x = x.normed(norm, body) }
    runner.transform.apply(.residual, 0, &x.values, body.width)
    return x
  }

  /// Prefix and patches with their positions, [rows][width].
  private func embed(_ pixels: [UInt8]) -> Matrix {
    let (d, ends) = (weights.description, weights.ends)
    precondition(pixels.count == d.height * d.width * d.channels, "an image of another size")
    var patches = Matrix(rows: d.patches, columns: d.patchElements)
    var at = 0
    for top in stride(from: 0, to: d.height, by: d.patchHeight) {
      for left in stride(from: 0, to: d.width, by: d.patchWidth) {
        for y in top..<top + d.patchHeight {
          for x in left..<left + d.patchWidth {
            for channel in 0..<d.channels {
              let value = Double(pixels[(y * d.width + x) * d.channels + channel]) / 255
              patches.values[at] = Float((value - d.mean[channel]) / d.deviation[channel])
              at += 1
            }
          }
        }
      }
    }
    let rows = (ends.prefix?.values ?? []) + patches.through(ends.projection).values
    var x = Matrix(rows: d.rows, columns: d.body.width, values: rows)
    if let positions = ends.positions { x.add(positions) }
    return x
  }

  private func pool(_ x: Matrix) -> Matrix {
    switch weights.description.pooling {
    case .row(let row): return Matrix(rows: 1, columns: x.columns, values: Array(x.row(row)))
    case .mean(let first):
      var sum = [Double](repeating: 0, count: x.columns)
      for row in first..<x.rows {
        for (i, value) in x.row(row).enumerated() { sum[i] += Double(value) }
      }
      return Matrix(
        rows: 1, columns: x.columns, values: sum.map { Float($0 / Double(x.rows - first)) })
    }
  }
}
