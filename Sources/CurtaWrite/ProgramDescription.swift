// A program as the converter builds it: named operands instead of words.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// The integer program of a file (`Formats/curta-program.md`).
///
/// Buffers, states and tensors are referred to by their index; slots are filled in by
/// `assignSlots()`.
public struct ProgramDescription: Sendable, Equatable {
  public var buffers: [BufferDescription]
  public var states: [StateDescription]
  /// In the order in which they run.
  public var ops: [ProgramOp]
  /// The largest number of positions.
  public var context: Int
  /// Rows of the embedding; token ids are below it.
  public var vocabulary: Int
  /// Index of the buffer that holds the logits.
  public var output: Int
  public var slotCount: Int

  public init(
    buffers: [BufferDescription], states: [StateDescription], ops: [ProgramOp], context: Int,
    vocabulary: Int, output: Int, slotCount: Int = 0
  ) {
    self.buffers = buffers
    self.states = states
    self.ops = ops
    self.context = context
    self.vocabulary = vocabulary
    self.output = output
    self.slotCount = slotCount
  }
}

/// A buffer: `width` elements for every token or output of the step.
public struct BufferDescription: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    /// int32 x that stands for x · 2^−fraction.
    case fixed(fraction: Int)
    /// int32 on one scale a row.
    case scaled
    /// int8 codes, with `scales` scales a row.
    case codes8(scales: Int)
  }

  public var kind: Kind
  /// What a row belongs to: a token or an output.
  public var rows: RowCount
  public var width: Int
  /// Memory that buffers share; set by `ProgramDescription.assignSlots()`.
  public var slot: Int

  public init(_ kind: Kind, rows: RowCount = .tokens, width: Int, slot: Int = 0) {
    self.kind = kind
    self.rows = rows
    self.width = width
    self.slot = slot
  }
}

/// A cache: for every position `heads` rows of `width` int8 codes with a scale each.
public struct StateDescription: Sendable, Equatable {
  public var heads: Int
  public var width: Int

  public init(heads: Int, width: Int) {
    self.heads = heads
    self.width = width
  }
}

/// How the elements of a head turn by their position.
public struct Rotation: Sendable, Equatable {
  /// Index of the `words` tensor with the phase increments.
  public var phases: Int
  /// Which two elements turn together; not `none`.
  public var pairing: Pairing

  public init(phases: Int, pairing: Pairing) {
    self.phases = phases
    self.pairing = pairing
  }
}

/// A weight of a `linear` op and the buffer it writes.
public struct LinearPart: Sendable, Equatable {
  public var weight: Int
  public var out: Int

  public init(weight: Int, out: Int) {
    self.weight = weight
    self.out = out
  }
}

/// One op; `Formats/curta-arithmetic.md` section 4 defines what each computes. `hadamard` is the size
/// of the blocks that a Hadamard turns, a power of two from 2 to 256, or 0 for none.
public enum ProgramOp: Sendable, Equatable {
  case embed(weight: Int, out: Int, hadamard: Int = 0)
  /// RMS norm; `epsilon` in units of 2^(−2 · fraction of the input), at most 2^40.
  case normQuant(input: Int, gamma: Int, out: Int, epsilon: UInt64, hadamard: Int = 0)
  case linear(input: Int, parts: [LinearPart])
  case linearAdd(input: Int, weight: Int, sum: Int)
  case headQuant(input: Int, out: Int, rotation: Rotation?, hadamard: Int = 0)
  case cacheAppend(input: Int, state: Int, rotation: Rotation?, hadamard: Int = 0)
  /// `window` 0 is none; the score's factor is mantissa · 2^−exponent, mantissa 32768…65535.
  case attend(
    query: Int, keys: Int, values: Int, out: Int, window: Int, mantissa: Int, exponent: Int,
    hadamard: Int = 0)
  /// SiLU(gate) · up
  case gateQuant(gate: Int, up: Int, out: Int, hadamard: Int = 0)
  case select(input: Int, out: Int)
  case logits(input: Int, weight: Int, out: Int)

  /// Name as in `registry.tsv`.
  public var name: String {
    switch self {
    case .embed: "embed"
    case .normQuant: "norm_quant"
    case .linear: "linear"
    case .linearAdd: "linear_add"
    case .headQuant: "head_quant"
    case .cacheAppend: "cache_append"
    case .attend: "attend"
    case .gateQuant: "gate_quant"
    case .select: "select"
    case .logits: "logits"
    }
  }

  /// Buffers that the op reads.
  public var reads: [Int] {
    switch self {
    case .embed: []
    case .normQuant(let input, _, _, _, _), .linear(let input, _), .headQuant(let input, _, _, _),
      .cacheAppend(let input, _, _, _), .select(let input, _), .logits(let input, _, _):
      [input]
    case .linearAdd(let input, _, let sum): [input, sum]
    case .attend(let query, _, _, _, _, _, _, _): [query]
    case .gateQuant(let gate, let up, _, _): [gate, up]
    }
  }

  /// Buffers that the op writes; `linearAdd` also reads what it writes.
  public var writes: [Int] {
    switch self {
    case .embed(_, let out, _), .normQuant(_, _, let out, _, _), .headQuant(_, let out, _, _),
      .attend(_, _, _, let out, _, _, _, _), .gateQuant(_, _, let out, _), .select(_, let out),
      .logits(_, _, let out):
      [out]
    case .linear(_, let parts): parts.map(\.out)
    case .linearAdd(_, _, let sum): [sum]
    case .cacheAppend: []
    }
  }
}
