// Turns the residual stream by the weights that write and read it, in place of the program.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The rotation Q of a residual stream (QuaRot's R1): blocks of the orthonormal Hadamard.
///
/// What is written to the stream becomes Q w, what reads it takes Qᵀ. A norm without weights commutes
/// with Q, so its weights go into the linear layers behind it. A layer norm becomes an RMS norm where
/// all that is written has mean 0 (SliceGPT, Ashkboos et al. 2024): its weights take the mean away.
private struct ResidualRotation {
  let block: Int
  let centres: Bool

  init(_ d: DecoderDescription) {
    block = Spreading.block(d.width)
    centres = d.norm == .layer
  }

  private var scale: Float { 1 / Float(block).squareRoot() }

  /// Rows of the stream, [rows][width].
  func turned(_ rows: Matrix) -> Matrix {
    var result = rows
    if centres {
      for start in stride(from: 0, to: rows.values.count, by: rows.columns) {
        let own = start..<start + rows.columns
        let sum = rows.values[own].reduce(0.0) { $0 + Double($1) }
        let mean = Float(sum / Double(rows.columns))
        for i in own { result.values[i] -= mean }
      }
    }
    hadamard(&result.values, block: block, scale: scale)
    return result
  }

  /// A layer whose outputs are written to the stream.
  func writing(_ layer: LinearLayer) -> LinearLayer {
    LinearLayer(
      turned(layer.weight.transposed).transposed,
      bias: layer.bias.map { turned(Matrix(row: $0)).values })
  }

  /// Weights that read the stream behind a norm with weights `gamma`.
  func reading(_ weight: Matrix, behind gamma: [Float]) -> Matrix {
    var result = weight
    for row in 0..<weight.rows {
      for k in 0..<weight.columns { result[row, k] *= gamma[k] }
    }
    hadamard(&result.values, block: block, scale: scale)
    return result
  }

  func reading(_ layer: LinearLayer, behind gamma: [Float]) -> LinearLayer {
    LinearLayer(reading(layer.weight, behind: gamma), bias: layer.bias)
  }
}

extension DecoderDescription {
  /// What `DecoderSource.turningResidual` leaves. A tied head becomes a tensor of its own.
  package var turningResidual: DecoderDescription {
    var d = withoutNormBiases
    d.turnsResidual = true
    d.norm = .rms
    d.parts.remove(.tiedHead)
    return d
  }

  /// Why a model's weights cannot turn its residual stream; empty where they can.
  fileprivate var rotationProblems: [String] {
    var problems: [String] = []
    if parts.contains(.normsBehind) { problems.append("norms behind the sums") }
    if parts.contains(.postNorms) { problems.append("norms of what blocks give") }
    if Spreading.block(width) == 0 { problems.append("a width of \(width), no multiple of 4") }
    return problems
  }

  /// Throws `ConversionError` for a decoder that cannot be turned.
  func checkRotation() throws(ConversionError) {
    guard rotationProblems.isEmpty else { throw .rotation(rotationProblems) }
  }
}

extension VisionDescription {
  /// Throws `ConversionError` for a model that cannot be turned.
  func checkRotation() throws(ConversionError) {
    var problems = body.rotationProblems
    if hasFirstNorm { problems.append("a norm in front of the layers") }
    if !hasHead { problems.append("features, which are rows of the stream") }
    if !hasFinalNorm { problems.append("no norm behind the layers") }
    guard problems.isEmpty else { throw .rotation(problems) }
  }
}

extension DecoderLayer {
  fileprivate func turned(_ rotation: ResidualRotation) -> DecoderLayer {
    var layer = self
    let first = attentionNorm.weight
    let second = feedForwardNorm?.weight ?? first
    layer.query = rotation.reading(query, behind: first)
    layer.key = rotation.reading(key, behind: first)
    layer.value = rotation.reading(value, behind: first)
    layer.output = rotation.writing(output)
    layer.gate = gate.map { rotation.reading($0, behind: second) }
    layer.up = rotation.reading(up, behind: second)
    layer.down = rotation.writing(down)
    layer.attentionNorm = attentionNorm.plain
    layer.feedForwardNorm = feedForwardNorm?.plain
    return layer
  }
}

extension DecoderSource {
  /// The same decoder with its residual stream turned. It has no biases in its norms, and none of
  /// `rotationProblems`.
  package func turningResidual() -> DecoderSource {
    let source = self
    let rotation = ResidualRotation(description)
    return DecoderSource(
      description: description.turningResidual, parameterCount: parameterCount,
      ends: {
        var ends = try source.ends()
        ends.head = rotation.reading(ends.head ?? ends.embedding, behind: ends.finalNorm.weight)
        ends.embedding = rotation.turned(ends.embedding)
        ends.positions = ends.positions.map(rotation.turned)
        ends.finalNorm = ends.finalNorm.plain
        return ends
      },
      layer: { try source.layer($0).turned(rotation) })
  }
}

extension VisionWeights {
  /// The same model with its residual stream turned and its norms' biases folded. It has none of
  /// `rotationProblems`.
  func turningResidual() -> VisionWeights {
    var weights = self
    let body = description.body
    let rotation = ResidualRotation(body)
    weights.description.body = body.turningResidual
    weights.layers = layers.map { $0.foldingNormBiases(body).turned(rotation) }
    weights.ends.foldFinalNormBias()
    guard let norm = weights.ends.finalNorm else { preconditionFailure("no norm to fold") }
    if let hidden = weights.ends.hidden {
      weights.ends.hidden = rotation.reading(hidden, behind: norm.weight)
    } else {
      weights.ends.head = weights.ends.head.map { rotation.reading($0, behind: norm.weight) }
    }
    weights.ends.finalNorm = norm.plain
    weights.ends.projection = rotation.writing(weights.ends.projection)
    weights.ends.prefix = ends.prefix.map(rotation.turned)
    weights.ends.positions = ends.positions.map(rotation.turned)
    return weights
  }
}

extension NormLayer {
  /// The norm without weights.
  fileprivate var plain: NormLayer { NormLayer([Float](repeating: 1, count: weight.count)) }
}
