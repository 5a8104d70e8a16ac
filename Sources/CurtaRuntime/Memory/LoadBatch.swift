// Tensors that are brought to the arena together, by all threads.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat

/// Up to 64 tensors and their places, one after the other.
struct LoadBatch {
  static let most = 64

  private(set) var count = 0
  /// Bytes from the start of the batch to its end.
  private(set) var size: UInt64 = 0
  /// What each takes while it is brought, at most: a multiple of 64.
  private(set) var staging: UInt64 = 0
  private var tensors = InlineArray<64, UInt32>(repeating: 0)
  /// From the start of the batch.
  private var places = InlineArray<64, UInt64>(repeating: 0)
  /// How much there is to do for each, in units of 64 bytes.
  private var works = InlineArray<64, UInt32>(repeating: 0)
  /// The thread that brings each, or `failed`.
  private var owners = InlineArray<64, UInt8>(repeating: 0)

  private static let failed: UInt8 = 255

  init() {}

  var isFull: Bool { count == LoadBatch.most }

  subscript(k: Int) -> UInt32 { tensors[k] }

  func contains(_ tensor: UInt32) -> Bool {
    for k in 0..<count where tensors[k] == tensor { return true }
    return false
  }

  mutating func removeAll() { cut(to: (0, 0, 0)) }

  /// How many tensors there are and what they take.
  var end: (count: Int, size: UInt64, staging: UInt64) { (count, size, staging) }

  /// Leaves out what was added since that was the end.
  mutating func cut(to end: (count: Int, size: UInt64, staging: UInt64)) {
    (count, size, staging) = end
  }

  /// Bytes of staging with which `threads` threads have work.
  func stagingSize(threads: UInt32) throws(CurtaError) -> UInt64 {
    try CheckedSize(staging).times(UInt64(min(threads, UInt32(count)))).value
  }

  /// Adds a tensor behind the others, when there is room for one more.
  mutating func add(_ tensor: UInt32, _ needs: TensorNeeds) throws(CurtaError) {
    tensors[count] = tensor
    places[count] = size
    works[count] = UInt32(clamping: needs.weight / alignment)
    size = try CheckedSize(size).plus(needs.arena).value
    staging = max(staging, needs.staging)
    count += 1
  }

  /// Gives each tensor to a thread: the largest first, to who has least.
  private mutating func share(_ threads: Int) {
    var loads = InlineArray<64, UInt64>(repeating: 0)
    var left = count == 64 ? UInt64.max : (1 &<< UInt64(count)) &- 1
    while left != 0 {
      var largest = left.trailingZeroBitCount
      for k in largest..<count where left & (1 &<< UInt64(k)) != 0 && works[k] > works[largest] {
        largest = k
      }
      var least = 0
      for thread in 1..<threads where loads[thread] < loads[least] { least = thread }
      loads[least] += UInt64(works[largest]) + 1
      owners[largest] = UInt8(truncatingIfNeeded: least)
      left &= ~(1 &<< UInt64(largest))
    }
  }

  /// Brings all of them to `start` of the loader's arena and fills their entries of `table`.
  ///
  /// There are `room` bytes of staging: with enough for several of the loader's threads, these
  /// share the tensors. Throws what the first tensor that is wrong throws, whatever the threads.
  mutating func load(
    _ loader: Loader, _ all: TensorTable, at start: UInt64, room: UInt64,
    to table: UnsafeMutablePointer<TensorEntry>
  ) throws(CurtaError) {
    var loader = loader
    let start = try CheckedSize(start)
    let able = staging > 0 ? room / staging : UInt64.max
    let parts = UInt32(clamping: min(able, UInt64(min(loader.threads, UInt32(count)))))
    guard parts > 1, let parallel = loader.options.parallel else {
      for k in 0..<count {
        loader.next.end = try start.plus(places[k])
        (table + Int(tensors[k])).initialize(to: try loader.tensor(all[tensors[k]]))
      }
      return
    }
    share(Int(parts))
    let context = loader.options.parallel_context
    withUnsafeMutablePointer(to: &self) { batch in
      var job = BatchJob(
        batch: batch, loader: loader, all: all, start: start, table: table)
      job.loader.threads = 1
      withUnsafeMutablePointer(to: &job) {
        parallel(
          context,
          { argument, part, _ in
            guard let argument else { return }
            argument.assumingMemoryBound(to: BatchJob.self).pointee.part(Int(part))
          }, UnsafeMutableRawPointer($0), parts)
      }
    }
    for k in 0..<count where owners[k] == LoadBatch.failed {
      loader.next.end = try start.plus(places[k])
      (table + Int(tensors[k])).initialize(to: try loader.tensor(all[tensors[k]]))
    }
  }

  /// What the threads are told.
  private struct BatchJob {
    let batch: UnsafeMutablePointer<LoadBatch>
    var loader: Loader
    let all: TensorTable
    let start: CheckedSize
    let table: UnsafeMutablePointer<TensorEntry>

    /// Brings the tensors of thread `part`.
    func part(_ part: Int) {
      var loader = loader
      loader.staging += part * Int(batch.pointee.staging)
      for k in 0..<batch.pointee.count where batch.pointee.owners[k] == part {
        let tensor = batch.pointee.tensors[k]
        do throws(CurtaError) {
          loader.next.end = try start.plus(batch.pointee.places[k])
          (table + Int(tensor)).initialize(to: try loader.tensor(all[tensor]))
        } catch {
          batch.pointee.owners[k] = LoadBatch.failed
        }
      }
    }
  }
}

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
