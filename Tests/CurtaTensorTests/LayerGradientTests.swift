// Gradients of whole layers against Reference/gradients.py, which has them from float64 differences.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import CurtaTensor

/// A layer of Reference/gradients.json.
private struct ReferenceLayer: Decodable, CustomTestStringConvertible {
  let name: String
  let width, feed, heads, kv, head, rotary, window: Int
  let norm, activation: String
  let half, causal: Bool
  let cap: Double
  let parts: [String]
  /// Parameters, and the rows x.
  let values: [String: [Float]]
  let w: [Float]
  let y: [Float]
  let gradients: [String: [Float]]

  var testDescription: String { name }

  static let all: [ReferenceLayer] = {
    struct File: Decodable { let cases: [ReferenceLayer] }
    let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let data = try! Data(contentsOf: place.appendingPathComponent("Reference/gradients.json"))
    return try! JSONDecoder().decode(File.self, from: data).cases
  }()

  var description: DecoderDescription {
    let known: [String: DecoderParts] = [
      "query_bias": .queryBias, "key_bias": .keyBias, "value_bias": .valueBias,
      "output_bias": .outputBias, "up_bias": .upBias, "down_bias": .downBias,
      "norm_bias": .normBias,
      "gate_bias": .gateBias, "gate": .gate, "norms_behind": .normsBehind, "parallel": .parallel,
      "shared_norm": .sharedNorm, "post_norms": .postNorms, "head_norms": .headNorms,
    ]
    let table = RotaryTable(
      base: 100, width: rotary, pairing: half ? .halfSplit : .interleaved)
    var d = DecoderDescription(
      vocabularySize: 2, width: width, feedForwardWidth: feed, layers: 1, queryHeads: heads,
      keyValueHeads: kv, headWidth: head, contextLength: 8, norm: DecoderNorm(rawValue: norm)!,
      activation: DecoderActivation(rawValue: activation)!,
      parts: DecoderParts(parts.map { known[$0]! }), rotary: rotary > 0 ? [table] : [])
    d.attention = [
      LayerAttention(rotary: rotary > 0 ? 0 : nil, window: window > 0 ? window : nil)
    ]
    d.scoreCap = cap > 0 ? cap : nil
    d.isCausal = causal
    return d
  }

  var layer: DecoderLayer {
    let (q, k) = (heads * head, kv * head)
    func linear(_ name: String, _ rows: Int, _ columns: Int) -> LinearLayer? {
      values[name].map {
        LinearLayer(
          Matrix(rows: rows, columns: columns, values: $0), bias: values[name + "_bias"])
      }
    }
    func norm(_ name: String) -> NormLayer? {
      values[name].map { NormLayer($0, bias: values[name + "_bias"]) }
    }
    return DecoderLayer(
      attentionNorm: norm("attention_norm")!, query: linear("query", q, width)!,
      key: linear("key", k, width)!, value: linear("value", k, width)!,
      queryNorm: values["query_norm"], keyNorm: values["key_norm"],
      output: linear("output", width, q)!, attentionPostNorm: norm("attention_post_norm"),
      feedForwardNorm: norm("feed_forward_norm"), gate: linear("gate", feed, width),
      up: linear("up", feed, width)!, down: linear("down", width, feed)!,
      feedForwardPostNorm: norm("feed_forward_post_norm"))
  }

  func rows(_ values: [Float]) -> Matrix {
    Matrix(rows: values.count / width, columns: width, values: values)
  }
}

@Suite struct LayerGradientTests {
  /// The output, and the gradients by the rows and by every parameter.
  @Test(arguments: ReferenceLayer.all)
  fileprivate func gradientsAreThoseOfTheReference(_ reference: ReferenceLayer) throws {
    let (d, layer) = (reference.description, reference.layer)
    #expect(layer.fits(d))
    let tape = Tape()
    let x = Variable(reference.rows(reference.values["x"]!))
    let weights = LayerVariables(layer, isWanted: true)
    let output = LayerTape(LayerRunner(d), layer, 0, on: tape).run(x, weights)
    expect(output.value.values, reference.y, "output")
    tape.goBack(from: output, gradient: reference.rows(reference.w))
    var found: [String: Variable] = ["x": x]
    let linears: [(String, LayerVariables.Linear?)] = [
      ("query", weights.query), ("key", weights.key), ("value", weights.value),
      ("output", weights.output), ("gate", weights.gate), ("up", weights.up),
      ("down", weights.down),
    ]
    for (name, linear) in linears {
      found[name] = linear?.weight
      found[name + "_bias"] = linear?.bias
    }
    let norms: [(String, LayerVariables.Norm?)] = [
      ("attention_norm", weights.attentionNorm),
      ("attention_post_norm", weights.attentionPostNorm),
      ("feed_forward_norm", weights.feedForwardNorm),
      ("feed_forward_post_norm", weights.feedForwardPostNorm),
    ]
    for (name, norm) in norms {
      found[name] = norm?.weight
      found[name + "_bias"] = norm?.bias
    }
    #expect(Set(found.keys) == Set(reference.gradients.keys))
    for (name, expected) in reference.gradients {
      expect(try #require(found[name]?.gradient).values, expected, name)
    }
  }

  /// Within 1e-5 of the largest.
  private func expect(_ found: [Float], _ expected: [Float], _ name: String) {
    #expect(found.count == expected.count)
    let largest = expected.map(abs).max() ?? 0
    let distance = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(distance <= 1e-5 * max(largest, 1), "\(name): off by \(distance) of \(largest)")
  }
}
