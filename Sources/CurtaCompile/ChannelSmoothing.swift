// Scales the channels between the parts of a layer, which leaves the float model what it is.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// Where channels of a layer can be scaled: what makes them takes 1/r, what reads them r.
package enum SmoothedSite: String, CaseIterable, Sendable {
  /// The norm in front of query, key and value; in front of gate and up too where they share it.
  case attentionNorm = "attention_norm"
  /// The values and the output projection. Channels of heads that share a value share a factor.
  case value
  /// The norm in front of gate and up.
  case feedForwardNorm = "feed_forward_norm"
  /// up and down, where what is between them is linear in up: with a gate, or max(x, 0).
  case up

  /// Whether a decoder's layers have it. Rotated pairs of query and key are never scaled apart:
  /// both read what the norm gives.
  func isPresent(in d: DecoderDescription) -> Bool {
    switch self {
    case .attentionNorm: !d.parts.contains(.normsBehind)
    case .value: true
    case .feedForwardNorm: d.parts.isDisjoint(with: [.normsBehind, .sharedNorm])
    case .up: d.parts.contains(.gate) || d.activation == .relu
    }
  }

  /// The place that shows the channels.
  fileprivate var place: ActivationSite {
    switch self {
    case .attentionNorm: .attentionInput
    case .value: .attentionOutput
    case .feedForwardNorm: .feedForwardInput
    case .up: .feedForwardProduct
    }
  }

  /// The weights that read the channels.
  fileprivate func readers(_ d: DecoderDescription) -> [LayerPart] {
    switch self {
    case .attentionNorm:
      [.query, .key, .value]
        + (d.parts.contains(.sharedNorm) ? (d.parts.contains(.gate) ? [.gate, .up] : [.up]) : [])
    case .value: [.output]
    case .feedForwardNorm: d.parts.contains(.gate) ? [.gate, .up] : [.up]
    case .up: [.down]
    }
  }

  /// For every channel the first one with the same factor; nil: each has its own.
  func sharing(_ d: DecoderDescription) -> [Int]? {
    guard self == .value, d.queryHeads != d.keyValueHeads else { return nil }
    let share = d.queryHeads / d.keyValueHeads
    return (0..<d.queryWidth).map { k in
      k / d.headWidth / share * share * d.headWidth + k % d.headWidth
    }
  }
}

/// The factors of one layer.
package struct LayerFactors: Sendable {
  /// [columns of the readers] for each site that is scaled.
  package var factors: [(site: SmoothedSite, choice: SmoothingChoice, r: [Float])] = []

  package init() {}
}

extension DecoderLayer {
  /// The same function with the channels of a site divided by `r` where they are made and multiplied
  /// where they are read. A norm's bias is divided too, so it may be folded before or after.
  package func scaled(
    _ site: SmoothedSite, by r: [Float], _ d: DecoderDescription
  ) -> DecoderLayer {
    var layer = self
    for part in site.readers(d) {
      layer.setScaled(part, part.values(self).scalingColumns(by: r))
    }
    switch site {
    case .attentionNorm: layer.attentionNorm = attentionNorm.divided(by: r)
    case .feedForwardNorm: layer.feedForwardNorm = feedForwardNorm?.divided(by: r)
    case .up: layer.up = up.dividingRows(by: r)
    case .value:
      // Of the query heads that share a value, the first stands for all.
      let share = d.queryHeads / d.keyValueHeads
      layer.value = value.dividingRows(
        by: (0..<d.keyValueWidth).map {
          r[$0 / d.headWidth * share * d.headWidth + $0 % d.headWidth]
        })
    }
    return layer
  }

  package func scaled(_ all: LayerFactors, _ d: DecoderDescription) -> DecoderLayer {
    all.factors.reduce(self) { $0.scaled($1.site, by: $1.r, d) }
  }

  /// `setWeight`, but a gate keeps its bias.
  fileprivate mutating func setScaled(_ part: LayerPart, _ values: Matrix) {
    switch part {
    case .query: query.weight = values
    case .key: key.weight = values
    case .value: value.weight = values
    case .output: output.weight = values
    case .up: up.weight = values
    case .down: down.weight = values
    case .gate: gate?.weight = values
    default: preconditionFailure("\(part) reads no channels")
    }
  }
}

extension LayerStack {
  /// The factors of all layers that lose least with `recipe`'s weights rounded to nearest.
  ///
  /// At each site the choice of least Σ tr(E H Eᵀ) is taken, E the errors of the weights that read
  /// its channels (AWQ's search), and kept if then the whole layer, weights and activations rounded
  /// as the program does, is closer to the float one. Throws what reading throws, `QuantizeError`.
  func smoothingFactors(
    _ recipe: Recipe, progress: (Int) -> Void = { _ in }
  ) throws -> [LayerFactors] {
    var streams = streams
    let sites = SmoothedSite.allCases.filter { $0.isPresent(in: d) }
    return try (0..<d.layers).map { index in
      progress(index)
      let layer = try layer(index)
      let seen = try channels(layer, index, sites, streams)
      let expected = run(layer, index, over: streams)
      var found = LayerFactors()
      var best = layer
      var least = try error(best, index, recipe, streams, expected)
      for site in sites {
        guard let smoothing = seen[site],
          let (choice, r) = try bestChoice(best, site, smoothing, recipe, index)
        else { continue }
        let trial = best.scaled(site, by: r, d)
        let lost = try error(trial, index, recipe, streams, expected)
        if lost < least {
          (best, least) = (trial, lost)
          found.factors.append((site, choice, r))
        }
      }
      streams = expected
      return found
    }
  }

