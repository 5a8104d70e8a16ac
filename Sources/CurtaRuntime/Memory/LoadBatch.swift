// Tensors that are brought to the arena together, by all threads.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

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

  // While it is brought
  private var job: LoadJob?
  /// Those with most to do first.
  private var order = InlineArray<64, UInt8>(repeating: 0)
  /// How many of them some thread has taken.
  private var taken: UInt32 = 0
  private var failed = InlineArray<64, Bool>(repeating: false)

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
}

/// Where a batch is brought, and with what.
struct LoadJob {
  var loader: Loader
  let all: TensorTable
  /// Of the batch, from the start of the loader's arena.
  let start: UInt64
  /// Bytes of staging there are.
  let room: UInt64
  /// Whose entries are filled.
  let table: UnsafeMutablePointer<TensorEntry>
}

extension LoadBatch {
  /// Brings all tensors, by as many threads of the loader as there is staging for. Throws what the
  /// first tensor that is wrong throws, whatever the threads.
  mutating func load(_ job: LoadJob) throws(CurtaError) {
    let parts = prepare(job)
    let options = job.loader.options
    withUnsafeMutablePointer(to: &self) {
      if parts > 1, let parallel = options.parallel {
        parallel(options.parallel_context, LoadBatch.part, UnsafeMutableRawPointer($0), parts)
      } else {
        LoadBatch.part($0, 0, 1)
      }
    }
    try settle()
  }

  /// Begins what `load` does, while other work goes on. The batch stays where it is until then.
  static func begin(_ batch: UnsafeMutablePointer<LoadBatch>, _ job: LoadJob) {
    let parts = batch.pointee.prepare(job)
    batch.pointee.job?.loader.threads = 1  // the others compute
    let options = job.loader.options
    options.begin?(
      options.parallel_context, LoadBatch.part, UnsafeMutableRawPointer(batch), parts)
  }

  /// Makes ready; returns how many threads may take part.
  @inline(never)
  private mutating func prepare(_ job: LoadJob) -> UInt32 {
    let able = staging > 0 ? job.room / staging : UInt64.max
    let parts = UInt32(clamping: min(able, UInt64(min(job.loader.threads, UInt32(count)))))
    self.job = job
    if parts > 1 { self.job?.loader.threads = 1 }
    taken = 0
    for k in 0..<count {
      failed[k] = false
      var place = k
      while place > 0, works[Int(order[place - 1])] < works[k] {
        order[place] = order[place - 1]
        place -= 1
      }
      order[place] = UInt8(truncatingIfNeeded: k)
    }
    return max(1, parts)
  }

  /// One thread's part: the next tensor that nobody took, until there is none.
  private static let part: curta_task_function = { batch, part, _ in
    guard let batch = batch?.assumingMemoryBound(to: LoadBatch.self),
      var loader = batch.pointee.job?.loader
    else { return }
    loader.staging += Int(part) * Int(batch.pointee.staging)
    while true {
      let next = Int(curta_take(&batch.pointee.taken))
      guard next < batch.pointee.count else { return }
      let k = Int(batch.pointee.order[next])
      do throws(CurtaError) { try bring(k, of: batch, &loader) } catch {
        batch.pointee.failed[k] = true
      }
    }
  }

  /// Brings one tensor and fills its entry. Nothing is copied: the stack is short.
  private static func bring(
    _ k: Int, of batch: UnsafeMutablePointer<LoadBatch>, _ loader: inout Loader
  ) throws(CurtaError) {
    guard let all = batch.pointee.job?.all, let table = batch.pointee.job?.table,
      let start = batch.pointee.job?.start
    else { return }
    let tensor = batch.pointee.tensors[k]
    loader.next.end = try CheckedSize(start).plus(batch.pointee.places[k])
    (table + Int(tensor)).initialize(to: try loader.tensor(all[tensor]))
  }

  /// When all threads are done: throws what the first tensor that is wrong throws.
  mutating func settle() throws(CurtaError) {
    for k in 0..<count where failed[k] { try bringAgain(k) }
  }

  @inline(never)
  private mutating func bringAgain(_ k: Int) throws(CurtaError) {
    guard var loader = job?.loader else { return }
    try withUnsafeMutablePointer(to: &self) { batch throws(CurtaError) in
      try LoadBatch.bring(k, of: batch, &loader)
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
        LoadJob(
          loader: self, all: plan.tensors, start: start, room: plan.total - plan.slots,
          table: table))
    }
  }
}
