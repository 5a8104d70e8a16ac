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
    program.context, program.vocabulary, program.output,
  ] {
    bytes.append(little: try field(value, "a count", of: "program"))
  }
  let input = program.image == nil ? InputKind.tokens : .images
  bytes.append(little: input.rawValue)
  if let image = program.image { bytes += try record(image, context: program.context) }
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

/// The image record, 32 bytes.
private func record(_ image: ImageDescription, context: Int) throws(WriteError) -> [UInt8] {
  func invalid(_ reason: String) -> WriteError { .invalid(part: "image", reason: reason) }
  let sides = 1...Int(Limits.imageSide)
  guard sides.contains(image.height), sides.contains(image.width) else {
    throw invalid("\(image.width) by \(image.height) pixels; sides of 1 to \(sides.upperBound) fit")
  }
  guard image.channels == 1 || image.channels == 3 else {
    throw invalid("\(image.channels) channels; 1 or 3 fit")
  }
  guard image.patchHeight > 0, image.height % image.patchHeight == 0, image.patchWidth > 0,
    image.width % image.patchWidth == 0
  else {
    throw invalid(
      "patches of \(image.patchWidth) by \(image.patchHeight) pixels do not fill"
        + " \(image.width) by \(image.height)")
  }
  guard (0...Int(Limits.prefixRows)).contains(context - image.patches) else {
    throw invalid("\(context) rows for \(image.patches) patches")
  }
  let edges =
    image.resize == .crop ? max(image.height, image.width)...Int(Limits.imageEdge) : 0...0
  guard edges.contains(image.edge) else {
    throw invalid("an edge of \(image.edge) pixels; \(edges.lowerBound) to \(edges.upperBound) fit")
  }
  guard (image.resize == .none) == (image.filter == .none) else {
    throw invalid("a filter goes with a resize, and a resize with a filter")
  }
  var bytes: [UInt8] = []
  for value in [image.height, image.width, image.channels, image.patchHeight, image.patchWidth] {
    bytes.append(little: UInt32(value))
  }
  bytes.append(little: image.resize.rawValue)
  bytes.append(little: UInt32(image.edge))
  bytes.append(little: image.filter.rawValue)
  return bytes
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
  let operands = OperandWords(part: part)
  return [code(of: op).rawValue] + (try words(op, operands))
}

private func code(of op: ProgramOp) -> OpCode {
  switch op {
  case .embed: .embed
  case .normQuant: .normQuant
  case .linear: .linear
  case .linearAdd: .linearAdd
  case .headQuant: .headQuant
  case .cacheAppend: .cacheAppend
  case .attend: .attend
  case .gateQuant: .gateQuant
  case .select: .select
  case .logits: .logits
  case .bias: .bias
  case .norm: .norm
  case .add: .add
  case .addPosition: .addPosition
  case .softCap: .softCap
  case .quantize: .quantize
  case .patchify: .patchify
  case .prefix: .prefix
  case .pool: .pool
  }
}

