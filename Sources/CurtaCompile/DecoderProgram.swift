// The integer program of a decoder: curta-program.md section 3, layer after layer.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite

extension ProgramDescription {
  /// The program of a decoder with its slots assigned. Throws `WriteError`.
  static func decoder(
    _ d: DecoderDescription, _ tensors: TensorInventory, _ ranges: ActivationRanges,
    codes: [ScoreCode] = []
  ) throws(WriteError) -> ProgramDescription {
    var builder = ProgramBuilder(d, tensors.layers, ranges, codes: codes)
    var program = builder.decoder(tensors)
    try program.assignSlots()
    return program
  }
}

extension ProgramBuilder {
  /// What comes before and after the layers, and the layers.
  fileprivate mutating func decoder(_ tensors: TensorInventory) -> ProgramDescription {
    ops.append(.embed(weight: tensors.embedding, out: residual, hadamard: spreading.model))
    if let positions = tensors.index(.positions) {
      ops.append(.addPosition(weight: positions, sum: residual))
    }
    for index in 0..<d.layers { appendLayer(index) }

    let point = ranges.residual
    let last = buffer("last", .fixed(fraction: point.fraction), d.width, rows: .outputs)
    let headInput = buffer("head_input", .codes8(scales: 1), d.width, rows: .outputs)
    let logits = buffer("logits", .fixed(fraction: 16), d.vocabularySize, rows: .outputs)
    ops.append(.select(input: residual, out: last))
    ops.append(
      .normQuant(
        input: last, gamma: tensors.index(.finalNorm)!, out: headInput, norm: norm(point),
        hadamard: spreading.model))
    ops.append(.logits(input: headInput, weight: tensors.head, out: logits))
    if let bias = tensors.index(.headBias) {
      ops.append(.bias(input: logits, bias: bias, out: logits))
    }
    if let cap = d.logitCap {
      ops.append(.softCap(sum: logits, cap: Int((cap * 0x1p16).rounded())))
    }
    return ProgramDescription(
      buffers: buffers,
      states: states,
      ops: ops, context: d.contextLength, vocabulary: d.vocabularySize, output: logits)
  }
}
