// What each op asks of its operands.
// SPDX-License-Identifier: Apache-2.0

// A function for each: one for all would take 15 kB of stack.
extension ProgramCheck {
  mutating func check(_ op: OpRecord) throws(CurtaError) {
    switch op.code {
    case .embed: try checkEmbed(op)
    case .normQuant: try checkNormQuant(op)
    case .linear: try checkLinear(op)
    case .linearAdd: try checkLinearAdd(op)
    case .headQuant: try checkHeadQuant(op)
    case .cacheAppend: try checkCacheAppend(op)
    case .attend: try checkAttend(op)
    case .gateQuant: try checkGateQuant(op)
    case .select: try checkSelect(op)
    case .logits: try checkLogits(op)
    case .bias: try checkBias(op)
    case .norm: try checkNorm(op)
    case .add: try checkAdd(op)
    case .addPosition: try checkAddPosition(op)
    case .softCap: try checkSoftCap(op)
    case .quantize: try checkQuantize(op)
    case .patchify: try checkPatchify(op)
    case .prefix: try checkPrefix(op)
    case .pool: try checkPool(op)
    }
  }

  @inline(never)
  private mutating func checkEmbed(_ op: OpRecord) throws(CurtaError) {
    try require(program.image == nil)
    let weight = try denseTensor(op.operand(1))
    let out = try buffer(op, 2, .fixed)
    try require(out.rows == .tokens && weight.columns == out.width)
    try require(weight.rows == program.vocabulary)
    try checkHadamard(op, 3, width: out.width)
    write(2)
  }

  @inline(never)
  private mutating func checkNormQuant(_ op: OpRecord) throws(CurtaError) {
    let input = try read(op, 1, .fixed)
    try checkVector(op.operand(2), width: input.width)
    let out = try buffer(op, 3, .codes8)
    try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
    try require(NormKind(rawValue: try op.operand(4)) != nil)
    try checkEpsilon(op, 5)
    try checkHadamard(op, 7, width: out.width)
    write(3)
  }

  @inline(never)
  private mutating func checkLinear(_ op: OpRecord) throws(CurtaError) {
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
  }

  @inline(never)
  private mutating func checkLinearAdd(_ op: OpRecord) throws(CurtaError) {
    let input = try read(op, 1, .codes8)
    let weight = try weightTensor(op.operand(2))
    let sum = try update(op, 3)
    try require(input.scales == 1 && weight.columns == input.width)
    try require(sum.width == weight.rows && sum.rows == input.rows)
  }

  @inline(never)
  private mutating func checkHeadQuant(_ op: OpRecord) throws(CurtaError) {
    let input = try readNumbers(op, 1)
    let out = try buffer(op, 2, .codes8)
    try require(out.width == input.width && out.rows == input.rows)
    try require(out.width / out.scales <= Limits.headWidth)
    try checkHeads(op, input, width: out.width / out.scales)
    write(2)
  }

  @inline(never)
  private mutating func checkCacheAppend(_ op: OpRecord) throws(CurtaError) {
    let input = try readNumbers(op, 1)
    let index = try op.operand(2)
    let state = try program.state(index)
    try require(input.rows == .tokens && input.width == state.heads * state.width)
    try checkHeads(op, input, width: state.width)
    try append(index)
  }

  @inline(never)
  private mutating func checkAttend(_ op: OpRecord) throws(CurtaError) {
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
    let (bits, step, shift) = (try op.operand(10), try op.operand(11), try op.operand(12))
    if bits == 0 {
      try require(step == 0 && shift == 0)
    } else {
      try require(bits >= 2 && bits <= 4 && step >= 1 && step <= 4 && shift < 1 << 15)
    }
    guard isAppended(keysIndex), isAppended(valuesIndex) else { throw CurtaError(.badPlan) }
    write(4)
  }

  @inline(never)
  private mutating func checkGateQuant(_ op: OpRecord) throws(CurtaError) {
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
  }