/// The operands of an op.
private func words(_ op: ProgramOp, _ o: OperandWords) throws(WriteError) -> [UInt32] {
  switch op {
  case .embed(let weight, let out, let hadamard):
    return [try o.index(weight), try o.index(out), try o.block(hadamard)]
  case .normQuant(let input, let gamma, let out, let norm, let hadamard):
    return [try o.index(input), try o.index(gamma), try o.index(out)]
      + (try o.norm(norm)) + [try o.block(hadamard)]
  case .linear(let input, let parts):
    guard (1...6).contains(parts.count) else {
      throw o.invalid("\(parts.count) weights; 1 to 6 fit")
    }
    guard Set(parts.map(\.out)).count == parts.count else {
      throw o.invalid("two weights write the same buffer")
    }
    var words = [try o.index(input), UInt32(parts.count)]
    for part in parts { words += [try o.index(part.weight), try o.index(part.out)] }
    return words
  case .linearAdd(let input, let weight, let sum):
    return [try o.index(input), try o.index(weight), try o.index(sum)]
  case .headQuant(let input, let out, let rotation, let norm, let hadamard):
    return [try o.index(input), try o.index(out)] + (try o.rotate(rotation))
      + [try o.block(hadamard)] + (try o.norm(norm))
  case .cacheAppend(let input, let state, let rotation, let norm, let hadamard):
    return [try o.index(input), try o.index(state)] + (try o.rotate(rotation))
      + [try o.block(hadamard)] + (try o.norm(norm))
  case .attend(
    let query, let keys, let values, let out, let window, let mantissa, let exponent, let hadamard,
    let cap, let code
  ):
    guard (32768...65535).contains(mantissa), (-64...64).contains(exponent) else {
      throw o.invalid(
        "a score factor of \(mantissa) * 2^-\(exponent); 32768…65535 and -64…64 fit")
    }
    let words = [
      try o.index(query), try o.index(keys), try o.index(values), try o.index(out),
      try o.index(window), UInt32(mantissa), UInt32(bitPattern: Int32(exponent)),
      try o.block(hadamard), cap == 0 ? 0 : try o.cap(cap),
    ]
    guard let code else { return words }
    return words + (try o.scoreCode(code))
  case .gateQuant(let gate, let up, let out, let activation, let hadamard):
    return [
      try o.index(gate), try o.optional(up), try o.index(out), activation.rawValue,
      try o.block(hadamard),
    ]
  case .select(let input, let out):
    return [try o.index(input), try o.index(out)]
  case .logits(let input, let weight, let out):
    return [try o.index(input), try o.index(weight), try o.index(out)]
  case .bias(let input, let bias, let out):
    return [try o.index(input), try o.optional(bias), try o.index(out)]
  case .norm(let input, let gamma, let out, let norm):
    return [try o.index(input), try o.index(gamma), try o.index(out)] + (try o.norm(norm))
  case .add(let input, let sum):
    return [try o.index(input), try o.index(sum)]
  case .addPosition(let weight, let sum):
    return [try o.index(weight), try o.index(sum)]
  case .softCap(let sum, let cap):
    return [try o.index(sum), try o.cap(cap)]
  case .quantize(let input, let out, let hadamard):
    return [try o.index(input), try o.index(out), try o.block(hadamard)]
  case .patchify(let out):
    return [try o.index(out)]
  case .prefix(let input, let rows, let out):
    return [try o.index(input), try o.optional(rows), try o.index(out)]
  case .pool(let input, let out, let kind, let first):
    return [try o.index(input), try o.index(out), kind.rawValue, try o.index(first)]
  }
}

/// Operands as words, with `part` as the op's name in what is thrown.
private struct OperandWords {
  let part: String

  func invalid(_ reason: String) -> WriteError { .invalid(part: part, reason: reason) }

  func index(_ value: Int) throws(WriteError) -> UInt32 {
    try field(value, "operand", of: part)
  }

  func optional(_ value: Int?) throws(WriteError) -> UInt32 {
    guard let value else { return Program.none }
    return try index(value)
  }

  func block(_ size: Int) throws(WriteError) -> UInt32 {
    guard size == 0 || (2...256).contains(size) && size & (size - 1) == 0 else {
      throw invalid("Hadamard blocks of \(size); powers of two to 256 fit")
    }
    return UInt32(size)
  }

  func cap(_ cap: Int) throws(WriteError) -> UInt32 {
    guard (1 << 16...1 << 26).contains(cap) else {
      throw invalid("a cap of \(cap); 2^16 to 2^26 fit")
    }
    return UInt32(cap)
  }

  /// The operands of a code of attention weights.
  func scoreCode(_ code: ScoreCode) throws(WriteError) -> [UInt32] {
    guard (2...4).contains(code.bits), (1...4).contains(code.step),
      (0..<1 << 15).contains(code.shift)
    else {
      throw invalid(
        "attention weights of \(code.bits) bits, \(code.step) half octaves apart, less"
          + " \(code.shift) * 2^-15; 2 to 4, 1 to 4 and 0 to 32767 fit")
    }
    return [UInt32(code.bits), UInt32(code.step), UInt32(code.shift)]
  }

  /// Phases and pairing.
  func rotate(_ rotation: Rotation?) throws(WriteError) -> [UInt32] {
    guard let rotation else { return [Program.none, Pairing.none.rawValue] }
    guard rotation.pairing != .none else { throw invalid("phases without a pairing") }
    return [try index(rotation.phases), rotation.pairing.rawValue]
  }

  /// Low and high word.
  func epsilon(_ epsilon: UInt64) throws(WriteError) -> [UInt32] {
    guard epsilon <= 1 << 40 else {
      throw invalid("an epsilon of \(epsilon); at most 2^40 fits")
    }
    return [UInt32(truncatingIfNeeded: epsilon), UInt32(epsilon >> 32)]
  }

  func norm(_ norm: NormOperands) throws(WriteError) -> [UInt32] {
    [norm.kind.rawValue] + (try epsilon(norm.epsilon))
  }

  func norm(_ norm: HeadNorm?) throws(WriteError) -> [UInt32] {
    guard let norm else { return [Program.none, 0, 0] }
    return [try index(norm.gamma)] + (try epsilon(norm.epsilon))
  }
}
