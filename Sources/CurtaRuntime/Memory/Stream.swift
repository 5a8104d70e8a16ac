// Weights that steps bring anew, a group of ops at a time.
// SPDX-License-Identifier: Apache-2.0
//
// Decoding takes all threads, as products do: with both at once each would have half of them, and
// two groups would be in memory. What goes on while a group computes is the reading of the next.

import CCurta
import CurtaFormat

extension Loader {
  /// Brings all tensors of a plan, the kept ones to stay, and checks every value of all of them.
  ///
  /// The loader has placed the tokenizer; `staging` is idle memory up to the end of the arena.
  func loadAll(
    _ plan: Plan, to table: UnsafeMutablePointer<TensorEntry>
  ) throws(CurtaError) {
    let weights = plan.weights
    var batch = LoadBatch()
    var start = next.end.value
    for i in 0..<plan.tensors.count {
      let needs = try TensorNeeds(plan.tensors[i], file)
      let isStreamed = i >= weights.kept
      let isBeyond = isStreamed && start + batch.size + needs.arena > weights.windowEnd
      if i == weights.kept || isBeyond || batch.isFull {
        try load(&batch, start)
        start = isStreamed ? weights.window : start + batch.size
        batch.removeAll()
      }
      try batch.add(i, needs)
    }
    try load(&batch, start)

    func load(_ batch: inout LoadBatch, _ start: UInt64) throws(CurtaError) {
      try batch.load(
        self, plan.tensors, at: start, room: plan.total - plan.slots, to: table)
    }
  }
}

extension Session {
  /// Bytes of a tensor in the file below which nobody is told of it.
  private static let few: UInt64 = 1 << 14

  /// Brings the streamed weights of op `first` and of those after it; returns the first op that
  /// they do not serve. Throws what the decoder of a section makes of a file that was right once.
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
