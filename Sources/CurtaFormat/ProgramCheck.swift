// The rules that every op of a program keeps, checked before the first one runs.
// SPDX-License-Identifier: Apache-2.0

/// Walks the ops once, in order, keeping who owns each slot and which states were appended.
struct ProgramCheck {
  let program: Program
  let tensors: TensorTable
  /// For each slot 1 + the buffer that was written to it last, or 0.
  private var owner = InlineArray<64, UInt32>(repeating: 0)
  /// One bit a state: appended by an op before this one.
  private var appended = InlineArray<32, UInt64>(repeating: 0)
  /// The op that wrote the output buffer last.
  private var outputWriter: OpCode? = nil

  init(program: Program, tensors: TensorTable) {
    self.program = program
    self.tensors = tensors
  }

  mutating func run() throws(CurtaError) {
    for i in 0..<program.opCount {
      let op = try program.op(i)
      do throws(CurtaError) {
        let used = try op.operandCount()
        for k in (used + 1)..<16 where try op.operand(k) != 0 { throw CurtaError(.badProgram) }
        try check(op)
      } catch {
        throw CurtaError(error.status, at: op.offset)
      }
    }
    guard outputWriter == .logits else { throw CurtaError(.badProgram, at: 24) }
    for i in 0..<program.stateCount where !isAppended(i) { throw CurtaError(.badPlan) }
    let last = try program.buffer(program.output)
    guard owner[Int(last.slot)] == program.output + 1 else { throw CurtaError(.badPlan, at: 24) }
  }

  private mutating func check(_ op: OpRecord) throws(CurtaError) {
    switch op.code {
    case .embed:
      let weight = try weightTensor(op.operand(1))
      let out = try buffer(op, 2, .fixed)
      try require(out.rows == .tokens && weight.columns == out.width)
      try require(weight.rows == program.vocabulary)
      writes.insert(2)

    case .normQuant:
      let input = try read(op, 1, .fixed)
      let gamma = try tensors[op.operand(2)]
      let out = try buffer(op, 3, .codes8)
      try require(gamma.encoding == .wide && gamma.rows == 1 && gamma.columns == input.width)
      try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
      let epsilon = UInt64(try op.operand(5)) | UInt64(try op.operand(6)) << 32
      try require(try op.operand(4) == 1 && epsilon <= 1 << 40)
      writes.insert(3)

    case .linear:
      let input = try read(op, 1, .codes8)
      try require(input.scales == 1)
      let pairs = Int(try op.operand(2))
      for k in 0..<pairs {
        let weight = try weightTensor(op.operand(3 + 2 * k))
        let out = try buffer(op, 4 + 2 * k, .scaled)
        try require(weight.columns == input.width && out.width == weight.rows)
        try require(out.rows == input.rows)
        }
      for k in 0..<pairs { writes.insert(4 + 2 * k) }

    case .linearAdd:
      let input = try read(op, 1, .codes8)
      let weight = try weightTensor(op.operand(2))
      let sum = try read(op, 3, .fixed)
      try require(input.scales == 1 && weight.columns == input.width)
      try require(sum.width == weight.rows && sum.rows == input.rows)

    case .headQuant:
      let input = try read(op, 1, .scaled)
      let out = try buffer(op, 2, .codes8)
      try require(out.width == input.width && out.rows == input.rows)
      try require(out.width / out.scales <= Limits.headWidth)
      try checkRotation(op, width: out.width / out.scales)
      writes.insert(2)

    case .cacheAppend:
      let input = try read(op, 1, .scaled)
      let index = try op.operand(2)
      let state = try program.state(index)
      try require(input.rows == .tokens && input.width == state.heads * state.width)
      try checkRotation(op, width: state.width)
      guard !isAppended(index) else { throw CurtaError(.badPlan) }
      appended[Int(index / 64)] |= 1 << UInt64(index % 64)

    case .attend:
      let query = try read(op, 1, .codes8)
      let keysIndex = try op.operand(2)
      let valuesIndex = try op.operand(3)
      let keys = try program.state(keysIndex)
      let values = try program.state(valuesIndex)
      guard isAppended(keysIndex), isAppended(valuesIndex) else { throw CurtaError(.badPlan) }
      let out = try buffer(op, 4, .codes8)
      try require(query.rows == .tokens && out.rows == .tokens)
      try require(keys.heads == values.heads && keys.width == values.width)
      try require(query.width / query.scales == keys.width && query.scales % keys.heads == 0)
      try require(out.scales == 1 && out.width == query.width)
      let m = try op.operand(6)
      let e = Int32(bitPattern: try op.operand(7))
      try require(try op.operand(5) <= Limits.context)
      try require(m >= 32768 && m <= 65535 && e >= -64 && e <= 64)
      writes.insert(4)

    case .gateQuant:
      let gate = try read(op, 1, .scaled)
      let up = try read(op, 2, .scaled)
      let out = try buffer(op, 3, .codes8)
      try require(up.width == gate.width && up.rows == gate.rows)
      try require(out.scales == 1 && out.width == gate.width && out.rows == gate.rows)
      try require(try op.operand(4) == 1)
      writes.insert(3)

    case .select:
      let input = try read(op, 1, .fixed)
      let out = try buffer(op, 2, .fixed)
      try require(input.rows == .tokens && out.rows == .outputs)
      try require(out.width == input.width && out.fraction == input.fraction)
      writes.insert(2)

    case .logits:
      let input = try read(op, 1, .codes8)
      let weight = try weightTensor(op.operand(2))
      let out = try buffer(op, 3, .fixed)
      try require(input.scales == 1 && weight.columns == input.width)
      try require(input.rows == .outputs && out.rows == .outputs && out.fraction == 16)
      try require(out.width == weight.rows && weight.rows == program.vocabulary)
      writes.insert(3)
    }
  }

