// Memory that ops use while they run: a part for each thread, and parts that threads share.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

/// Sizes and places of scratch memory.
struct ScratchLayout {
  /// Rows of a weight whose products are made before they are added or copied.
  static let tileRows: UInt32 = 768
  /// The same of logits, which few tokens have.
  static let logitRows: UInt32 = 256
  /// Queries, at most, that meet a head's keys and values together.
  static let mostQueries = 16

  // From the start of one thread's part:
  let tile: UInt64  // i32 [rows of a product that is added][its columns, tileRows at most]
  /// What a product overwrites: all that follows.
  let product: UInt64  // u8 [curta_product_scratch(rows of a step)] at least
  let narrowA: UInt64  // i16 [width]
  let narrowB: UInt64  // i16 [width]
  let wide: UInt64  // i32 [width]
  let width: UInt64
  let scores: UInt64  // i32 [queries][context]
  let codes: UInt64  // i16 [queries][context]
  let sums: UInt64  // i64 [queries][headWidth]
  let threadSize: UInt64
  /// Elements of the widest head.
  let headWidth: UInt64

  // From the start of the arena:
  let threads: UInt64
  let attendValues: UInt64  // i32 [rows of a step][width of the widest attention output]
  let attendExponents: UInt64  // i32 [rows of a step][heads]
  let rotations: UInt64  // i32 [rows of a step][pairs of the widest table] cosine, then sine
  /// i8 [ceil(rows / 16)][width of an input][16]: codes of several rows for overlays.
  let turned: UInt64
  // For tokens:
  let sampleLogits: UInt64  // i32 [vocabulary]
  let sampleHeap: UInt64  // u32 [vocabulary]
  let recent: UInt64  // i32 [context], every token fed so far
  // For images:
  /// Where memory begins that nothing uses between steps; it ends at the pixels.
  let idle: UInt64
  let pixels: UInt64  // u8 [outputs][height][width][channels]
  let end: UInt64

  init(
    _ program: Program, _ tensors: TensorTable, _ sizes: SessionSizes, parts: UInt32, idle: UInt64,
    _ layout: inout ArenaLayout
  ) throws(CurtaError) {
    var width: UInt64 = 0
    for i in 0..<program.bufferCount {
      let buffer = try program.buffer(i)
      if buffer.type == .codes8 { width = max(width, UInt64(buffer.width)) }
    }
    var headWidth: UInt64 = 0
    for i in 0..<program.stateCount {
      let state = try program.state(i)
      width = max(width, UInt64(state.heads * state.width))
      headWidth = max(headWidth, UInt64(state.width))
    }
    var attendWidth: UInt64 = 0
    var attendHeads: UInt64 = 0
    var headGroup: UInt64 = 1  // query heads with the same keys
    var pairs: UInt64 = 0
    for i in 0..<program.opCount {
      let op = try program.op(i)
      if op.code == .attend {
        let query = try program.buffer(op.operand(1))
        attendWidth = max(attendWidth, UInt64(query.width))
        attendHeads = max(attendHeads, UInt64(query.scales))
        let keys = try program.state(op.operand(2))
        headGroup = max(headGroup, UInt64(query.scales) / max(1, UInt64(keys.heads)))
      }
      if op.code == .headQuant || op.code == .cacheAppend {
        let phases = try op.operand(3)
        if phases != Program.none { pairs = max(pairs, UInt64(try tensors[phases].columns)) }
      }
      if op.code == .headQuant {
        let out = try program.buffer(op.operand(2))
        headWidth = max(headWidth, UInt64(out.width / out.scales))
      }
      if op.code == .norm {
        let out = try program.buffer(op.operand(3))
        width = max(width, UInt64(out.width))
      }
    }

    width = (max(width, 1) + 63) & ~63
    var part = ArenaLayout()
    self.headWidth = headWidth
    self.width = width
    tile = try part.take(ScratchLayout.tileSize(program, sizes), 4)
    product = part.end.value
    narrowA = try part.take(width, 2)
    narrowB = try part.take(width, 2)
    wide = try part.take(width, 4)
    // Of the rows of a step, or of one row's heads with the same keys.
    let queries = min(UInt64(ScratchLayout.mostQueries), max(UInt64(sizes.tokens), headGroup))
    scores = try part.take(UInt64(sizes.context) * queries, 4)
    codes = try part.take(UInt64(sizes.context) * queries, 2)
    sums = try part.take(headWidth * queries, 8)
    let others = part.end.value - product
    let needed = UInt64(curta_product_scratch(sizes.tokens))
    if others < needed { _ = try part.take(needed - others, 1) }
    threadSize = part.end.value

    threads = try layout.take(UInt64(parts) * threadSize, 1)
    attendValues = try layout.take(UInt64(sizes.tokens) * attendWidth, 4)
    attendExponents = try layout.take(UInt64(sizes.tokens) * attendHeads, 4)
    rotations = try layout.take(UInt64(max(sizes.tokens, sizes.patches)) * pairs, 8)
    turned = try layout.take(ScratchLayout.turnedSize(program, tensors, sizes), 1)
    self.idle = idle
    let tokens: UInt64 = program.image == nil ? 1 : 0
    sampleLogits = try layout.take(UInt64(program.vocabulary) * tokens, 4)
    sampleHeap = try layout.take(UInt64(program.vocabulary) * tokens, 4)
    recent = try layout.take(UInt64(sizes.context) * tokens, 4)
    if let image = program.image {
      // Resampling borrows all that lies before the pixels.
      let working = layout.end.value - idle
      let needed = try ResampleLayout(image).size
      if needed > working { _ = try layout.take(needed - working, 1) }
      pixels = try layout.take(UInt64(sizes.outputs) * image.bytes, 1)
    } else {
      pixels = layout.end.value
    }
    end = layout.end.value
  }

  /// Numbers of the largest tile.
  private static func tileSize(
    _ program: Program, _ sizes: SessionSizes
  ) throws(CurtaError) -> UInt64 {
    var size = UInt64(tileRows)  // of a bias
    for i in 0..<program.opCount {
      let op = try program.op(i)
      guard op.code == .linearAdd || op.code == .logits else { continue }
      let sum = try program.buffer(op.operand(3))
      let most = op.code == .logits ? logitRows : tileRows
      size = max(size, UInt64(sizes.rows(sum.rows)) * UInt64(min(sum.width, most)))
    }
    return size
  }

  /// Bytes of the largest input of a product with overlays, turned; 0 where there are none.
  private static func turnedSize(
    _ program: Program, _ tensors: TensorTable, _ sizes: SessionSizes
  ) throws(CurtaError) -> UInt64 {
    var size: UInt64 = 0
    for i in 0..<program.opCount {
      let op = try program.op(i)
      guard op.code == .linear || op.code == .linearAdd || op.code == .logits else { continue }
      let input = try program.buffer(op.operand(1))
      let rows = sizes.rows(input.rows)
      let pairs = op.code == .linear ? Int(try op.operand(2)) : 1
      for pair in 0..<pairs {
        let tensor = try tensors[op.operand(op.code == .linear ? 3 + 2 * pair : 2)]
        guard tensor.outliers != nil || tensor.residual != nil, rows > 1 else { continue }
        let together = UInt64(CURTA_TURNED_TOKENS)
        let tiles = (UInt64(rows) + together - 1) / together
        let stride = (UInt64(input.width) + 63) & ~63
        size = max(size, try CheckedSize(tiles).times(stride).times(together).value)
      }
    }
    return size
  }
}
