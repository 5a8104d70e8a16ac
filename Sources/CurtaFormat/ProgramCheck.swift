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
  // Operands of the op being checked that are buffers, one bit each: those it reads, those it
  // writes, and of the first those that it updates in place
  private var reads: UInt16 = 0
  private var writes: UInt16 = 0
  private var sums: UInt16 = 0

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
        sums = 0
        try check(op)
        try settle(op)
      } catch {
        throw CurtaError(error.status, at: op.offset)
      }
    }
    let isNorm = outputWriter == .norm && program.image != nil
    guard outputWriter == .logits || isNorm else { throw CurtaError(.badProgram, at: 24) }
    for i in 0..<program.stateCount where !isAppended(i) { throw CurtaError(.badPlan) }
    let last = try program.buffer(program.output)
    guard last.type == .fixed, last.rows == .outputs, last.fraction == 16,
      last.width == program.vocabulary
    else { throw CurtaError(.badProgram, at: 24) }
    guard owner[Int(last.slot)] == program.output + 1 else { throw CurtaError(.badPlan, at: 24) }
  }

  func require(_ condition: Bool) throws(CurtaError) {
    guard condition else { throw CurtaError(.badProgram) }
  }

  /// A state that no op appended before.
  mutating func append(_ state: UInt32) throws(CurtaError) {
    guard !isAppended(state) else { throw CurtaError(.badPlan) }
    appended[Int(state / 64)] |= 1 << UInt64(state % 64)
  }

  func isAppended(_ state: UInt32) -> Bool {
    appended[Int(state / 64)] & (1 << UInt64(state % 64)) != 0
  }

  /// A tensor of numbers without modifiers.
  func denseTensor(_ i: UInt32) throws(CurtaError) -> TensorDescriptor {
    let tensor = try weightTensor(i)
    try require(!tensor.hasModifiers)
    return tensor
  }

  /// A tensor that takes part in products.
  func weightTensor(_ i: UInt32) throws(CurtaError) -> TensorDescriptor {
    let tensor = try tensors[i]
    try require(tensor.encoding != .words)
    return tensor
  }

  func buffer(
    _ op: OpRecord, _ k: Int, _ type: BufferType
  ) throws(CurtaError) -> BufferRecord {
    let record = try program.buffer(op.operand(k))
    try require(record.type == type)
    return record
  }

  /// Operand `k` is a buffer that the op reads.
  mutating func read(
    _ op: OpRecord, _ k: Int, _ type: BufferType
  ) throws(CurtaError) -> BufferRecord {
    reads |= 1 << UInt16(k)
    return try buffer(op, k, type)
  }

  /// Operand `k` is a buffer of int32 that the op reads.
  mutating func readNumbers(_ op: OpRecord, _ k: Int) throws(CurtaError) -> BufferRecord {
    let type = try program.buffer(op.operand(k)).type
    return try read(op, k, type == .fixed ? .fixed : .scaled)
  }

  /// Operand `k` is a buffer that the op updates in place.
  mutating func update(_ op: OpRecord, _ k: Int) throws(CurtaError) -> BufferRecord {
    sums |= 1 << UInt16(k)
    return try read(op, k, .fixed)
  }

  /// Operand `k` is a buffer that the op writes.
  mutating func write(_ k: Int) { writes |= 1 << UInt16(k) }

  /// What the op reads holds its slot; what it writes or updates is in a slot that no other operand
  /// is in.
  private mutating func settle(_ op: OpRecord) throws(CurtaError) {
    var taken: UInt64 = 0  // one bit a slot
    for k in 1..<16 where reads & (1 << UInt16(k)) != 0 {
      let index = try op.operand(k)
      let slot = try program.buffer(index).slot
      guard owner[Int(slot)] == index + 1 else { throw CurtaError(.badPlan) }
      if sums & (1 << UInt16(k)) == 0 { taken |= 1 << UInt64(slot) }
    }
    for k in 1..<16 where (writes | sums) & (1 << UInt16(k)) != 0 {
      let index = try op.operand(k)
      let slot = try program.buffer(index).slot
      guard taken & (1 << UInt64(slot)) == 0 else { throw CurtaError(.badPlan) }
      taken |= 1 << UInt64(slot)
      owner[Int(slot)] = index + 1
      let isFinish = sums != 0 && (op.code == .bias || op.code == .softCap)
      if index == program.output && !isFinish { outputWriter = op.code }
    }
  }
}
