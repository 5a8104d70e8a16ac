// Runs one op: chooses its loop and splits its work over threads.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

extension Session {
  /// Runs the current op over the current step.
  func run() {
    let op = state.pointee.op
    let tokens = state.pointee.count
    switch op.code {
    case .headQuant, .cacheAppend:
      placeRotations()
      dispatch(work: tokens > 1 ? Session.threadWork : 0)
    case .embed, .normQuant, .gateQuant, .select, .bias, .norm, .add, .addPosition, .quantize,
      .patchify, .prefix, .pool:
      dispatch(work: tokens > 1 ? Session.threadWork : 0)
    case .linear, .linearAdd, .logits:
      // At most 6 * 2^36: a section holds 2^36 codes of 2 bits, and what a mask of patterns or
      // columns makes of them is in memory.
      var products: Int64 = 0
      let pairs = op.code == .linear ? op[2] : 1
      for k in 0..<pairs {
        let weight = state.pointee.tensors[op.code == .linear ? op[3 + 2 * k] : op[2]].weight
        products += weight.products
      }
      let rows = state.pointee.rows(op[1])
      if turnsRows {
        state.pointee.op.pass = 1
        dispatch(work: Int64(rows) * Int64(state.pointee.buffers[op[1]].record.width))
        state.pointee.op.pass = 0
      }
      dispatch(work: products * Int64(rows))
    case .attend:
      let query = state.pointee.buffers[op[1]].record
      let isImage = state.pointee.program.image != nil
      let positions = isImage ? Int(state.pointee.sizes.context) : state.pointee.past + tokens
      dispatch(work: Int64(tokens) * Int64(positions) * Int64(query.width))
      state.pointee.op.pass = 1
      dispatch(work: tokens > 1 ? Session.threadWork : 0)
      state.pointee.op.pass = 0
    case .softCap:
      let sum = state.pointee.buffers[op[1]].record
      dispatch(work: Int64(state.pointee.rows(op[1])) * Int64(sum.width))
    }
  }

  /// Whether the current product reads several rows for overlays, which are turned in a pass before.
  var turnsRows: Bool {
    let op = state.pointee.op
    guard state.pointee.rows(op[1]) > 1 else { return false }
    let pairs = op.code == .linear ? op[2] : 1
    for k in 0..<pairs {
      let place = op.code == .linear ? op[3 + 2 * k] : op[2]
      if state.pointee.tensors[place].weight.hasOverlays { return true }
    }
    return false
  }

  /// Products below which waking the other threads costs more than it saves.
  static let threadWork: Int64 = 1 << 17

  /// Calls `part` for every share of the current op. The result does not depend on the split.
  private func dispatch(work: Int64) {
    let threads = state.pointee.sizes.threads
    guard threads > 1, work >= Session.threadWork, let parallel = state.pointee.options.parallel
    else {
      part(0, of: 1)
      return
    }
    parallel(
      state.pointee.options.parallel_context,
      { argument, part, parts in
        guard let argument else { return }
        Session(argument.assumingMemoryBound(to: SessionState.self))
          .part(Int(part), of: Int(parts))
      }, UnsafeMutableRawPointer(state),
      state.pointee.sizes.parts(whileDecoding: state.pointee.isDecodingAhead))
  }

  func part(_ part: Int, of parts: Int) {
    let work = OpWork(session: state, part: part, parts: parts)
    switch work.op.code {
    case .embed: work.embed()
    case .normQuant: work.normQuant()
    case .linear: if work.op.pass == 0 { work.linear() } else { work.turn() }
    case .linearAdd: if work.op.pass == 0 { work.linearAdd() } else { work.turn() }
    case .headQuant: work.headQuant()
    case .cacheAppend: work.cacheAppend()
    case .attend: if work.op.pass == 0 { work.attend() } else { work.attendQuantize() }
    case .gateQuant: work.gateQuant()
    case .select: work.select()
    case .logits: if work.op.pass == 0 { work.logits() } else { work.turn() }
    case .bias: work.bias()
    case .norm: work.norm()
    case .add: work.add()
    case .addPosition: work.addPosition()
    case .softCap: work.softCap()
    case .quantize: work.quantize()
    case .patchify: work.patchify()
    case .prefix: work.prefix()
    case .pool: work.pool()
    }
  }
}

