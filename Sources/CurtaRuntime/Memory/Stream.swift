// Weights that steps bring anew, a group of ops at a time.
// SPDX-License-Identifier: Apache-2.0
//
// With several threads the next group is decoded while one computes, by threads that have no part
// in computing, at the other end of the window; who computes helps when it comes to that group.
// With one thread both go on in turns; either way the file is read ahead of them.

import CCurta
import CurtaFormat

/// Consecutive ops whose streamed tensors are there together.
struct StreamGroup {
  /// The op after the last.
  private(set) var end: UInt32 = 0
  /// Their streamed tensors, with places from 0 on.
  var batch = LoadBatch()

  init() {}

  /// Becomes the group that begins with op `first`: as many ops as have `most` bytes of weights.
  mutating func fill(
    from first: UInt32, kept: UInt32, most: UInt64, _ program: Program, _ tensors: TensorTable,
    _ file: CurtaFile
  ) throws(CurtaError) {
    batch.removeAll()
    var weight: UInt64 = 0
    end = first
    while end < program.opCount {
      let op = try program.op(end)
      let operands = try op.tensorOperands
      let before = batch.end
      for k in 1..<16 where operands & (1 << UInt16(k)) != 0 {
        let tensor = try op.operand(k)
        guard tensor != Program.none, tensor >= kept, !batch.contains(tensor) else { continue }
        let needs = try TensorNeeds(tensors[tensor], file)
        weight = try CheckedSize(weight).plus(needs.weight).value
        if end > first, batch.isFull || weight > most { return batch.cut(to: before) }
        try batch.add(tensor, needs)
      }
      end += 1
    }
  }
}

extension Session {
  /// Bytes of a tensor in the file below which nobody is told of it.
  private static let few: UInt64 = 1 << 14

  /// Brings the streamed weights of op `first` and of those after it; returns the first op that
  /// they do not serve. Throws `badFrame` when a section is not decoded as it was at the start.
  func bringWeights(from first: UInt32) throws(CurtaError) -> UInt32 {
    let weights = state.pointee.weights
    let program = state.pointee.program
    guard weights.kept < state.pointee.descriptors.count else { return program.opCount }

    if state.pointee.isDecodingAhead {
      finishDecodingAhead()
      try state.pointee.group.batch.settle()
      for k in 0..<state.pointee.group.batch.count {
        let tensor = Int(state.pointee.group.batch[k])
        state.pointee.tensors[tensor] = state.pointee.tensorsAhead[tensor]
      }
    } else {
      try fillGroup(from: first)
      try state.pointee.group.batch.load(groupJob(to: state.pointee.tensors))
    }
    let end = state.pointee.group.end
    if weights.decodesAhead, end < program.opCount {
      state.pointee.isGroupHigh.toggle()
      try fillGroup(from: end)
      withUnsafeMutablePointer(to: &state.pointee.group.batch) {
        LoadBatch.begin($0, groupJob(to: state.pointee.tensorsAhead))
      }
      state.pointee.isDecodingAhead = true
    }
    try prefetch(from: state.pointee.group.end)
    return end
  }

  /// Waits until nothing is decoded ahead any more.
  func finishDecodingAhead() {
    guard state.pointee.isDecodingAhead else { return }
    let options = state.pointee.options
    options.finish?(options.parallel_context)
    state.pointee.isDecodingAhead = false
  }

  private func fillGroup(from first: UInt32) throws(CurtaError) {
    let weights = state.pointee.weights
    try state.pointee.group.fill(
      from: first, kept: weights.kept, most: weights.group, state.pointee.program,
      state.pointee.descriptors, state.pointee.file)
  }

  /// The group to its end of the window, its entries to `table`.
  private func groupJob(to table: UnsafeMutablePointer<TensorEntry>) -> LoadJob {
    let weights = state.pointee.weights
    let base = state.pointee.base
    let loader = Loader(
      file: state.pointee.file, base: base, staging: base + Int(weights.stepStaging),
      options: state.pointee.options, threads: state.pointee.sizes.threads, next: ArenaLayout())
    return LoadJob(
      loader: loader, all: state.pointee.descriptors,
      start: state.pointee.isGroupHigh
        ? weights.windowEnd - state.pointee.group.batch.size : weights.window,
      room: weights.stepStagingSize, table: table)
  }

  /// Tells the host that the weights of the group that begins with op `end` will be read soon, after
  /// the last op those of the first.
  private func prefetch(from end: UInt32) throws(CurtaError) {
    guard let prefetch = state.pointee.options.prefetch else { return }
    let weights = state.pointee.weights
    let file = state.pointee.file
    let program = state.pointee.program
    var next = StreamGroup()
    try next.fill(
      from: end < program.opCount ? end : 0, kept: weights.kept, most: weights.group, program,
      state.pointee.descriptors, file)
    for k in 0..<next.batch.count {
      let tensor = try state.pointee.descriptors[next.batch[k]]
      // Its sections follow each other.
      let first = try file.data(tensor.data)
      let last = try file.data(tensor.data + tensor.dataCount - 1)
      let size = last.offset + last.storedSize - first.offset
      guard size >= Session.few else { continue }
      prefetch(
        state.pointee.options.prefetch_context, file.bytes.base + Int(first.offset), Int(size))
    }
  }
}
