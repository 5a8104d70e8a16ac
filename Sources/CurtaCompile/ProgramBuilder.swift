// An integer program as it is written down, op after op: its buffers and what its layers share.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite
import Glibc

/// Writes down a program over the layers of a transformer; layers share buffers of the same kind.
struct ProgramBuilder {
  let d: DecoderDescription
  let tensors: LayerPlaces
  let ranges: ActivationRanges
  let spreading: Spreading
  /// Of the attention weights of each layer, or none.
  let scoreCodes: [ScoreCode]

  private(set) var buffers: [BufferDescription] = []
  private var named: [BufferKey: Int] = [:]
  var ops: [ProgramOp] = []
  /// The buffer that holds the residual stream now. Only norms behind the sums change it.
  var residual = 0

  init(
    _ d: DecoderDescription, _ tensors: LayerPlaces, _ ranges: ActivationRanges,
    codes: [ScoreCode] = []
  ) {
    self.d = d
    scoreCodes = codes
    self.tensors = tensors
    self.ranges = ranges
    spreading = Spreading(d)
    residual = buffer("x", .fixed(fraction: ranges.residual.fraction), d.width)
  }

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

  /// Another buffer for the residual stream than the one that holds it now.
  var otherResidual: Int {
    mutating get {
      let kind = BufferDescription.Kind.fixed(fraction: ranges.residual.fraction)
      let (x, y) = (buffer("x", kind, d.width), buffer("y", kind, d.width))
      return residual == x ? y : x
    }
  }

  /// The norm that reads rows of a point.
  func norm(_ point: FixedPoint) -> NormOperands {
    NormOperands(kind: d.norm == .layer ? .layer : .rms, epsilon: point.epsilon)
  }

  /// Two caches for every layer.
  var states: [StateDescription] {
    [StateDescription](
      repeating: StateDescription(heads: d.keyValueHeads, width: d.headWidth),
      count: 2 * d.layers)
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
