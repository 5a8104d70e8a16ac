// The integer program of a decoder: curta-program.md section 3, layer after layer.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite
import Glibc

/// Writes down the program of a decoder; layers share buffers of the same kind.
struct DecoderProgram {
  let d: DecoderDescription
  let tensors: TensorInventory
  let ranges: ActivationRanges
  let spreading: Spreading

  private var buffers: [BufferDescription] = []
  private var named: [BufferKey: Int] = [:]
  var ops: [ProgramOp] = []

  /// The program with its slots assigned. Throws `WriteError`.
  static func make(
    _ d: DecoderDescription, _ tensors: TensorInventory, _ ranges: ActivationRanges
  ) throws(WriteError) -> ProgramDescription {
    var builder = DecoderProgram(d, tensors, ranges)
    var program = builder.build()
    try program.assignSlots()
    return program
  }

  private init(_ d: DecoderDescription, _ tensors: TensorInventory, _ ranges: ActivationRanges) {
    self.d = d
    self.tensors = tensors
    self.ranges = ranges
    spreading = Spreading(d)
  }

  // MARK: - Buffers

  /// A buffer is known by what it is for and, where it is fixed, by its point.
  private struct BufferKey: Hashable {
    let name: String
    let fraction: Int
  }

  /// The buffer of that name, made when it is first asked for.
  mutating func buffer(
    _ name: String, _ kind: BufferDescription.Kind, _ width: Int, rows: RowCount = .tokens
  ) -> Int {
    var fraction = -1
    if case .fixed(let own) = kind { fraction = own }
    let key = BufferKey(name: name, fraction: fraction)
    if let index = named[key] { return index }
    buffers.append(BufferDescription(kind, rows: rows, width: width))
    named[key] = buffers.count - 1
    return buffers.count - 1
  }

  /// The residual stream.
  var residual: Int {
    mutating get { buffer("x", .fixed(fraction: ranges.residual.fraction), d.width) }
  }

  /// The norm that reads rows of a point.
  func norm(_ point: FixedPoint) -> NormOperands {
    NormOperands(kind: d.norm == .layer ? .layer : .rms, epsilon: point.epsilon)
  }

  // MARK: - Before and after the layers

  private mutating func build() -> ProgramDescription {
    let x = residual
    ops.append(.embed(weight: tensors.embedding, out: x, hadamard: spreading.model))
    if let positions = tensors.index(.positions) {
      ops.append(.addPosition(weight: positions, sum: x))
    }
    for index in 0..<d.layers { appendLayer(index) }

    let point = ranges.residual
    let last = buffer("last", .fixed(fraction: point.fraction), d.width, rows: .outputs)
    let headInput = buffer("head_input", .codes8(scales: 1), d.width, rows: .outputs)
    let logits = buffer("logits", .fixed(fraction: 16), d.vocabularySize, rows: .outputs)
    ops.append(.select(input: x, out: last))
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
      states: [StateDescription](
        repeating: StateDescription(heads: d.keyValueHeads, width: d.headWidth),
        count: 2 * d.layers),
      ops: ops, context: d.contextLength, vocabulary: d.vocabularySize, output: logits)
  }
}

extension DecoderDescription {
  /// log2(e) times the factor of the scores, without the factor that Hadamards of q and k bring in.
  func scoreFactor(_ spreading: Spreading) -> Double {
    log2(M_E) * scoreScale / Double(max(spreading.head, 1))
  }

  /// The cap of the scores as `attend` takes it; 0 is none.
  var scoreCapOperand: Int {
    scoreCap.map { Int(($0 * log2(M_E) * 0x1p16).rounded()) } ?? 0
  }
}
