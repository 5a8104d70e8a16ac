// The program section: buffers, states and ops as records.
// SPDX-License-Identifier: Apache-2.0

/// Op numbers (`registry.tsv`, table `op`).
public enum OpCode: UInt32, Sendable {
  case embed = 1
  case normQuant = 2
  case linear = 3
  case linearAdd = 4
  case headQuant = 5
  case cacheAppend = 6
  case attend = 7
  case gateQuant = 8
  case select = 9
  case logits = 10
  case bias = 11
  case norm = 12
  case add = 13
  case addPosition = 14
  case softCap = 15
  case quantize = 16
  case patchify = 17
  case prefix = 18
  case pool = 19
}

public enum BufferType: UInt32, Sendable {
  case fixed = 1
  case scaled = 2
  case codes8 = 3
}

/// How many rows a buffer has in a step.
public enum RowCount: UInt32, Sendable {
  case tokens = 0
  case outputs = 1
  /// In image programs only.
  case patches = 2
}

public enum Pairing: UInt32, Sendable {
  case none = 0
  case interleaved = 1
  case halfSplit = 2
}

/// What a norm takes away before it divides (`registry.tsv`, table `norm`).
public enum NormKind: UInt32, Sendable {
  /// Nothing.
  case rms = 1
  /// The mean.
  case layer = 2
}

/// What `gate_quant` does to its gate (`registry.tsv`, table `activation`).
public enum Activation: UInt32, Sendable {
  case silu = 1
  case geluTanh = 2
  case geluErf = 3
  case quickGelu = 4
  case relu = 5
}

public struct BufferRecord: Sendable {
  public let type: BufferType
  public let rows: RowCount
  public let width: UInt32
  public let scales: UInt32
  public let fraction: Int32
  public let slot: UInt32
}

public struct StateRecord: Sendable {
  public let heads: UInt32
  public let width: UInt32
}

/// One op: its number and operands, as read; `Program` has checked them.
public struct OpRecord: Sendable {
  public let code: OpCode
  /// Offset of the record in the section.
  public let offset: UInt64
  private let words: ByteView

  init(_ words: ByteView, offset: UInt64) throws(CurtaError) {
    guard let code = OpCode(rawValue: try words.u32(0)) else {
      throw CurtaError(.unknown, at: offset)
    }
    self.code = code
    self.offset = offset
    self.words = words
  }

  /// Operand `i`, 1 to 15.
  public func operand(_ i: Int) throws(CurtaError) -> UInt32 { try words.u32(4 * i) }

  /// The operands that may name tensors, one bit each; `Program.none` in one names none.
  public var tensorOperands: UInt16 {
    get throws(CurtaError) {
      switch code {
      case .embed, .addPosition: return 1 << 1
      case .normQuant, .linearAdd, .logits, .bias, .norm, .prefix: return 1 << 2
      case .headQuant, .cacheAppend: return 1 << 3 | 1 << 6
      case .linear:  // every second one from the third on
        let pairs = UInt32(min(try operand(2), 6))
        return UInt16((0x555 & ((1 << (2 * pairs)) - 1)) << 3)
      case .attend, .gateQuant, .select, .add, .softCap, .quantize, .patchify, .pool: return 0
      }
    }
  }

  /// How many operands the op has; the rest are zero.
  func operandCount() throws(CurtaError) -> Int {
    switch code {
    case .patchify: return 1
    case .select, .add, .addPosition, .softCap: return 2
    case .embed, .linearAdd, .logits, .bias, .quantize, .prefix: return 3
    case .pool: return 4
    case .gateQuant: return 5
    case .norm: return 6
    case .normQuant: return 7
    case .headQuant, .cacheAppend: return 8
    case .attend: return 12
    case .linear:
      let pairs = try operand(2)
      guard pairs >= 1, pairs <= 6 else { throw CurtaError(.badProgram, at: offset) }
      return 2 + 2 * Int(pairs)
    }
  }
}

/// The program of a file, wholly checked when made (`curta-program.md`).
public struct Program: Sendable {
  public let bufferCount: UInt32
  public let stateCount: UInt32
  public let opCount: UInt32
  public let slotCount: UInt32
  /// Of tokens the largest number of positions, of images the rows of one.
  public let context: UInt32
  /// Rows of the embedding; of images the numbers in a row of output.
  public let vocabulary: UInt32
  /// The buffer with the logits.
  public let output: UInt32
  /// What images look like; nil where the input is tokens.
  public let image: ImageRecord?
  private let bytes: ByteView

  /// Operand that stands for no tensor or buffer.
  public static let none: UInt32 = 0xFFFF_FFFF

  static let headerSize: UInt64 = 32
  static let recordSize: UInt64 = 32
  static let opSize: UInt64 = 64

