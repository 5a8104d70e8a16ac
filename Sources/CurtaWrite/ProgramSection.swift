// The program section: buffers, states and ops as words.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// The bytes of the program section (`Formats/curta-program.md` section 1).
///
/// Checks counts, indices and the slots; that the shapes of an op's operands fit is left to the
/// reader, which the writer runs on the finished file. Throws `WriteError.invalid` naming the part.
public func programSection(_ program: ProgramDescription) throws(WriteError) -> [UInt8] {
  try checkCount(program.buffers.count, 1, Limits.buffers, "buffers")
  try checkCount(program.states.count, 0, Limits.states, "states")
  try checkCount(program.ops.count, 1, Limits.ops, "ops")
  try checkCount(program.slotCount, 1, Limits.slots, "slots")
  try checkCount(program.context, 1, Limits.context, "positions of context")
  guard program.buffers.indices.contains(program.output) else {
    throw .invalid(part: "program", reason: "the output buffer \(program.output) does not exist")
  }
  var bytes: [UInt8] = []
  for value in [
    program.buffers.count, program.states.count, program.ops.count, program.slotCount,
    program.context, program.vocabulary, program.output, 0,
  ] {
    bytes.append(little: try field(value, "a count", of: "program"))
  }
  for (index, buffer) in program.buffers.enumerated() {
    bytes += try record(buffer, part: "buffer \(index)", slotCount: program.slotCount)
  }
  for (index, state) in program.states.enumerated() {
    bytes.append(little: UInt32(1))  // codes8
    bytes.append(little: try field(state.heads, "heads", of: "state \(index)"))
    bytes.append(little: try field(state.width, "width", of: "state \(index)"))
    bytes.append(zeros: 20)
  }
  for (index, op) in program.ops.enumerated() {
    let part = "op \(index) (\(op.name))"
    for buffer in op.reads + op.writes where !program.buffers.indices.contains(buffer) {
      throw .invalid(part: part, reason: "there is no buffer \(buffer)")
    }
    let words = try words(op, part: part)
    for word in words { bytes.append(little: word) }
    bytes.append(zeros: 64 - 4 * words.count)
  }
  return bytes
}

private func checkCount(
  _ count: Int, _ least: Int, _ most: UInt32, _ name: String
) throws(WriteError) {
  guard count >= least, count <= Int(most) else {
    throw .invalid(part: "program", reason: "\(count) \(name); \(least) to \(most) fit")
  }
}

/// One buffer, 32 bytes.
private func record(
  _ buffer: BufferDescription, part: String, slotCount: Int
) throws(WriteError) -> [UInt8] {
  var type = BufferType.fixed
  var scales = 0
  var fraction = 0
  switch buffer.kind {
  case .fixed(let bits):
    fraction = bits
  case .scaled:
    type = .scaled
    scales = 1
  case .codes8(let count):
    type = .codes8
    scales = count
  }
  guard (0...30).contains(fraction) else {
    throw .invalid(part: part, reason: "a fraction of \(fraction) bits; 0 to 30 fit")
  }
  guard (0..<slotCount).contains(buffer.slot) else {
    throw .invalid(part: part, reason: "slot \(buffer.slot) of \(slotCount)")
  }
  var bytes: [UInt8] = []
  bytes.append(little: type.rawValue)
  bytes.append(little: buffer.rows.rawValue)
  bytes.append(little: try field(buffer.width, "width", of: part))
  bytes.append(little: try field(scales, "scales", of: part))
  bytes.append(little: Int32(fraction))
  bytes.append(little: UInt32(buffer.slot))
  bytes.append(zeros: 8)
  return bytes
}

/// The op's number and its operands, at most 16 words.
private func words(_ op: ProgramOp, part: String) throws(WriteError) -> [UInt32] {
  func word(_ value: Int) throws(WriteError) -> UInt32 { try field(value, "operand", of: part) }
  func block(_ size: Int) throws(WriteError) -> UInt32 {
    guard size == 0 || (2...256).contains(size) && size & (size - 1) == 0 else {
      throw .invalid(part: part, reason: "Hadamard blocks of \(size); powers of two to 256 fit")
    }
    return UInt32(size)
  }
  func rotate(_ rotation: Rotation?, _ hadamard: Int) throws(WriteError) -> [UInt32] {
    let last = try block(hadamard)
    guard let rotation else { return [Program.none, Pairing.none.rawValue, last] }
    guard rotation.pairing != .none else {
      throw .invalid(part: part, reason: "phases without a pairing")
    }
    return [try word(rotation.phases), rotation.pairing.rawValue, last]
  }
  switch op {
  case .embed(let weight, let out, let hadamard):
    return [OpCode.embed.rawValue, try word(weight), try word(out), try block(hadamard)]
  case .normQuant(let input, let gamma, let out, let epsilon, let hadamard):
    guard epsilon <= 1 << 40 else {
      throw .invalid(part: part, reason: "an epsilon of \(epsilon); at most 2^40 fits")
    }
    return [
      OpCode.normQuant.rawValue, try word(input), try word(gamma), try word(out), 1,
      UInt32(truncatingIfNeeded: epsilon), UInt32(epsilon >> 32), try block(hadamard),
    ]
  case .linear(let input, let parts):
    guard (1...6).contains(parts.count) else {
      throw .invalid(part: part, reason: "\(parts.count) weights; 1 to 6 fit")
    }
    guard Set(parts.map(\.out)).count == parts.count else {
      throw .invalid(part: part, reason: "two weights write the same buffer")
    }
    var words = [OpCode.linear.rawValue, try word(input), UInt32(parts.count)]
    for part in parts { words += [try word(part.weight), try word(part.out)] }
    return words
  case .linearAdd(let input, let weight, let sum):
    return [OpCode.linearAdd.rawValue, try word(input), try word(weight), try word(sum)]
  case .headQuant(let input, let out, let rotation, let hadamard):
    return [OpCode.headQuant.rawValue, try word(input), try word(out)]
      + (try rotate(rotation, hadamard))
  case .cacheAppend(let input, let state, let rotation, let hadamard):
    return [OpCode.cacheAppend.rawValue, try word(input), try word(state)]
      + (try rotate(rotation, hadamard))
  case .attend(
    let query, let keys, let values, let out, let window, let mantissa, let exponent, let hadamard
  ):
    guard (32768...65535).contains(mantissa), (-64...64).contains(exponent) else {
      throw .invalid(
        part: part,
        reason: "a score factor of \(mantissa) * 2^-\(exponent); 32768…65535 and -64…64 fit")
    }
    return [
      OpCode.attend.rawValue, try word(query), try word(keys), try word(values), try word(out),
      try word(window),
      UInt32(mantissa), UInt32(bitPattern: Int32(exponent)), try block(hadamard),
    ]
  case .gateQuant(let gate, let up, let out, let hadamard):
    return [
      OpCode.gateQuant.rawValue, try word(gate), try word(up), try word(out), 1,
      try block(hadamard),
    ]
  case .select(let input, let out):
    return [OpCode.select.rawValue, try word(input), try word(out)]
  case .logits(let input, let weight, let out):
    return [OpCode.logits.rawValue, try word(input), try word(weight), try word(out)]
  }
}
