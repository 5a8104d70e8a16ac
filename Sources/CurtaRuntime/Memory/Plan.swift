// How much memory a session takes and where each part lies: computed once, the same for
// `curta_plan` and for the session itself.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

/// The sizes of a session with every default filled in.
struct SessionSizes {
  /// Of images the rows of one.
  let context: UInt32
  /// Most tokens in a step; 0 for images.
  let chunk: UInt32
  /// Most rows of logits in a step; most images.
  let outputs: UInt32
  let threads: UInt32
  /// Most rows of patches in a step; 0 for tokens.
  let patches: UInt32
  /// Whether threads can decode weights while others compute.
  let mayDecodeAhead: Bool

  static let defaultChunk: UInt32 = 128

  init(_ options: curta_options, _ program: Program) throws(CurtaError) {
    outputs = options.outputs == 0 ? 1 : options.outputs
    if let image = program.image {
      context = program.context
      chunk = 0
      guard outputs <= Limits.context / context else { throw CurtaError(.badArgument) }
      patches = outputs * image.patches
    } else {
      context = options.context == 0 ? program.context : options.context
      guard context <= program.context else { throw CurtaError(.badArgument) }
      chunk = options.chunk == 0 ? min(SessionSizes.defaultChunk, context) : options.chunk
      guard chunk <= context, outputs <= chunk else { throw CurtaError(.badArgument) }
      patches = 0
    }
    threads = options.threads == 0 ? 1 : options.threads
    guard threads <= 256, threads == 1 || options.parallel != nil,
      (options.begin == nil) == (options.finish == nil)
    else { throw CurtaError(.badArgument) }
    mayDecodeAhead = threads > 1 && options.begin != nil
  }

  /// Parts that the work of an op is split into: more while some threads decode, so that one that
  /// comes back finds parts that nobody took.
  func parts(whileDecoding: Bool) -> UInt32 { whileDecoding ? 2 * threads : threads }

  /// Most rows of tokens in a step.
  var tokens: UInt32 { chunk == 0 ? outputs * context : chunk }
  /// Positions of a state.
  var positions: UInt32 { chunk == 0 ? outputs * context : context }

  /// Most rows of a buffer.
  func rows(_ rows: RowCount) -> UInt32 {
    switch rows {
    case .tokens: return tokens
    case .outputs: return outputs
    case .patches: return patches
    }
  }
}

/// Takes consecutive pieces of the arena, each a multiple of 64 bytes.
struct ArenaLayout {
  var end = CheckedSize.zero

  /// `count` items of `size` bytes; returns the offset of the first.
  mutating func take(_ count: UInt64, _ size: Int) throws(CurtaError) -> UInt64 {
    let start = end.value
    end = try end.plus(CheckedSize(count).times(UInt64(size)).aligned(to: alignment))
    return start
  }
}

/// Offsets of the parts of one buffer, from the start of its slot.
struct BufferLayout {
  let sums: UInt64  // codes8: i16 [rows][stride / 32]
  let scales: UInt64  // scaled, codes8: curta_scale [rows][scales]
  let size: UInt64
  let stride: UInt32  // elements from one row to the next

  /// The layout of `curta-program.md` section 2 with `rows` rows.
  init(_ buffer: BufferRecord, rows: UInt32) throws(CurtaError) {
    var layout = ArenaLayout()
    let r = UInt64(rows)
    let width = UInt64(buffer.width)
    switch buffer.type {
    case .fixed, .scaled:
      stride = buffer.width
      _ = try layout.take(width * r, 4)
      sums = layout.end.value
      scales = try layout.take(UInt64(buffer.scales) * r, 8)
    case .codes8:
      let padded = (width + 63) & ~63
      stride = UInt32(padded)
      _ = try layout.take(padded * r, 1)
      sums = try layout.take(padded / 32 * r, 2)
      scales = try layout.take(UInt64(buffer.scales) * r, 8)
    }
    size = layout.end.value
  }
}

/// Where every part of a session lies in its arena.
struct Plan {
  let sizes: SessionSizes
  let program: Program
  let tensors: TensorTable

