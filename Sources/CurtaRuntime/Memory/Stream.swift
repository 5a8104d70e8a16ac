// Weights that steps bring anew, a group of ops at a time.
// SPDX-License-Identifier: Apache-2.0
//
// Decoding takes all threads, as products do: with both at once each would have half of them, and
// two groups would be in memory. What goes on while a group computes is the reading of the next.
// Both at once could gain what is idle: of two threads with 1.1 billion weights in zstd, 5 % in a
// prompt of 512 tokens, 10 of 128, 18 one token at a time.

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
    let file = state.pointee.file
    let all = state.pointee.descriptors
    let program = state.pointee.program
    let options = state.pointee.options
    guard weights.kept < all.count else { return program.opCount }

    try state.pointee.group.fill(
      from: first, kept: weights.kept, most: weights.group, program, all, file)
    let end = state.pointee.group.end
    let base = state.pointee.base
    let loader = Loader(
      file: file, base: base, staging: base + Int(weights.stepStaging), options: options,
      threads: state.pointee.sizes.threads, next: ArenaLayout())
    try state.pointee.group.batch.load(
      loader, all, at: weights.window, room: weights.stepStagingSize, to: state.pointee.tensors)
    if options.prefetch != nil {
      var ahead = StreamGroup()
      try ahead.fill(
        from: end < program.opCount ? end : 0, kept: weights.kept, most: weights.group, program,
        all, file)
      try prefetch(ahead.batch)
    }
    return end
  }

  /// Tells the host that the tensors of a batch will be read soon.
  private func prefetch(_ batch: LoadBatch) throws(CurtaError) {
    guard let prefetch = state.pointee.options.prefetch else { return }
    let file = state.pointee.file
    for k in 0..<batch.count {
      let tensor = try state.pointee.descriptors[batch[k]]
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
