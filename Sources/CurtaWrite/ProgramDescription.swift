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
  /// Of tokens the largest number of positions; of images the rows of one, prefix and patches.
  public var context: Int
  /// Rows of the embedding, token ids are below it; of images the numbers in a row of output.
  public var vocabulary: Int
  /// Index of the buffer that holds the logits.
  public var output: Int
  public var slotCount: Int
  /// What images look like; nil where the input is tokens.
  public var image: ImageDescription?

  public init(
    buffers: [BufferDescription], states: [StateDescription], ops: [ProgramOp], context: Int,
    vocabulary: Int, output: Int, slotCount: Int = 0, image: ImageDescription? = nil
  ) {
    self.buffers = buffers
    self.states = states
    self.ops = ops
    self.context = context
    self.vocabulary = vocabulary
    self.output = output
    self.slotCount = slotCount
    self.image = image
  }
}

/// The images that a program takes (`Formats/curta-program.md` section 1, the image record).
public struct ImageDescription: Sendable, Equatable {
  public var height: Int
  public var width: Int
  /// 1 grey; 3 red, green, blue.
  public var channels: Int
  public var patchHeight: Int
  public var patchWidth: Int
  /// How images of other sizes become this one's.
  public var resize: Resize
  /// With `crop` the shorter edge before the centre is cut out, else 0.
  public var edge: Int
  /// `none` exactly where there is no resize.
  public var filter: Filter

  public init(
    height: Int, width: Int, channels: Int, patchHeight: Int, patchWidth: Int,
    resize: Resize = .none, edge: Int = 0, filter: Filter = .none
  ) {
    self.height = height
    self.width = width
    self.channels = channels
    self.patchHeight = patchHeight
    self.patchWidth = patchWidth
    self.resize = resize
    self.edge = edge
    self.filter = filter
  }

  public var patches: Int { (height / patchHeight) * (width / patchWidth) }
  /// Numbers in a patch.
  public var patchSize: Int { patchHeight * patchWidth * channels }
}

/// A buffer: `width` elements for every token, output or patch of the step.
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
  /// What a row belongs to: a token, an output or a patch.
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

/// The code of attention weights of few bits: shift-uniform-log2 (I&S-ViT, Zhong et al. 2023).
///
/// Code n of a weight p, as a part of the largest of its row, stands for 2^(−n · step / 2) − η.
public struct ScoreCode: Sendable, Equatable {
  /// 2…4.
  public var bits: Int
  /// Half octaves between codes, 1…4.
  public var step: Int
  /// η in units of 2^−15, 0…32767.
  public var shift: Int

  public init(bits: Int, step: Int, shift: Int) {
    self.bits = bits
    self.step = step
    self.shift = shift
  }
}

/// What a norm computes besides its gamma.
public struct NormOperands: Sendable, Equatable {
  public var kind: NormKind
  /// In units of 2^(−2 · fraction of the input), at most 2^40.
  public var epsilon: UInt64

  public init(kind: NormKind, epsilon: UInt64) {
    self.kind = kind
    self.epsilon = epsilon
  }
}

/// The RMS norm of each head by itself, before it turns.
public struct HeadNorm: Sendable, Equatable {
  /// Index of the `wide` tensor with one code for each element of a head.
  public var gamma: Int
  /// As in `NormOperands`.
  public var epsilon: UInt64

  public init(gamma: Int, epsilon: UInt64) {
    self.gamma = gamma
    self.epsilon = epsilon
  }
}

