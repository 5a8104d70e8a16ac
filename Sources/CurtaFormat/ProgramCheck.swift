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

  private mutating func check(_ op: OpRecord) throws(CurtaError) {
    switch op.code {
    case .embed:
      try require(program.image == nil)
      let weight = try denseTensor(op.operand(1))
      let out = try buffer(op, 2, .fixed)
      try require(out.rows == .tokens && weight.columns == out.width)
      try require(weight.rows == program.vocabulary)
      try checkHadamard(op, 3, width: out.width)
      write(2)

    case .normQuant:
      let input = try read(op, 1, .fixed)
      try checkVector(op.operand(2), width: input.width)
      let out = try buffer(op, 3, .codes8)
      try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
      try require(NormKind(rawValue: try op.operand(4)) != nil)
      try checkEpsilon(op, 5)
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
      let sum = try update(op, 3)
      try require(input.scales == 1 && weight.columns == input.width)
      try require(sum.width == weight.rows && sum.rows == input.rows)

    case .headQuant:
      let input = try readNumbers(op, 1)
      let out = try buffer(op, 2, .codes8)
      try require(out.width == input.width && out.rows == input.rows)
      try require(out.width / out.scales <= Limits.headWidth)
      try checkHeads(op, input, width: out.width / out.scales)
      write(2)

    case .cacheAppend:
      let input = try readNumbers(op, 1)
      let index = try op.operand(2)
      let state = try program.state(index)
      try require(input.rows == .tokens && input.width == state.heads * state.width)
      try checkHeads(op, input, width: state.width)
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
      try require(try op.operand(5) <= (program.image == nil ? Limits.context : 0))
      try require(m >= 32768 && m <= 65535 && e >= -64 && e <= 64)
      try checkHadamard(op, 8, width: out.width)
      if try op.operand(9) != 0 { try checkCap(op, 9) }
      guard isAppended(keysIndex), isAppended(valuesIndex) else { throw CurtaError(.badPlan) }
      write(4)

    case .gateQuant:
      let gate = try readNumbers(op, 1)
      if try op.operand(2) != Program.none {
        let up = try readNumbers(op, 2)
        try require(up.width == gate.width && up.rows == gate.rows)
      }
      let out = try buffer(op, 3, .codes8)
      try require(out.scales == 1 && out.width == gate.width && out.rows == gate.rows)
      try require(Activation(rawValue: try op.operand(4)) != nil)
      try checkHadamard(op, 5, width: out.width)
      write(3)

    case .select:
      try require(program.image == nil)
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

    case .bias:
      let inPlace = try op.operand(1) == op.operand(3)
      let input = inPlace ? try update(op, 3) : try readNumbers(op, 1)
      let bias = try op.operand(2)
      if bias != Program.none { try checkVector(bias, width: input.width) }
      let out = try buffer(op, 3, .fixed)
      try require(out.width == input.width && out.rows == input.rows)
      if !inPlace { write(3) }

    case .norm:
      let input = try read(op, 1, .fixed)
      try checkVector(op.operand(2), width: input.width)
      let out = try buffer(op, 3, .fixed)
      try require(out.width == input.width && out.rows == input.rows)
      try require(NormKind(rawValue: try op.operand(4)) != nil)
      try checkEpsilon(op, 5)
      write(3)

    case .add:
      let input = try readNumbers(op, 1)
      let sum = try update(op, 2)
      try require(sum.width == input.width && sum.rows == input.rows)

    case .addPosition:
      let weight = try denseTensor(op.operand(1))
      let sum = try update(op, 2)
      try require(weight.rows >= program.context)
      try require(sum.rows == .tokens && weight.columns == sum.width)

    case .softCap:
      let sum = try update(op, 1)
      try require(sum.fraction == 16)
      try checkCap(op, 2)

    case .quantize:
      let input = try readNumbers(op, 1)
      let out = try buffer(op, 2, .codes8)
      try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
      try checkHadamard(op, 3, width: out.width)
      write(2)

    case .patchify, .prefix, .pool:
      guard let image = program.image else { throw CurtaError(.badProgram) }
      try check(op, of: image)
    }
  }

  /// The ops that image programs alone have.
  private mutating func check(_ op: OpRecord, of image: ImageRecord) throws(CurtaError) {
    switch op.code {
    case .patchify:
      let out = try buffer(op, 1, .codes8)
      try require(out.scales == 1 && out.rows == .patches && out.width == image.patchSize)
      write(1)

    case .prefix:
      let input = try readNumbers(op, 1)
      let rows = try op.operand(2)
      if rows == Program.none {
        try require(program.prefixRows == 0)
      } else {
        let weight = try denseTensor(rows)
        try require(weight.rows == program.prefixRows && weight.columns == input.width)
      }
      let out = try buffer(op, 3, .fixed)
      try require(input.rows == .patches && out.rows == .tokens && out.width == input.width)
      write(3)

    default:  // pool
      let input = try read(op, 1, .fixed)
      let out = try buffer(op, 2, .fixed)
      try require(input.rows == .tokens && out.rows == .outputs)
      try require(out.width == input.width && out.fraction == input.fraction)
      try require(PoolKind(rawValue: try op.operand(3)) != nil)
      try require(try op.operand(4) < program.context)
      write(2)
    }
  }

  private func require(_ condition: Bool) throws(CurtaError) {
    guard condition else { throw CurtaError(.badProgram) }
  }

  private func isAppended(_ state: UInt32) -> Bool {
    appended[Int(state / 64)] & (1 << UInt64(state % 64)) != 0
  }

  /// A tensor of numbers whose cells are all there.
  private func denseTensor(_ i: UInt32) throws(CurtaError) -> TensorDescriptor {
    let tensor = try weightTensor(i)
    try require(tensor.mask == nil)
    return tensor
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

  /// Operand `k` is a buffer of int32 that the op reads.
  private mutating func readNumbers(_ op: OpRecord, _ k: Int) throws(CurtaError) -> BufferRecord {
    let type = try program.buffer(op.operand(k)).type
    return try read(op, k, type == .fixed ? .fixed : .scaled)
  }

  /// Operand `k` is a buffer that the op updates in place.
  private mutating func update(_ op: OpRecord, _ k: Int) throws(CurtaError) -> BufferRecord {
    sums |= 1 << UInt16(k)
    return try read(op, k, .fixed)
  }

  /// Operand `k` is a buffer that the op writes.
  private mutating func write(_ k: Int) { writes |= 1 << UInt16(k) }

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

  /// A vector of the wide encoding: a gamma or a bias.
  private func checkVector(_ i: UInt32, width: UInt32) throws(CurtaError) {
    let tensor = try tensors[i]
    try require(tensor.encoding == .wide && tensor.rows == 1 && tensor.columns == width)
  }

  /// Operands `k` and `k + 1` are the halves of an epsilon.
  private func checkEpsilon(_ op: OpRecord, _ k: Int) throws(CurtaError) {
    let epsilon = UInt64(try op.operand(k)) | UInt64(try op.operand(k + 1)) << 32
    try require(epsilon <= 1 << 40)
  }

  private func checkCap(_ op: OpRecord, _ k: Int) throws(CurtaError) {
    let cap = try op.operand(k)
    try require(cap >= 1 << 16 && cap <= 1 << 26)
  }

  /// Operands 3 to 8 of head_quant and cache_append, for heads of `width` elements.
  private func checkHeads(
    _ op: OpRecord, _ input: BufferRecord, width: UInt32
  ) throws(CurtaError) {
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
    let norm = try op.operand(6)
    if norm == Program.none {
      let (low, high) = (try op.operand(7), try op.operand(8))
      try require(low == 0 && high == 0)
    } else {
      try require(input.type == .fixed)
      try checkVector(norm, width: width)
      try checkEpsilon(op, 7)
    }
  }

  /// Operand `k` is 0 or a block size that divides `width`.
  private func checkHadamard(_ op: OpRecord, _ k: Int, width: UInt32) throws(CurtaError) {
    let block = try op.operand(k)
    guard block != 0 else { return }
    try require(block >= 2 && block <= 256 && block & (block - 1) == 0 && width % block == 0)
  }
}