  /// Moments and peaks of the channels of every site of a layer.
  private func channels(
    _ layer: DecoderLayer, _ index: Int, _ sites: [SmoothedSite], _ streams: [Matrix]
  ) throws -> [SmoothedSite: Smoothing] {
    var seen: [SmoothedSite: Smoothing] = [:]
    var failure: QuantizeError?
    let watch = LayerRunner(
      d,
      SiteTransform { place, _, values, width in
        guard let site = sites.first(where: { $0.place == place }) else { return }
        let rows = Matrix(rows: values.count / width, columns: width, values: values)
        var own =
          seen[site]
          ?? Smoothing(
            moments: Hessian(columns: width), peaks: [Float](repeating: 0, count: width))
        do throws(QuantizeError) { try own.moments.accumulate(rows: rows) } catch {
          failure = error
        }
        for (i, value) in values.enumerated() {
          own.peaks[i % width] = max(own.peaks[i % width], abs(value))
        }
        seen[site] = own
      })
    for stream in streams {
      var (copy, cache) = (stream, LayerCache())
      watch.run(layer, index, &copy, from: 0, &cache)
    }
    if let failure { throw failure }
    return seen
  }

  /// The choice of least error of the weights that read a site's channels, with its factors; nil
  /// where none is better than no factors.
  private func bestChoice(
    _ layer: DecoderLayer, _ site: SmoothedSite, _ smoothing: Smoothing, _ recipe: Recipe,
    _ index: Int
  ) throws -> (SmoothingChoice, [Float])? {
    let parts = site.readers(d)
    func error(_ r: [Float]?) throws -> Double {
      var sum = 0.0
      for part in parts {
        let weight = part.values(layer)
        var lost: Matrix
        if let r {
          lost = try rounded(weight.scalingColumns(by: r), part, recipe, index)
          lost = lost.scalingColumns(by: r.map { 1 / $0 })
        } else {
          lost = try rounded(weight, part, recipe, index)
        }
        for i in lost.values.indices { lost.values[i] -= weight.values[i] }
        sum += smoothing.outputError(lost)
      }
      return sum
    }
    var least = try error(nil)
    var best: (SmoothingChoice, [Float])?
    for choice in SmoothingChoice.all {
      let r = smoothing.factors(choice, shared: site.sharing(d))
      let lost = try error(r)
      if lost < least { (least, best) = (lost, (choice, r)) }
    }
    return best
  }

  /// A weight as the file would hold it, rounded to nearest.
  private func rounded(
    _ weight: Matrix, _ part: LayerPart, _ recipe: Recipe, _ index: Int
  ) throws -> Matrix {
    let planned = part.planned(d, spreading, layer: index)
    guard let role = planned.role else { preconditionFailure("\(planned.name) is no weight") }
    let turned = planned.turned(weight)
    let tensor = try recipe.quantize(turned, name: planned.name, role: role)
    return planned.turnedBack(tensor.dequantized() ?? turned)
  }

  /// Σ over tokens of the squared error behind a layer whose weights and activations are rounded.
  private func error(
    _ layer: DecoderLayer, _ index: Int, _ recipe: Recipe, _ streams: [Matrix],
    _ expected: [Matrix]
  ) throws -> Double {
    var quantized = layer
    for part in LayerPart.present(in: d.parts) where part.isWeight {
      quantized.setScaled(part, try rounded(part.values(layer), part, recipe, index))
    }
    let runner = LayerRunner(d, FakeQuantization.transform(spreading))
    let found = runner.run(quantized, index, over: streams)
    var sum = 0.0
    for (a, b) in zip(found, expected) {
      for (x, y) in zip(a.values, b.values) {
        let difference = Double(x) - Double(y)
        sum += difference * difference
      }
    }
    return sum
  }
}

extension VisionWeights {
  /// The same model with the channels of its layers scaled.
  func scaled(_ factors: [LayerFactors]) -> VisionWeights {
    var weights = self
    for index in weights.layers.indices {
      weights.layers[index] = layers[index].scaled(factors[index], description.body)
    }
    return weights
  }
}

extension DecoderSource {
  /// The same decoder with the channels of its layers scaled.
  func scaled(_ factors: [LayerFactors]) -> DecoderSource {
    let source = self
    let description = description
    return DecoderSource(
      description: description, parameterCount: parameterCount, ends: { try source.ends() },
      layer: { try source.layer($0).scaled(factors[$0], description) })
  }
}

extension [LayerFactors] {
  /// What was chosen, a line for each scaled site.
  var report: String {
    enumerated().flatMap { index, layer in
      layer.factors.map { "layers.\(index).\($0.site.rawValue) \($0.choice)" }
    }.joined(separator: "\n")
  }
}

extension NormLayer {
  fileprivate func divided(by r: [Float]) -> NormLayer {
    NormLayer(zip(weight, r).map { $0 / $1 }, bias: bias.map { zip($0, r).map { $0 / $1 } })
  }
}

extension LinearLayer {
  /// Outputs n over r[n].
  fileprivate func dividingRows(by r: [Float]) -> LinearLayer {
    var weight = weight
    for row in 0..<weight.rows {
      for k in 0..<weight.columns { weight.values[row * weight.columns + k] /= r[row] }
    }
    return LinearLayer(weight, bias: bias.map { zip($0, r).map { $0 / $1 } })
  }
}

extension Matrix {
  /// Columns k times r[k].
  fileprivate func scalingColumns(by r: [Float]) -> Matrix {
    var result = self
    result.values.withUnsafeMutableBufferPointer { values in
      for row in 0..<rows {
        for k in 0..<columns { values[row * columns + k] *= r[k] }
      }
    }
    return result
  }
}
