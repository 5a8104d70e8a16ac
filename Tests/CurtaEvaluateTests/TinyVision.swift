// Small random vision transformers of every arrangement.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Testing

/// The arrangement of a random vision transformer.
struct TinyVision: Sendable, CustomTestStringConvertible {
  let name: String
  var change: @Sendable (inout VisionDescription) -> Void

  var testDescription: String { name }

  init(_ name: String, _ change: @escaping @Sendable (inout VisionDescription) -> Void) {
    self.name = name
    self.change = change
  }

  static let all: [TinyVision] = [
    TinyVision("vit") { _ in },
    TinyVision("grey, mean of patches, then norm") { d in
      d.channels = 1
      (d.mean, d.deviation) = ([0.13], [0.31])
      d.pooling = .mean(first: 1)
    },
    TinyVision("norm, then mean, two-layer head") { d in
      d.pooling = .mean(first: 0)
      d.normsPooledRow = false
      d.headWidth = 48
    },
    TinyVision("norms behind") { d in
      d.body.parts.insert(.normsBehind)
      d.body.activation = .relu
    },
    TinyVision("norms behind, no final norm, mean") { d in
      d.body.parts.insert(.normsBehind)
      d.hasFinalNorm = false
      d.pooling = .mean(first: 1)
    },
    TinyVision("clip features") { d in
      d.hasFirstNorm = true
      d.body.activation = .quickGelu
      d.hasHead = false
    },
    TinyVision("registers, features") { d in
      d.prefixRows = 5
      d.body.contextLength = d.rows
      d.hasHead = false
    },
    TinyVision("no prefix, oblong, rms, gate, head norms") { d in
      (d.height, d.width, d.patchHeight, d.patchWidth) = (18, 20, 6, 4)
      d.prefixRows = 0
      d.pooling = .mean(first: 0)
      d.body.norm = .rms
      d.body.parts = [.gate, .headNorms]
      d.body.activation = .silu
    },
    TinyVision("parallel, shared norm") { d in
      d.body.parts.formUnion([.parallel, .sharedNorm])
    },
    TinyVision("heads of 32, shared values") { d in
      (d.body.headWidth, d.body.keyValueHeads) = (32, 2)
      d.body.scoreScale = 1 / 32.0.squareRoot()
    },
  ]

  /// The weights, the same for the same seed.
  func weights(seed: UInt64 = 1) -> VisionWeights {
    var body = DecoderDescription(
      vocabularySize: 10, width: 64, feedForwardWidth: 96, layers: 3, queryHeads: 4,
      keyValueHeads: 4, headWidth: 16, contextLength: 17, norm: .layer, normEpsilon: 1e-6,
      activation: .geluErf,
      parts: [
        .queryBias, .keyBias, .valueBias, .outputBias, .upBias, .downBias, .headBias, .normBias,
      ],
      rotary: [])
    body.isCausal = false
    var d = VisionDescription(
      height: 16, width: 16, channels: 3, patchHeight: 4, patchWidth: 4, resize: .stretch,
      filter: .bicubic, mean: [0.48, 0.46, 0.41], deviation: [0.27, 0.26, 0.28], prefixRows: 1,
      body: body, hasHead: true)
    change(&d)
    if !d.hasHead { d.body.vocabularySize = d.body.width }
    d.body.contextLength = d.rows
    d.labels = d.hasHead ? (0..<10).map { "label \($0)" } : []
    var random = RandomTensors(seed)
    let weights = random.weights(d)
    precondition(weights.isConsistent)
    return weights
  }
}

/// Draws tensors.
private struct RandomTensors {
  var random: SeededRandom

  init(_ seed: UInt64) { random = SeededRandom(seed) }

  mutating func values(_ count: Int, mean: Float = 0, _ deviation: Float) -> [Float] {
    (0..<count).map { _ in
      var sum: Float = -6
      for _ in 0..<12 { sum += Float(random.next() >> 40) * 0x1p-24 }
      return mean + deviation * sum
    }
  }

  mutating func linear(_ rows: Int, _ columns: Int, bias: Bool, _ gain: Float = 1) -> LinearLayer {
    LinearLayer(
      Matrix(
        rows: rows, columns: columns,
        values: values(rows * columns, gain / Float(columns).squareRoot())),
      bias: bias ? values(rows, 0.2) : nil)
  }

  mutating func norm(_ d: DecoderDescription) -> NormLayer {
    NormLayer(
      values(d.width, mean: 1, 0.2), bias: d.parts.contains(.normBias) ? values(d.width, 0.2) : nil)
  }

  mutating func weights(_ d: VisionDescription) -> VisionWeights {
    let (body, parts) = (d.body, d.body.parts)
    let layers = (0..<body.layers).map { _ in
      DecoderLayer(
        attentionNorm: norm(body),
        query: linear(body.queryWidth, body.width, bias: parts.contains(.queryBias), 1.5),
        key: linear(body.keyValueWidth, body.width, bias: parts.contains(.keyBias), 1.5),
        value: linear(body.keyValueWidth, body.width, bias: parts.contains(.valueBias)),
        queryNorm: parts.contains(.headNorms) ? values(body.headWidth, mean: 1, 0.2) : nil,
        keyNorm: parts.contains(.headNorms) ? values(body.headWidth, mean: 1, 0.2) : nil,
        output: linear(body.width, body.queryWidth, bias: parts.contains(.outputBias)),
        feedForwardNorm: parts.contains(.sharedNorm) ? nil : norm(body),
        gate: parts.contains(.gate)
          ? linear(body.feedForwardWidth, body.width, bias: parts.contains(.gateBias)) : nil,
        up: linear(body.feedForwardWidth, body.width, bias: parts.contains(.upBias)),
        down: linear(body.width, body.feedForwardWidth, bias: parts.contains(.downBias)))
    }
    func rows(_ count: Int) -> Matrix {
      Matrix(rows: count, columns: body.width, values: values(count * body.width, 0.3))
    }
    let ends = VisionEnds(
      projection: linear(body.width, d.patchElements, bias: true),
      prefix: d.prefixRows > 0 ? rows(d.prefixRows) : nil, positions: rows(d.rows),
      firstNorm: d.hasFirstNorm ? norm(body) : nil, finalNorm: d.hasFinalNorm ? norm(body) : nil,
      hidden: d.headWidth.map { linear($0, body.width, bias: true) },
      head: d.hasHead
        ? linear(body.vocabularySize, d.headWidth ?? body.width, bias: true, 2) : nil)
    return VisionWeights(description: d, ends: ends, layers: layers)
  }
}
