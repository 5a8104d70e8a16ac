// Everything a session knows, in the first bytes of its arena.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

/// A tensor where the kernels find it.
struct TensorEntry {
  /// For grid and wide tensors.
  var weight: curta_weight
  /// For words tensors: [rows * columns].
  var words: UnsafePointer<UInt32>?

  /// The codes of a wide tensor: [rows * columns].
  var wideCodes: UnsafePointer<Int16> { weight.codes.assumingMemoryBound(to: Int16.self) }
}

/// Rows of rotations are the same for the same table of phases and the same kind of rows.
struct RotationKey: Equatable {
  let phases: UInt32
  let rows: RowCount
}

/// A buffer where the ops find it.
struct BufferEntry {
  var record: BufferRecord
  /// fixed, scaled: [rows][width].
  var values: UnsafeMutablePointer<Int32>
  /// codes8; its `scales` also serve `scaled` buffers: [rows][scales].
  var codes: curta_codes
}

/// A key or value cache: of a context, or of the images of a step one after the other.
struct StateEntry {
  var heads: Int
  var width: Int
  var codes: UnsafeMutablePointer<Int8>  // [heads][positions][width]
  var scales: UnsafeMutablePointer<curta_scale>  // [heads][positions]
}

/// The operands of the op being run, read once and then shared by all threads.
struct CurrentOp {
  var code = OpCode.embed
  var operands = InlineArray<16, UInt32>(repeating: 0)
  /// Ops of two passes run their task twice.
  var pass = 0

  subscript(i: Int) -> Int { Int(operands[i]) }
}

struct SessionState {
  var base: UnsafeMutableRawPointer
  var file: CurtaFile
  var program: Program
  var sizes: SessionSizes
  var scratch: ScratchLayout
  var kernels: UnsafePointer<curta_kernels>
  var options: curta_options
  /// Of streamed tensors only those of the ops that run are there.
  var tensors: UnsafeMutablePointer<TensorEntry>
  /// Entries of tensors that are decoded ahead.
  var tensorsAhead: UnsafeMutablePointer<TensorEntry>
  var descriptors: TensorTable
  var weights: WeightPlan
  /// Brought last, or being decoded ahead.
  var group: StreamGroup
  var isDecodingAhead: Bool
  /// Whether it lies at the end of the window, not at its start.
  var isGroupHigh: Bool
  var buffers: UnsafeMutablePointer<BufferEntry>
  var states: UnsafeMutablePointer<StateEntry>
  var tokenizer: Tokenizer?
  var decoder: TokenDecoder?
  var random: UInt64
  /// Tokens fed so far.
  var past: Int
  /// Rows of logits that the last step made.
  var outputsMade: Int

  // The step being run
  var tokens: UnsafePointer<Int32>
  /// Rows of tokens, outputs and patches.
  var count: Int
  var outputs: Int
  var patches: Int
  var op: CurrentOp
  /// What the table of rotations was made for in this step; nil: nothing yet.
  var rotations: RotationKey?

  /// Rows that `buffer` has in this step.
  func rows(_ buffer: Int) -> Int {
    switch buffers[buffer].record.rows {
    case .tokens: return count
    case .outputs: return outputs
    case .patches: return patches
    }
  }

  /// The position of row `row` of `buffer`: that of its token, or its place in its image.
  func position(_ row: Int, in buffer: Int) -> Int {
    guard let image = program.image else { return past + count - rows(buffer) + row }
    switch buffers[buffer].record.rows {
    case .tokens: return row % Int(sizes.context)
    case .outputs: return 0
    case .patches: return row % Int(image.patches)
    }
  }

  /// The slice of 0..<total that is part `part` of `parts`.
  static func share(_ total: Int, _ part: Int, _ parts: Int) -> Range<Int> {
    let wide = Int64(total)  // the product may not fit in 32 bits
    return Int(wide * Int64(part) / Int64(parts))..<Int(wide * Int64(part + 1) / Int64(parts))
  }
}

/// The scratch memory of one thread.
struct ThreadScratch {
  let narrowA: UnsafeMutablePointer<Int16>  // [width]
  let narrowB: UnsafeMutablePointer<Int16>  // [width]
  let wide: UnsafeMutablePointer<Int32>  // [width]
  let wideWidth: UInt64
  let tile: UnsafeMutablePointer<Int32>  // results of a product before they are added
  let product: UnsafeMutableRawPointer  // what a product overwrites: all but the tile
  let scores: UnsafeMutablePointer<Int32>  // [queries][context]
  let codes: UnsafeMutablePointer<Int16>  // [queries][context]
  let sums: UnsafeMutablePointer<Int64>  // [queries][headWidth]
}

extension SessionState {
  func threadScratch(_ part: Int) -> ThreadScratch {
    let start = base + Int(scratch.threads) + part * Int(scratch.threadSize)
    func at<T>(_ offset: UInt64, _ type: T.Type) -> UnsafeMutablePointer<T> {
      (start + Int(offset)).assumingMemoryBound(to: T.self)
    }
    return ThreadScratch(
      narrowA: at(scratch.narrowA, Int16.self), narrowB: at(scratch.narrowB, Int16.self),
      wide: at(scratch.wide, Int32.self), wideWidth: scratch.width,
      tile: at(scratch.tile, Int32.self), product: start + Int(scratch.product),
      scores: at(scratch.scores, Int32.self), codes: at(scratch.codes, Int16.self),
      sums: at(scratch.sums, Int64.self))
  }

  func shared<T>(_ offset: UInt64, _ type: T.Type) -> UnsafeMutablePointer<T> {
    (base + Int(offset)).assumingMemoryBound(to: T.self)
  }
}
