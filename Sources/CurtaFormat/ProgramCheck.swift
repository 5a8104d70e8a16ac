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
  // Operands of the op being checked that are buffers it reads and writes, one bit each
  private var reads: UInt16 = 0
  private var writes: UInt16 = 0

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
        reads = 0
        writes = 0
        try check(op)
        try settle(op)
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
      try checkHadamard(op, 3, width: out.width)
      write(2)

    case .normQuant:
      let input = try read(op, 1, .fixed)
      let gamma = try tensors[op.operand(2)]
      let out = try buffer(op, 3, .codes8)
      try require(gamma.encoding == .wide && gamma.rows == 1 && gamma.columns == input.width)
      try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
      let epsilon = UInt64(try op.operand(5)) | UInt64(try op.operand(6)) << 32
      try require(try op.operand(4) == 1 && epsilon <= 1 << 40)
      try checkHadamard(op, 7, width: out.width)
      write(3)

    case .linear:
      let input = try read(op, 1, .codes8)
      try require(input.scales == 1)
      let pairs = Int(try op.operand(2))
      for k in 0..<pairs {
        let weight = try weightTensor(op.operand(3 + 2 * k))
        let out = try buffer(op, 4 + 2 * k, .scaled)
        try require(weight.columns == input.width && out.width == weight.rows)
        try require(out.rows == input.rows)
        write(4 + 2 * k)
      }

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
      write(2)

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
      let out = try buffer(op, 4, .codes8)
      try require(query.rows == .tokens && out.rows == .tokens)
      try require(keys.heads == values.heads && keys.width == values.width)
      try require(query.width / query.scales == keys.width && query.scales % keys.heads == 0)
      try require(out.scales == 1 && out.width == query.width)
      let m = try op.operand(6)
      let e = Int32(bitPattern: try op.operand(7))
      try require(try op.operand(5) <= Limits.context)
      try require(m >= 32768 && m <= 65535 && e >= -64 && e <= 64)
      try checkHadamard(op, 8, width: out.width)
      guard isAppended(keysIndex), isAppended(valuesIndex) else { throw CurtaError(.badPlan) }
      write(4)

    case .gateQuant:
      let gate = try read(op, 1, .scaled)
      let up = try read(op, 2, .scaled)
      let out = try buffer(op, 3, .codes8)
      try require(up.width == gate.width && up.rows == gate.rows)
      try require(out.scales == 1 && out.width == gate.width && out.rows == gate.rows)
      try require(try op.operand(4) == 1)
      try checkHadamard(op, 5, width: out.width)
      write(3)

    case .select:
      let input = try read(op, 1, .fixed)
      let out = try buffer(op, 2, .fixed)
      try require(input.rows == .tokens && out.rows == .outputs)
      try require(out.width == input.width && out.fraction == input.fraction)
      write(2)

    case .logits:
      let input = try read(op, 1, .codes8)
      let weight = try weightTensor(op.operand(2))
      let out = try buffer(op, 3, .fixed)
      try require(input.scales == 1 && weight.columns == input.width)
      try require(input.rows == .outputs && out.rows == .outputs && out.fraction == 16)
      try require(out.width == weight.rows && weight.rows == program.vocabulary)
      write(3)
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

  /// Operand `k` is a buffer that the op reads.
  private mutating func read(
    _ op: OpRecord, _ k: Int, _ type: BufferType
  ) throws(CurtaError) -> BufferRecord {
    reads |= 1 << UInt16(k)
    return try buffer(op, k, type)
  }

  /// Operand `k` is a buffer that the op writes.
  private mutating func write(_ k: Int) { writes |= 1 << UInt16(k) }

  /// What the op reads holds its slot; what it writes takes a slot that no other operand is in.
  private mutating func settle(_ op: OpRecord) throws(CurtaError) {
    var taken: UInt64 = 0  // one bit a slot
    for k in 1..<16 where reads & (1 << UInt16(k)) != 0 {
      let index = try op.operand(k)
      let slot = try program.buffer(index).slot
      guard owner[Int(slot)] == index + 1 else { throw CurtaError(.badPlan) }
      taken |= 1 << UInt64(slot)
    }
    for k in 1..<16 where writes & (1 << UInt16(k)) != 0 {
      let index = try op.operand(k)
      let slot = try program.buffer(index).slot
      guard taken & (1 << UInt64(slot)) == 0 else { throw CurtaError(.badPlan) }
      taken |= 1 << UInt64(slot)
      owner[Int(slot)] = index + 1
      if index == program.output { outputWriter = op.code }
    }
  }

  private func checkRotation(_ op: OpRecord, width: UInt32) throws(CurtaError) {
    let phases = try op.operand(3)
    let pairing = Pairing(rawValue: try op.operand(4))
    if phases == Program.none {
      try require(pairing == Pairing.none)
    } else {
      let table = try tensors[phases]
      try require(pairing == .interleaved || pairing == .halfSplit)
      try require(table.encoding == .words && table.rows == 1 && 2 * table.columns <= width)
    }
    try checkHadamard(op, 5, width: width)
  }

  /// Operand `k` is 0 or a block size that divides `width`.
  private func checkHadamard(_ op: OpRecord, _ k: Int, width: UInt32) throws(CurtaError) {
    let block = try op.operand(k)
    guard block != 0 else { return }
    try require(block >= 2 && block <= 256 && block & (block - 1) == 0 && width % block == 0)
  }
}
