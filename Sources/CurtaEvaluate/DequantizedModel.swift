// The real numbers that a file's integers stand for, read back from its bytes.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor

/// The weights of a file as float32, for arithmetic in floats over the same codes.
public struct DequantizedModel {
  public let weights: DecoderWeights
  /// The Hadamards that rows pass before they are quantized; `weights` are turned back.
  public let hadamard: HadamardBlocks

  /// Reads every tensor that the program of a Llama-style decoder uses.
  ///
  /// `description` says what the file does not, such as the epsilon in real numbers. Throws
  /// `CurtaError` for a damaged file and `HostError.request` for a program of another shape.
  public init(_ file: CurtaFile, like description: DecoderDescription) throws {
    let tensors = try file.tensors()
    var walk = ProgramWalk(try file.program(tensors))
    func matrix(_ i: UInt32, block: Int = 0) throws -> Matrix {
      var result = try TensorReader(file, tensors[i]).matrix()
      if block > 0 { CurtaTensor.hadamard(&result.values, block: block, scale: 1) }
      return result
    }

    var blocks = HadamardBlocks()
    let embed = try walk.next(.embed)
    blocks.model = Int(try embed.operand(3))
    let embedding = try matrix(embed.operand(1), block: blocks.model)
    var layers: [DecoderLayer] = []
    while try walk.peek() == .normQuant {
      let norm = try walk.next(.normQuant)
      try walk.require(norm.operand(7) == UInt32(blocks.model))
      let attentionNorm = try matrix(norm.operand(2)).values
      let projections = try walk.next(.linear)
      try walk.require(projections.operand(2) == 3)
      let (query, key, value) = (
        try matrix(projections.operand(3), block: blocks.model),
        try matrix(projections.operand(5), block: blocks.model),
        try matrix(projections.operand(7), block: blocks.model)
      )
      blocks.head = Int(try walk.next(.headQuant).operand(5))
      _ = try walk.next(.cacheAppend)
      _ = try walk.next(.cacheAppend)
      let attend = try walk.next(.attend)
      try walk.require(attend.operand(5) == 0)
      blocks.attention = Int(try attend.operand(8))
      let output = try matrix(walk.next(.linearAdd).operand(2), block: blocks.attention)
      let feedForwardNorm = try matrix(walk.next(.normQuant).operand(2)).values
      let inner = try walk.next(.linear)
      try walk.require(inner.operand(2) == 2)
      let (gate, up) = (
        try matrix(inner.operand(3), block: blocks.model),
        try matrix(inner.operand(5), block: blocks.model)
      )
      blocks.feedForward = Int(try walk.next(.gateQuant).operand(5))
      let down = try matrix(walk.next(.linearAdd).operand(2), block: blocks.feedForward)
      layers.append(
        DecoderLayer(
          attentionNorm: attentionNorm, query: query, key: key, value: value, output: output,
          feedForwardNorm: feedForwardNorm, gate: gate, up: up, down: down))
    }
    _ = try walk.next(.select)
    let finalNorm = try matrix(walk.next(.normQuant).operand(2)).values
    let head = try matrix(walk.next(.logits).operand(2), block: blocks.model)

    var own = description
    own.tiedHead = false
    weights = DecoderWeights(
      description: own, embedding: embedding, layers: layers, finalNorm: finalNorm, head: head)
    hadamard = blocks
    guard weights.isConsistent else {
      throw HostError.request("the file and the reference do not have the same shapes")
    }
  }
}

/// The ops of a program, taken in order.
private struct ProgramWalk {
  private let program: Program
  private var index: UInt32 = 0

  init(_ program: Program) { self.program = program }

  /// The op that comes next; nil at the end.
  func peek() throws -> OpCode? {
    index < program.opCount ? try program.op(index).code : nil
  }

  /// The next op, which must be of this kind.
  mutating func next(_ code: OpCode) throws -> OpRecord {
    try require(peek() == code)
    index += 1
    return try program.op(index - 1)
  }

  func require(_ condition: Bool) throws {
    guard condition else {
      throw HostError.request(
        "the simulation knows Llama-style programs only; op \(index) of this one differs")
    }
  }
}

/// Reads one tensor back from its data sections.
private struct TensorReader {
  private let file: CurtaFile
  private let tensor: TensorDescriptor

  init(_ file: CurtaFile, _ tensor: TensorDescriptor) {
    self.file = file
    self.tensor = tensor
  }

  private func bytes(_ stream: UInt32) throws -> [UInt8] {
    try file.decodedBytes(file.data(tensor.data + stream))
  }

  private func integers<T: FixedWidthInteger & BitwiseCopyable>(
    _ stream: UInt32, _ type: T.Type
  ) throws -> [T] {
    let bytes = try bytes(stream)
    return bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<T>.size).map {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self))
      }
    }
  }

  /// The real numbers [rows][columns], rounded once to float32.
  func matrix() throws -> Matrix {
    let (rows, columns) = (Int(tensor.rows), Int(tensor.columns))
    switch tensor.encoding {
    case .words: throw CurtaError(.badProgram, section: SectionKind.program)
    case .wide:
      return WideTensor(
        rows: rows, columns: columns, exponent: Int(tensor.exponent),
        codes: try integers(0, Int16.self), mantissas: try integers(1, UInt16.self)
      ).dequantized()
    case .grid:
      return GridTensor(
        rows: rows, columns: columns, bits: Int(tensor.bits), group: Int(tensor.group),
        exponent: Int(tensor.exponent), codes: unpack(try bytes(0)),
        mantissas: try integers(1, UInt16.self),
        groupScales: tensor.hasGroupScales ? try bytes(2) : nil,
        groupOffsets: tensor.hasGroupOffsets ? try integers(3, Int16.self) : nil
      ).dequantized()
    }
  }

  /// Codes [rows][columns] out of blocks of 32 (`Formats/curta-encodings.md` section 2).
  private func unpack(_ packed: [UInt8]) -> [Int8] {
    let bits = Int(tensor.bits)
    if bits == 8, tensor.columns % 32 == 0 { return packed.map { Int8(bitPattern: $0) } }
    let columns = Int(tensor.columns)
    let blocks = Int(tensor.blocks)
    let zero = bits == 8 ? 0 : 1 << (bits - 1)
    var codes = [Int8](repeating: 0, count: Int(tensor.rows) * columns)
    for row in 0..<Int(tensor.rows) {
      for column in 0..<columns {
        let block = (row * blocks + column / 32) * 4 * bits
        let i = column % 32
        var value = 0
        var plane = block
        var low = 0
        for width in [8, 4, 2, 1] where bits & width != 0 {
          let length = 4 * width
          let byte = Int(packed[plane + i % length])
          value |= (byte >> (i / length * width) & ((1 << width) - 1)) << low
          plane += length
          low += width
        }
        codes[row * columns + column] = Int8(truncatingIfNeeded: value - zero)
      }
    }
    return codes
  }
}
