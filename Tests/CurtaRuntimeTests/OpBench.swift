// Runs single ops on buffers that a test fills, inside a real session.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaKernels
import CurtaTestSupport

@testable import CurtaFormat
@testable import CurtaRuntime

/// A session whose tables of buffers, tensors and states point to what the test gives.
final class OpBench {
  let session: TestSession
  let state: UnsafeMutablePointer<SessionState>
  private let buffers = UnsafeMutablePointer<BufferEntry>.allocate(capacity: 8)
  private let tensors = UnsafeMutablePointer<TensorEntry>.allocate(capacity: 8)
  private let states = UnsafeMutablePointer<StateEntry>.allocate(capacity: 8)
  private var memory: [UnsafeMutableRawPointer] = []

  /// A session with scratch for rows of `width` and heads of up to 256.
  init(_ kernels: UnsafePointer<curta_kernels>, width: Int) throws {
    let heads = (max(width, 1) + 255) / 256
    session = try TestSession(
      OpBench.model(heads: heads, headWidth: 256), Setup(chunk: 1, kernels: 1))
    state = UnsafeMutablePointer<SessionState>(session.pointer)
    state.pointee.kernels = kernels
    state.pointee.buffers = buffers
    state.pointee.tensors = tensors
    state.pointee.states = states
    state.pointee.count = 1
    state.pointee.outputs = 1
  }

  deinit {
    for piece in memory { piece.deallocate() }
    buffers.deallocate()
    tensors.deallocate()
    states.deallocate()
  }

  /// A Llama-like model of one layer with `heads` heads for queries and keys.
  static func model(heads: Int, headWidth: Int, context: UInt32 = 64) -> [UInt8] {
    var f = FileBuilder(context: context, vocabulary: 3, seed: 5)
    let width = heads * headWidth
    let x = f.buffer(1, width, fraction: 12)
    let a = f.buffer(3, width)
    let z = f.buffer(2, width)
    let q = f.buffer(3, width, scales: UInt32(heads))
    let o = f.buffer(3, width)
    let last = f.buffer(1, width, outputs: true, fraction: 12)
    let codes = f.buffer(3, width, outputs: true)
    f.output = f.buffer(1, 3, outputs: true, fraction: 16)
    let keys = f.state(heads: heads, width: headWidth)
    let gamma = f.wide(1, width)
    let table = f.wide(3, width)
    f.op(1, table, x)
    f.op(2, x, gamma, a, 1, 100, 0)
    let weight = f.ones(width)  // width is a multiple of 32
    f.op(3, a, 1, weight, z)
    let phases = f.phases(headWidth / 2)
    f.op(5, z, q, phases, 1, 0, FileBuilder.none)
    f.op(6, z, keys, phases, 1, 0, FileBuilder.none)
    f.op(7, q, keys, keys, o, 0, 40000, 16)
    f.op(9, x, last)
    f.op(2, last, gamma, codes, 1, 100, 0)
    f.op(10, codes, table, f.output)
    return f.build()
  }