/// One thread's share of an op. `Formats/curta-arithmetic.md` section 4 defines each op.
struct OpWork {
  let session: UnsafeMutablePointer<SessionState>
  let part: Int
  let parts: Int
  let scratch: ThreadScratch
  let op: CurrentOp
  let kernels: curta_kernels

  init(session: UnsafeMutablePointer<SessionState>, part: Int, parts: Int) {
    self.session = session
    self.part = part
    self.parts = parts
    scratch = session.pointee.threadScratch(part)
    op = session.pointee.op
    kernels = session.pointee.kernels.pointee
  }

  /// The buffer that operand `k` names.
  func buffer(_ k: Int) -> BufferEntry { session.pointee.buffers[op[k]] }
  func tensor(_ k: Int) -> TensorEntry { session.pointee.tensors[op[k]] }
  func state(_ k: Int) -> StateEntry { session.pointee.states[op[k]] }

  /// The scale of row `row` of a buffer of int32.
  func scale(_ numbers: BufferEntry, row: Int) -> curta_scale {
    numbers.record.type == .fixed
      ? curta_scale(m: 1 << 15, e: numbers.record.fraction + 15) : numbers.codes.scales[row]
  }

  /// This thread's share of the rows of the buffer that operand `k` names.
  func rows(_ k: Int) -> Range<Int> {
    SessionState.share(session.pointee.rows(op[k]), part, parts)
  }

  /// block(x) into `y`; returns the shift.
  func narrow(
    _ x: UnsafePointer<Int32>, _ n: Int, to y: UnsafeMutablePointer<Int16>
  ) -> Int32 {
    let s = max(0, Fixed.bits(UInt64(kernels.maxabs_i32(x, UInt32(n)))) - 15)
    kernels.narrow(x, UInt32(n), UInt32(s), y)
    return s
  }

  /// quantize of numbers whose block is in `y`, on the block's scale, after Hadamards of `block`
  /// numbers where it is not 0. Overwrites `y`, and `scratch.wide` when there are Hadamards.
  func spread(
    _ y: UnsafeMutablePointer<Int16>, _ n: Int, _ scale: curta_scale, hadamard block: Int,
    to q: UnsafeMutablePointer<Int8>
  ) -> curta_scale {
    OpWork.codeScale(kernels.spread(y, UInt32(n), UInt32(block), scratch.wide, q), scale)
  }

  /// The scale of codes of numbers on `scale`, by what the kernel that made them tells.
  static func codeScale(_ spread: UInt32, _ scale: curta_scale) -> curta_scale {
    let step = Fixed.multiply(Fixed.norm(UInt64(spread & 0xFFFF), 0), curta_scale(m: 33026, e: 22))
    return Fixed.multiply(
      step, curta_scale(m: scale.m, e: scale.e &- Int32(spread >> 16)))  // A / 127
  }

  /// spread(x, scale, hadamard) to a whole row of a buffer with one scale a row, and its block
  /// sums. Overwrites `scratch.wide`, which may be `x`, when there is a Hadamard.
  func quantizeRow(
    _ x: UnsafePointer<Int32>, _ scale: curta_scale, hadamard block: Int,
    to out: curta_codes, row: Int
  ) {
    let s = narrow(x, Int(out.width), to: scratch.narrowB)
    quantizeNarrowed(
      curta_scale(m: scale.m, e: scale.e &- s), hadamard: block, to: out, row: row)
  }

  /// `quantizeRow` of numbers whose block is in `scratch.narrowB`, on the block's scale.
  func quantizeNarrowed(
    _ scale: curta_scale, hadamard block: Int, to out: curta_codes, row: Int
  ) {
    let width = Int(out.width)
    let stride = Int(out.stride)
    let q = out.codes + row * stride
    out.scales[row] = spread(scratch.narrowB, width, scale, hadamard: block, to: q)
    for i in width..<stride { q[i] = 0 }
    kernels.block_sums(q, out.stride, out.sums + row * (stride / 32))
  }
}