  /// Where the records of buffers begin.
  private var records: UInt64 { Program.headerSize + (image == nil ? 0 : Program.recordSize) }
  /// Rows that come before the patches of an image.
  public var prefixRows: UInt32 { context - (image?.patches ?? context) }

  init(_ bytes: ByteView, tensors: TensorTable) throws(CurtaError) {
    self.bytes = bytes
    do throws(CurtaError) {
      bufferCount = try bytes.u32(0)
      stateCount = try bytes.u32(4)
      opCount = try bytes.u32(8)
      slotCount = try bytes.u32(12)
      context = try bytes.u32(16)
      vocabulary = try bytes.u32(20)
      output = try bytes.u32(24)
      guard let input = InputKind(rawValue: try bytes.u32(28)) else {
        throw CurtaError(.unknown, at: 28)
      }
      guard bufferCount <= Limits.buffers, stateCount <= Limits.states, opCount <= Limits.ops,
        slotCount <= Limits.slots, context <= Limits.context
      else { throw CurtaError(.overLimit, at: 0) }
      guard bufferCount > 0, opCount > 0, slotCount > 0, context > 0 else {
        throw CurtaError(.badProgram, at: 0)
      }
      image = input == .images ? try ImageRecord(bytes) : nil
      if let image {
        guard image.patches <= context, context - image.patches <= Limits.prefixRows else {
          throw CurtaError(.badProgram, at: 16)
        }
      }
      let size =
        records + UInt64(bufferCount + stateCount) * Program.recordSize
        + UInt64(opCount) * Program.opSize
      guard size == UInt64(bytes.count) else { throw CurtaError(.badProgram, at: 8) }
      guard output < bufferCount else { throw CurtaError(.badProgram, at: 24) }
      for i in 0..<bufferCount { _ = try buffer(i) }
      for i in 0..<stateCount { _ = try state(i) }
      var check = ProgramCheck(program: self, tensors: tensors)
      try check.run()
    } catch {
      let status = error.status == .truncated ? Status.badProgram : error.status
      throw CurtaError(status, section: SectionKind.program, at: error.offset)
    }
  }

  public func buffer(_ i: UInt32) throws(CurtaError) -> BufferRecord {
    guard i < bufferCount else { throw CurtaError(.badProgram) }
    let offset = records + UInt64(i) * Program.recordSize
    let at = Int(offset)
    guard let type = BufferType(rawValue: try bytes.u32(at)),
      let rows = RowCount(rawValue: try bytes.u32(at + 4))
    else { throw CurtaError(.badPlan, at: offset) }
    let width = try bytes.u32(at + 8)
    let scales = try bytes.u32(at + 12)
    let fraction = try bytes.i32(at + 16)
    let slot = try bytes.u32(at + 20)
    guard rows != .patches || image != nil else { throw CurtaError(.badPlan, at: offset + 4) }
    let widest = type == .codes8 ? Limits.codesWidth : Limits.width
    guard width >= 1, width <= widest, slot < slotCount else {
      throw CurtaError(.badPlan, at: offset + 8)
    }
    let scalesAreRight: Bool
    switch type {
    case .fixed: scalesAreRight = scales == 0
    case .scaled: scalesAreRight = scales == 1
    case .codes8: scalesAreRight = scales >= 1 && scales <= Limits.heads && width % scales == 0
    }
    guard scalesAreRight, fraction >= 0, fraction <= (type == .fixed ? 30 : 0) else {
      throw CurtaError(.badPlan, at: offset + 12)
    }
    guard try bytes.view(offset + 24, 8).isZero else {
      throw CurtaError(.badPadding, at: offset + 24)
    }
    return BufferRecord(
      type: type, rows: rows, width: width, scales: scales, fraction: fraction, slot: slot)
  }

  public func state(_ i: UInt32) throws(CurtaError) -> StateRecord {
    guard i < stateCount else { throw CurtaError(.badProgram) }
    let offset = records + UInt64(bufferCount + i) * Program.recordSize
    let at = Int(offset)
    let heads = try bytes.u32(at + 4)
    let width = try bytes.u32(at + 8)
    guard try bytes.u32(at) == 1, heads >= 1, heads <= Limits.heads, width >= 1,
      width <= Limits.headWidth
    else { throw CurtaError(.badPlan, at: offset) }
    guard try bytes.view(offset + 12, 20).isZero else {
      throw CurtaError(.badPadding, at: offset + 12)
    }
    return StateRecord(heads: heads, width: width)
  }

  public func op(_ i: UInt32) throws(CurtaError) -> OpRecord {
    guard i < opCount else { throw CurtaError(.badProgram) }
    let offset =
      records + UInt64(bufferCount + stateCount) * Program.recordSize
      + UInt64(i) * Program.opSize
    return try OpRecord(bytes.view(offset, Program.opSize), offset: offset)
  }
}