  private func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
    let piece = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 64), alignment: 64)
    piece.initializeMemory(as: UInt8.self, repeating: 0x5A, count: max(bytes, 64))
    memory.append(piece)
    return piece
  }

  /// The share of one thread that has all the work.
  var work: OpWork { OpWork(session: state, part: 0, parts: 1) }

  // MARK: - What ops find

  /// A row of int32 on a scale: fixed where the scale is that of a fixed row.
  func numbers(_ i: Int, _ x: [Int32], _ scale: curta_scale) {
    if scale.m == 1 << 15, (15...45).contains(scale.e) {
      return fixed(i, x, fraction: scale.e - 15)
    }
    place(i, .scaled, width: x.count, scales: 1)
    fill(i, x)
    buffers[i].codes.scales[0] = scale
  }

  /// A row of fixed numbers.
  func fixed(_ i: Int, _ x: [Int32], fraction: Int32) {
    place(i, .fixed, width: x.count, scales: 0, fraction: fraction)
    fill(i, x)
  }

  private func fill(_ i: Int, _ x: [Int32]) {
    buffers[i].values = allocate(4 * x.count).assumingMemoryBound(to: Int32.self)
    buffers[i].values.update(from: x, count: x.count)
  }

  /// A row of codes with its scales.
  func codesBuffer(_ i: Int, _ q: [Int8], _ scales: [curta_scale]) {
    place(i, .codes8, width: q.count, scales: scales.count)
    buffers[i].codes.codes.update(from: q, count: q.count)
    for (k, scale) in scales.enumerated() { buffers[i].codes.scales[k] = scale }
  }

  /// An empty row of codes.
  func place(_ i: Int, _ type: BufferType, width: Int, scales: Int, fraction: Int32 = 0) {
    let stride = (width + 63) / 64 * 64
    let record = BufferRecord(
      type: type, rows: .tokens, width: UInt32(width), scales: UInt32(scales),
      fraction: fraction, slot: 0)
    let codes = allocate(stride)
    (buffers + i).initialize(
      to: BufferEntry(
        record: record, values: codes.assumingMemoryBound(to: Int32.self),
        codes: curta_codes(
          codes: codes.assumingMemoryBound(to: Int8.self),
          sums: allocate(stride / 16).assumingMemoryBound(to: Int16.self),
          scales: allocate(8 * scales).assumingMemoryBound(to: curta_scale.self),
          width: UInt32(width), stride: UInt32(stride), scales_per_row: UInt32(scales))))
  }

  func wideTensor(_ i: Int, _ codes: [Int16], _ mantissa: UInt16, _ exponent: Int32) {
    var entry = TensorEntry(weight: curta_weight(), words: nil)
    let memory = allocate(2 * codes.count).assumingMemoryBound(to: Int16.self)
    memory.update(from: codes, count: codes.count)
    let mantissas = allocate(2).assumingMemoryBound(to: UInt16.self)
    mantissas[0] = mantissa
    entry.weight.codes = UnsafeRawPointer(memory)
    entry.weight.mantissas = UnsafePointer(mantissas)
    entry.weight.exponent = exponent
    entry.weight.rows = 1
    entry.weight.columns = UInt32(codes.count)
    (tensors + i).initialize(to: entry)
  }

  func phases(_ i: Int, _ words: [UInt32]) {
    var entry = TensorEntry(weight: curta_weight(), words: nil)
    let memory = allocate(4 * words.count).assumingMemoryBound(to: UInt32.self)
    memory.update(from: words, count: words.count)
    entry.words = UnsafePointer(memory)
    entry.weight.columns = UInt32(words.count)
    (tensors + i).initialize(to: entry)
  }

  /// A cache; `codes` and `scales` are [positions][heads].
  func cache(
    _ i: Int, heads: Int, width: Int, _ codes: [Int8] = [], _ scales: [curta_scale] = []
  ) {
    let context = session.info.context
    let rows = heads * Int(context)
    (states + i).initialize(
      to: StateEntry(
        heads: heads, width: width,
        codes: allocate(rows * width).assumingMemoryBound(to: Int8.self),
        scales: allocate(8 * rows).assumingMemoryBound(to: curta_scale.self)))
    for j in 0..<scales.count / heads {
      for g in 0..<heads {
        let at = g * Int(context) + j
        states[i].scales[at] = scales[j * heads + g]
        for k in 0..<width {
          states[i].codes[at * width + k] = codes[(j * heads + g) * width + k]
        }
      }
    }
  }

  /// Runs one op at `position`; operands are indexes into what was placed.
  func run(_ code: OpCode, at position: Int = 0, _ operands: UInt32...) {
    state.pointee.past = position
    state.pointee.op.code = code
    for k in 1..<16 { state.pointee.op.operands[k] = k <= operands.count ? operands[k - 1] : 0 }
    state.pointee.rotations = nil
    Session(state).runSplit(1)
  }

  func values(_ i: Int) -> [Int32] {
    Array(UnsafeBufferPointer(start: buffers[i].values, count: Int(buffers[i].record.width)))
  }

  func codes(_ i: Int) -> [Int8] {
    Array(UnsafeBufferPointer(start: buffers[i].codes.codes, count: Int(buffers[i].record.width)))
  }

  func scales(_ i: Int) -> [curta_scale] {
    Array(
      UnsafeBufferPointer(start: buffers[i].codes.scales, count: Int(buffers[i].record.scales)))
  }

  /// Codes and scale of (`position`, `head`) of a cache.
  func cached(_ i: Int, _ position: Int, _ head: Int) -> ([Int8], curta_scale) {
    let at = head * Int(session.info.context) + position
    let width = states[i].width
    return (
      Array(UnsafeBufferPointer(start: states[i].codes + at * width, count: width)),
      states[i].scales[at]
    )
  }
}