  @inline(never)
  private mutating func checkSelect(_ op: OpRecord) throws(CurtaError) {
    try require(program.image == nil)
    let input = try read(op, 1, .fixed)
    let out = try buffer(op, 2, .fixed)
    try require(input.rows == .tokens && out.rows == .outputs)
    try require(out.width == input.width && out.fraction == input.fraction)
    write(2)
  }

  @inline(never)
  private mutating func checkLogits(_ op: OpRecord) throws(CurtaError) {
    let input = try read(op, 1, .codes8)
    let weight = try weightTensor(op.operand(2))
    let out = try buffer(op, 3, .fixed)
    try require(input.scales == 1 && weight.columns == input.width)
    try require(input.rows == .outputs && out.rows == .outputs && out.fraction == 16)
    try require(out.width == weight.rows && weight.rows == program.vocabulary)
    write(3)
  }

  @inline(never)
  private mutating func checkBias(_ op: OpRecord) throws(CurtaError) {
    let inPlace = try op.operand(1) == op.operand(3)
    let input = inPlace ? try update(op, 3) : try readNumbers(op, 1)
    let bias = try op.operand(2)
    if bias != Program.none { try checkVector(bias, width: input.width) }
    let out = try buffer(op, 3, .fixed)
    try require(out.width == input.width && out.rows == input.rows)
    if !inPlace { write(3) }
  }

  @inline(never)
  private mutating func checkNorm(_ op: OpRecord) throws(CurtaError) {
    let input = try read(op, 1, .fixed)
    try checkVector(op.operand(2), width: input.width)
    let out = try buffer(op, 3, .fixed)
    try require(out.width == input.width && out.rows == input.rows)
    try require(NormKind(rawValue: try op.operand(4)) != nil)
    try checkEpsilon(op, 5)
    write(3)
  }

  @inline(never)
  private mutating func checkAdd(_ op: OpRecord) throws(CurtaError) {
    let input = try readNumbers(op, 1)
    let sum = try update(op, 2)
    try require(sum.width == input.width && sum.rows == input.rows)
  }

  @inline(never)
  private mutating func checkAddPosition(_ op: OpRecord) throws(CurtaError) {
    let weight = try denseTensor(op.operand(1))
    let sum = try update(op, 2)
    try require(weight.rows >= program.context)
    try require(sum.rows == .tokens && weight.columns == sum.width)
  }

  @inline(never)
  private mutating func checkSoftCap(_ op: OpRecord) throws(CurtaError) {
    let sum = try update(op, 1)
    try require(sum.fraction == 16)
    try checkCap(op, 2)
  }

  @inline(never)
  private mutating func checkQuantize(_ op: OpRecord) throws(CurtaError) {
    let input = try readNumbers(op, 1)
    let out = try buffer(op, 2, .codes8)
    try require(out.scales == 1 && out.width == input.width && out.rows == input.rows)
    try checkHadamard(op, 3, width: out.width)
    write(2)
  }

  // Image programs alone have the rest.

  @inline(never)
  private mutating func checkPatchify(_ op: OpRecord) throws(CurtaError) {
    guard let image = program.image else { throw CurtaError(.badProgram) }
    let out = try buffer(op, 1, .codes8)
    try require(out.scales == 1 && out.rows == .patches && out.width == image.patchSize)
    write(1)
  }

  @inline(never)
  private mutating func checkPrefix(_ op: OpRecord) throws(CurtaError) {
    try require(program.image != nil)
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
  }

  @inline(never)
  private mutating func checkPool(_ op: OpRecord) throws(CurtaError) {
    try require(program.image != nil)
    let input = try read(op, 1, .fixed)
    let out = try buffer(op, 2, .fixed)
    try require(input.rows == .tokens && out.rows == .outputs)
    try require(out.width == input.width && out.fraction == input.fraction)
    try require(PoolKind(rawValue: try op.operand(3)) != nil)
    try require(try op.operand(4) < program.context)
    write(2)
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
