// The integer program of a Llama-style decoder: curta-program.md section 3, layer after layer.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite
import Glibc

/// A real number as m · 2^−e with 2^15 <= m < 2^16.
struct Dyadic: Equatable, Sendable {
  let mantissa: Int
  let exponent: Int

  /// The nearest one to a positive number.
  init(_ value: Double) {
    precondition(value > 0 && value.isFinite)
    var exponent = 15 - Int(value.exponent)
    var mantissa = Int(scalbn(value, exponent).rounded())
    if mantissa == 1 << 16 {
      mantissa = 1 << 15
      exponent -= 1
    }
    self.mantissa = mantissa
    self.exponent = exponent
  }
}

/// Writes down the program of a decoder; the buffers of one layer serve all of them.
struct DecoderProgram {
  private let d: DecoderDescription
  private let tensors: TensorInventory
  private let scale: ResidualScale
  private let rotation: Rotation
  private let spreading: Spreading

  private var buffers: [BufferDescription] = []
  private var ops: [ProgramOp] = []

  /// The program with its slots assigned. Throws `WriteError`.
  static func make(
    _ d: DecoderDescription, _ tensors: TensorInventory, _ scale: ResidualScale
  ) throws(WriteError) -> ProgramDescription {
    var builder = DecoderProgram(d, tensors, scale)
    var program = builder.build()
    try program.assignSlots()
    return program
  }

  private init(_ d: DecoderDescription, _ tensors: TensorInventory, _ scale: ResidualScale) {
    self.d = d
    self.tensors = tensors
    self.scale = scale
    rotation = Rotation(
      phases: tensors.phases, pairing: d.ropePairing == .interleaved ? .interleaved : .halfSplit)
    spreading = Spreading(d)
  }

  /// log2(e) / √headWidth, and without the factor that the Hadamards of q and k bring in.
  private var scoreScale: Dyadic {
    let width = Double(d.headWidth)
    return Dyadic(log2(M_E) / width.squareRoot() / Double(max(spreading.head, 1)))
  }

  private mutating func buffer(
    _ kind: BufferDescription.Kind, _ width: Int, rows: RowCount = .tokens
  ) -> Int {
    buffers.append(BufferDescription(kind, rows: rows, width: width))
    return buffers.count - 1
  }

  private mutating func build() -> ProgramDescription {
    let x = buffer(.fixed(fraction: scale.fraction), d.width)
    let layer = LayerBuffers(
      x: x, input: buffer(.codes8(scales: 1), d.width),
      query: buffer(.scaled, d.queryWidth), key: buffer(.scaled, d.keyValueWidth),
      value: buffer(.scaled, d.keyValueWidth),
      queryCodes: buffer(.codes8(scales: d.queryHeads), d.queryWidth),
      mixed: buffer(.codes8(scales: 1), d.queryWidth),
      gate: buffer(.scaled, d.feedForwardWidth), up: buffer(.scaled, d.feedForwardWidth),
      product: buffer(.codes8(scales: 1), d.feedForwardWidth))
    ops.append(.embed(weight: tensors.embedding, out: x, hadamard: spreading.model))
    for index in 0..<d.layers { appendLayer(index, layer) }

    let last = buffer(.fixed(fraction: scale.fraction), d.width, rows: .outputs)
    let headInput = buffer(.codes8(scales: 1), d.width, rows: .outputs)
    let logits = buffer(.fixed(fraction: 16), d.vocabularySize, rows: .outputs)
    ops.append(.select(input: x, out: last))
    ops.append(
      .normQuant(
        input: last, gamma: tensors.finalNorm, out: headInput, epsilon: scale.epsilon,
        hadamard: spreading.model))
    ops.append(.logits(input: headInput, weight: tensors.head, out: logits))
    return ProgramDescription(
      buffers: buffers,
      states: [StateDescription](
        repeating: StateDescription(heads: d.keyValueHeads, width: d.headWidth),
        count: 2 * d.layers),
      ops: ops, context: d.contextLength, vocabulary: d.vocabularySize, output: logits)
  }

  /// Indices of the buffers that the layers share.
  private struct LayerBuffers {
    let x, input, query, key, value, queryCodes, mixed, gate, up, product: Int
  }

  private mutating func appendLayer(_ index: Int, _ b: LayerBuffers) {
    func weight(_ part: TensorInventory.Part) -> Int { tensors.index(part, layer: index) }
    let (keys, values) = (2 * index, 2 * index + 1)
    let score = scoreScale
    ops += [
      .normQuant(
        input: b.x, gamma: weight(.attentionNorm), out: b.input, epsilon: scale.epsilon,
        hadamard: spreading.model),
      .linear(
        input: b.input,
        parts: [
          LinearPart(weight: weight(.query), out: b.query),
          LinearPart(weight: weight(.key), out: b.key),
          LinearPart(weight: weight(.value), out: b.value),
        ]),
      .headQuant(input: b.query, out: b.queryCodes, rotation: rotation, hadamard: spreading.head),
      .cacheAppend(input: b.key, state: keys, rotation: rotation, hadamard: spreading.head),
      .cacheAppend(input: b.value, state: values, rotation: nil),
      .attend(
        query: b.queryCodes, keys: keys, values: values, out: b.mixed, window: 0,
        mantissa: score.mantissa, exponent: score.exponent, hadamard: spreading.attention),
      .linearAdd(input: b.mixed, weight: weight(.output), sum: b.x),
      .normQuant(
        input: b.x, gamma: weight(.feedForwardNorm), out: b.input, epsilon: scale.epsilon,
        hadamard: spreading.model),
      .linear(
        input: b.input,
        parts: [
          LinearPart(weight: weight(.gate), out: b.gate),
          LinearPart(weight: weight(.up), out: b.up),
        ]),
      .gateQuant(gate: b.gate, up: b.up, out: b.product, hadamard: spreading.feedForward),
      .linearAdd(input: b.product, weight: weight(.down), sum: b.x),
    ]
  }
}
