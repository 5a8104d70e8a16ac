// A one-layer decoder with random integers: contents that every reader accepts.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport

@testable import CurtaWrite

/// A one-layer decoder: width 64, 4 query heads and 2 key-value heads of 16, vocabulary 40.
func sampleContents(_ generator: inout SeededRandom) -> FileContents {
  let (width, inner, vocabulary) = (64, 96, 40)
  var tensors: [TensorContents] = []
  func add(_ tensor: TensorContents) -> Int {
    tensors.append(tensor)
    return tensors.count - 1
  }
  let embedding = add(grid("embedding", vocabulary, width, bits: 8, &generator))
  let phases = add(
    TensorContents(
      name: "phases", rows: 1, columns: 8, payload: .words((0..<8).map { UInt32(1 << (29 - $0)) })))
  let norm = add(wide("norm", 1, width, &generator))
  let query = add(grid("query", 64, width, bits: 4, group: 32, &generator))
  let key = add(grid("key", 32, width, bits: 3, group: 64, offsets: true, &generator))
  let value = add(grid("value", 32, width, bits: 5, &generator))
  let output = add(
    grid("output", width, 64, bits: 6, &generator).masked(.columns(Array(3..<50) + [63])))
  let blocks = (0..<11).map { _ in Bool.random(using: &generator) }
  let gate = add(
    grid("gate", inner, width, bits: 2, group: 32, &generator).masked(.blocks(blocks + [true])))
  let threeOfFour = (0..<inner * width).map { $0 % 4 != $0 / 4 % 4 }
  let up = add(
    grid("up", inner, width, bits: 7, &generator).masked(
      .pattern(n: 3, m: 4, survives: threeOfFour)))
  var down = grid("down", width, inner, bits: 4, group: 64, &generator)
  if case .grid(var own) = down.payload {
    own.outliers = TensorContents.OutlierColumns(
      step: 3, columns: [0, 41, 95], values: (0..<3 * width).map { Int8($0 % 255 - 127) })
    own.residual = TensorContents.SparseResidual(
      step: 0, starts: (0...width).map { 2 * $0 }, columns: (0..<width).flatMap { [$0, $0 + 31] },
      values: (0..<2 * width).map { Int8(127 - $0) })
    down.payload = .grid(own)
  }
  let downPlace = add(down)

  var buffers: [BufferDescription] = []
  func buffer(_ kind: BufferDescription.Kind, _ width: Int, _ rows: RowCount = .tokens) -> Int {
    buffers.append(BufferDescription(kind, rows: rows, width: width))
    return buffers.count - 1
  }
  let x = buffer(.fixed(fraction: 12), width)
  let a = buffer(.codes8(scales: 1), width)
  let (zq, zk, zv) = (buffer(.scaled, 64), buffer(.scaled, 32), buffer(.scaled, 32))
  let q = buffer(.codes8(scales: 4), 64)
  let o = buffer(.codes8(scales: 1), 64)
  let (zg, zu) = (buffer(.scaled, inner), buffer(.scaled, inner))
  let h = buffer(.codes8(scales: 1), inner)
  let last = buffer(.fixed(fraction: 12), width, .outputs)
  let b = buffer(.codes8(scales: 1), width, .outputs)
  let logits = buffer(.fixed(fraction: 16), vocabulary, .outputs)
  let rotation = Rotation(phases: phases, pairing: .halfSplit)
  let rms = NormOperands(kind: .rms, epsilon: 168)
  let ops: [ProgramOp] = [
    .embed(weight: embedding, out: x),
    .normQuant(input: x, gamma: norm, out: a, norm: rms),
    .linear(
      input: a,
      parts: [
        LinearPart(weight: query, out: zq), LinearPart(weight: key, out: zk),
        LinearPart(weight: value, out: zv),
      ]),
    .headQuant(input: zq, out: q, rotation: rotation, hadamard: 16),
    .cacheAppend(input: zk, state: 0, rotation: rotation, hadamard: 16),
    .cacheAppend(input: zv, state: 1, rotation: nil),
    .attend(query: q, keys: 0, values: 1, out: o, window: 0, mantissa: 47274, exponent: 21),
    .linearAdd(input: o, weight: output, sum: x),
    .normQuant(input: x, gamma: norm, out: a, norm: rms),
    .linear(input: a, parts: [LinearPart(weight: gate, out: zg), LinearPart(weight: up, out: zu)]),
    .gateQuant(gate: zg, up: zu, out: h, activation: .silu),
    .linearAdd(input: h, weight: downPlace, sum: x),
    .select(input: x, out: last),
    .normQuant(input: last, gamma: norm, out: b, norm: rms),
    .logits(input: b, weight: embedding, out: logits),
  ]
  let states = [StateDescription(heads: 2, width: 16), StateDescription(heads: 2, width: 16)]
  return FileContents(
    metadata: ["name": .text("sample"), "parameters": .integer(12345), "recipe": .text("test")],
    tensors: tensors,
    program: ProgramDescription(
      buffers: buffers, states: states, ops: ops, context: 32, vocabulary: vocabulary,
      output: logits))
}

/// Random codes over the whole range, with random scales.
func grid(
  _ name: String, _ rows: Int, _ columns: Int, bits: Int, group: Int = 0, offsets: Bool = false,
  _ generator: inout SeededRandom
) -> TensorContents {
  let range = Packing.range(bits: bits)
  let cells = rows * (group == 0 ? 1 : (columns + group - 1) / group)
  return TensorContents(
    name: name, rows: rows, columns: columns,
    payload: .grid(
      TensorContents.Grid(
        bits: bits, group: group, exponent: 24,
        codes: (0..<rows * columns).map { _ in Int8(Int.random(in: range, using: &generator)) },
        mantissas: (0..<rows).map { _ in UInt16.random(in: 1...UInt16.max, using: &generator) },
        groupScales: group == 0
          ? nil : (0..<cells).map { _ in UInt8.random(in: 0...UInt8.max, using: &generator) },
        groupOffsets: offsets
          ? (0..<cells).map { _ in Int16.random(in: -32767...32767, using: &generator) } : nil)))
}

func wide(
  _ name: String, _ rows: Int, _ columns: Int, _ generator: inout SeededRandom
) -> TensorContents {
  TensorContents(
    name: name, rows: rows, columns: columns,
    payload: .wide(
      TensorContents.Wide(
        exponent: 30,
        codes: (0..<rows * columns).map { _ in Int16.random(in: -32767...32767, using: &generator)
        },
        mantissas: (0..<rows).map { _ in UInt16.random(in: 1...UInt16.max, using: &generator) })))
}

/// The sample with its slots assigned.
func plannedContents(_ generator: inout SeededRandom) throws -> FileContents {
  var contents = sampleContents(&generator)
  try contents.program.assignSlots()
  return contents
}

extension TensorContents {
  /// The tensor with only the survivors of a mask left.
  func masked(_ mask: Mask) -> TensorContents {
    guard case .grid(var grid) = payload else { return self }
    grid.mask = mask
    for row in 0..<rows {
      let survives = mask.survivors(row: row, columns: columns)
      for column in 0..<columns where !survives[column] { grid.codes[row * columns + column] = 0 }
    }
    return TensorContents(name: name, rows: rows, columns: columns, payload: .grid(grid))
  }
}