  // Session tables
  let tensorTable: UInt64  // TensorEntry [tensors]
  let bufferTable: UInt64  // BufferEntry [buffers]
  let stateTable: UInt64  // StateEntry [states]
  let sessionEnd: UInt64
  // Decoded or unpacked sections
  let tokenizer: UInt64  // where the decoded tokenizer section goes, when it is compressed
  let weights: WeightPlan
  let weightsEnd: UInt64
  // Working memory
  let slots: UInt64
  let slotsEnd: UInt64
  let states: UInt64
  let statesEnd: UInt64
  let scratch: ScratchLayout
  let total: UInt64

  /// Without `keepsWeights` tensors take the place of those before them: enough to check them.
  init(
    _ file: CurtaFile, _ options: curta_options, keepsWeights: Bool = true
  ) throws(CurtaError) {
    tensors = try file.tensors()
    program = try file.program(tensors)
    sizes = try SessionSizes(options, program)

    var layout = ArenaLayout()
    _ = try layout.take(1, MemoryLayout<SessionState>.size)
    tensorTable = try layout.take(UInt64(tensors.count), MemoryLayout<TensorEntry>.stride)
    bufferTable = try layout.take(UInt64(program.bufferCount), MemoryLayout<BufferEntry>.stride)
    stateTable = try layout.take(UInt64(program.stateCount), MemoryLayout<StateEntry>.stride)
    sessionEnd = layout.end.value

    tokenizer = sessionEnd
    if file.tokenizerEntry >= 0 {
      let section = try file.section(file.tokenizerEntry)
      if section.codec != .stored { _ = try layout.take(section.size, 1) }
    }
    weights = try WeightPlan(
      file, tensors, program, sizes, limit: keepsWeights ? options.weight_limit : nil, &layout)
    weightsEnd = layout.end.value

    slots = weightsEnd
    for slot in 0..<program.slotCount {
      _ = try layout.take(Plan.slotSize(slot, program, sizes), 1)
    }
    slotsEnd = layout.end.value
    states = slotsEnd
    for i in 0..<program.stateCount {
      let state = try program.state(i)
      let rows = UInt64(state.heads) * UInt64(sizes.positions)
      _ = try layout.take(rows, Int(state.width))
      _ = try layout.take(rows, MemoryLayout<curta_scale>.stride)
    }
    statesEnd = layout.end.value
    scratch = try ScratchLayout(
      program, tensors, sizes, parts: sizes.parts(whileDecoding: weights.decodesAhead), idle: slots,
      &layout)
    // Staging reuses what is idle while the file is being loaded.
    let working = layout.end.value - slots
    if weights.staging > working { _ = try layout.take(weights.staging - working, 1) }
    total = layout.end.value
  }

  /// The largest buffer that lives in `slot`.
  static func slotSize(
    _ slot: UInt32, _ program: Program, _ sizes: SessionSizes
  ) throws(CurtaError) -> UInt64 {
    var largest: UInt64 = 0
    for i in 0..<program.bufferCount {
      let buffer = try program.buffer(i)
      guard buffer.slot == slot else { continue }
      largest = max(largest, try BufferLayout(buffer, rows: sizes.rows(buffer.rows)).size)
    }
    return largest
  }
}

extension TensorDescriptor {
  /// Whether its codes are brought to another form when the file is loaded.
  var needsUnpacking: Bool {
    encoding == .grid && !hasSixes && (bits != 8 && bits != 4 || mask != nil && !hasBlockMask)
  }

  /// Bytes of all codes as the kernels read them.
  var kernelCodeBytes: UInt64 {
    hasBlockMask ? storedBlocks * UInt64(blockBytes) : UInt64(rows) * UInt64(kernelRowBytes)
  }

  /// Whether the kernels read two codes of a grid in a byte.
  var hasNibbles: Bool { encoding == .grid && bits <= 4 }

  /// Whether the kernels read codes of 6 bits as the file has them.
  var hasSixes: Bool { encoding == .grid && bits == 6 && mask == nil }

  /// Bytes of 32 codes of a grid as the kernels read them.
  var blockBytes: UInt32 { hasNibbles ? 16 : hasSixes ? 24 : 32 }

  /// Bytes in a row of codes as the kernels read them, where all blocks are there.
  var kernelRowBytes: UInt32 {
    switch encoding {
    case .grid: return blocks * blockBytes
    case .wide: return columns * 2
    case .words: return columns * 4
    }
  }
}