/// One op; `Formats/curta-arithmetic.md` section 4 defines what each computes. `hadamard` is the size
/// of the blocks that a Hadamard turns, a power of two from 2 to 256, or 0 for none. A cap is in units
/// of 2^−16 from 2^16 to 2^26. A `sum` is updated in place.
public enum ProgramOp: Sendable, Equatable {
  case embed(weight: Int, out: Int, hadamard: Int = 0)
  case normQuant(input: Int, gamma: Int, out: Int, norm: NormOperands, hadamard: Int = 0)
  case linear(input: Int, parts: [LinearPart])
  case linearAdd(input: Int, weight: Int, sum: Int)
  /// With a norm the input is fixed.
  case headQuant(
    input: Int, out: Int, rotation: Rotation?, norm: HeadNorm? = nil, hadamard: Int = 0)
  case cacheAppend(
    input: Int, state: Int, rotation: Rotation?, norm: HeadNorm? = nil, hadamard: Int = 0)
  /// `window` 0 is none; the score's factor is mantissa · 2^−exponent, mantissa 32768…65535; `cap`
  /// 0 is none; so is `code` nil.
  case attend(
    query: Int, keys: Int, values: Int, out: Int, window: Int, mantissa: Int, exponent: Int,
    hadamard: Int = 0, cap: Int = 0, code: ScoreCode? = nil)
  /// activation(gate) · up, or without up the activation alone.
  case gateQuant(gate: Int, up: Int?, out: Int, activation: Activation, hadamard: Int = 0)
  case select(input: Int, out: Int)
  case logits(input: Int, weight: Int, out: Int)
  /// input + bias, or without a bias the input as fixed numbers; `input` may be `out`.
  case bias(input: Int, bias: Int?, out: Int)
  case norm(input: Int, gamma: Int, out: Int, norm: NormOperands)
  case add(input: Int, sum: Int)
  /// Adds the row of the weight for each token's position.
  case addPosition(weight: Int, sum: Int)
  case softCap(sum: Int, cap: Int)
  case quantize(input: Int, out: Int, hadamard: Int = 0)
  /// The patches of the images as codes.
  case patchify(out: Int)
  /// The rows of the weight, then the patches, of each image.
  case prefix(input: Int, rows: Int?, out: Int)
  /// Row `first` of each image, or the mean of the rows from `first` on.
  case pool(input: Int, out: Int, kind: PoolKind, first: Int)

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
    case .bias: "bias"
    case .norm: "norm"
    case .add: "add"
    case .addPosition: "add_position"
    case .softCap: "soft_cap"
    case .quantize: "quantize"
    case .patchify: "patchify"
    case .prefix: "prefix"
    case .pool: "pool"
    }
  }

  /// Buffers that the op reads.
  public var reads: [Int] {
    switch self {
    case .embed, .patchify: []
    case .normQuant(let input, _, _, _, _), .linear(let input, _),
      .headQuant(let input, _, _, _, _), .cacheAppend(let input, _, _, _, _),
      .select(let input, _), .logits(let input, _, _), .bias(let input, _, _),
      .norm(let input, _, _, _), .quantize(let input, _, _), .prefix(let input, _, _),
      .pool(let input, _, _, _):
      [input]
    case .linearAdd(let input, _, let sum), .add(let input, let sum): [input, sum]
    case .attend(let query, _, _, _, _, _, _, _, _, _): [query]
    case .gateQuant(let gate, let up, _, _, _): [gate] + (up.map { [$0] } ?? [])
    case .addPosition(_, let sum), .softCap(let sum, _): [sum]
    }
  }

  /// Buffers that the op writes; those it also reads are updated in place.
  public var writes: [Int] {
    switch self {
    case .embed(_, let out, _), .normQuant(_, _, let out, _, _), .headQuant(_, let out, _, _, _),
      .attend(_, _, _, let out, _, _, _, _, _, _), .gateQuant(_, _, let out, _, _),
      .select(_, let out), .logits(_, _, let out), .bias(_, _, let out), .norm(_, _, let out, _),
      .quantize(_, let out, _), .patchify(let out), .prefix(_, _, let out), .pool(_, let out, _, _):
      [out]
    case .linear(_, let parts): parts.map(\.out)
    case .linearAdd(_, _, let sum), .add(_, let sum), .addPosition(_, let sum),
      .softCap(let sum, _):
      [sum]
    case .cacheAppend: []
    }
  }
}