  private func require(_ condition: Bool) throws(CurtaError) {
    guard condition else { throw CurtaError(.badProgram) }
  }

  private func isAppended(_ state: UInt32) -> Bool {
    appended[Int(state / 64)] & (1 << UInt64(state % 64)) != 0
  }

  /// A tensor that takes part in products.
  private func weightTensor(_ i: UInt32) throws(CurtaError) -> TensorDescriptor {
    let tensor = try tensors[i]
    try require(tensor.encoding != .words)
    return tensor
  }

  private func buffer(
    _ op: OpRecord, _ k: Int, _ type: BufferType
  ) throws(CurtaError) -> BufferRecord {
    let record = try program.buffer(op.operand(k))
    try require(record.type == type)
    return record
  }

  /// Operand `k` is a buffer that still holds what was written to it.
  private func read(
    _ op: OpRecord, _ k: Int, _ type: BufferType
  ) throws(CurtaError) -> BufferRecord {
    let record = try buffer(op, k, type)
    guard owner[Int(record.slot)] == (try op.operand(k)) + 1 else { throw CurtaError(.badPlan) }
    return record
  }

  private mutating func write(_ op: OpRecord, _ k: Int) throws(CurtaError) {
    let index = try op.operand(k)
    owner[Int(try program.buffer(index).slot)] = index + 1
    if index == program.output { outputWriter = op.code }
  }

  /// Operands `a` and `b` are buffers in different slots.
  private func distinct(_ op: OpRecord, _ a: Int, _ b: Int) throws(CurtaError) {
    guard try program.buffer(op.operand(a)).slot != program.buffer(op.operand(b)).slot else {
      throw CurtaError(.badPlan)
    }
  }

  private func checkRotation(_ op: OpRecord, width: UInt32) throws(CurtaError) {
    let phases = try op.operand(3)
    let pairing = Pairing(rawValue: try op.operand(4))
    let hadamard = try op.operand(5)
    if phases == Program.none {
      try require(pairing == Pairing.none)
    } else {
      let table = try tensors[phases]
      try require(pairing == .interleaved || pairing == .halfSplit)
      try require(table.encoding == .words && table.rows == 1 && 2 * table.columns <= width)
    }
    try require(hadamard <= 1)
    if hadamard == 1 { try require(width & (width - 1) == 0) }
  }
}
