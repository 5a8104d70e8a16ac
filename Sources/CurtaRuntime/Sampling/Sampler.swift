// Chooses the next token from integer logits: curta-arithmetic.md sections 5 and 6.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

extension Session {
  /// Starts the random numbers anew (splitmix64 of the seed).
  public func seed(_ seed: UInt64) {
    var z = seed &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    state.pointee.random = z == 0 ? 1 : z
  }

  /// xorshift64*.
  private func nextRandom() -> UInt64 {
    var x = state.pointee.random
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state.pointee.random = x
    return x &* 0x2545_F491_4F6C_DD1D
  }

  /// A token drawn from the last row of logits. Throws `badArgument` when no step has made any, `unsupported`
  /// for a program of images.
  public func sample(_ sampling: curta_sampling) throws(CurtaError) -> Int32 {
    guard state.pointee.program.image == nil else { throw CurtaError(.unsupported) }
    guard let source = logits(state.pointee.outputsMade - 1) else { throw CurtaError(.badArgument) }
    let logits = state.pointee.shared(state.pointee.scratch.sampleLogits, Int32.self)
    let heap = state.pointee.shared(state.pointee.scratch.sampleHeap, UInt32.self)
    logits.update(from: source, count: vocabulary)
    penalize(logits, marks: heap, sampling)

    var best = 0
    for i in 1..<max(vocabulary, 1) where logits[i] > logits[best] { best = i }
    guard sampling.temperature > 0 else { return Int32(best) }
    return draw(
      Candidates(logits: logits, heap: heap, count: vocabulary, best: best, sampling),
      sampling)
  }

  /// Makes the distinct recent tokens less likely. `marks` is [vocabulary].
  private func penalize(
    _ logits: UnsafeMutablePointer<Int32>, marks: UnsafeMutablePointer<UInt32>,
    _ sampling: curta_sampling
  ) {
    let penalty = Int64(sampling.repetition_penalty)
    guard penalty != 0, penalty != 1 << 14 else { return }
    let recent = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    marks.update(repeating: 0, count: vocabulary)
    let window = min(past, Int(clamping: sampling.penalty_window))
    for j in (past - window)..<past {
      let id = Int(recent[j])
      guard marks[id] == 0 else { continue }
      marks[id] = 1
      let l = Int64(logits[id])
      logits[id] = Fixed.clamp32(
        l > 0 ? ((l << 14) + penalty / 2) / penalty : Fixed.round(l * penalty, 14))
    }
  }

  private func draw(_ candidates: Candidates, _ sampling: curta_sampling) -> Int32 {
    var candidates = candidates
    let kept = candidates.filter(sampling)
    var left = nextRandom().multipliedFullWidth(by: kept.total).high
    for i in 0..<vocabulary where candidates.isKept(i, kept) {
      let w = candidates.weight(i)
      if left < w { return Int32(i) }
      left -= w
    }
    return Int32(candidates.best)  // not reached: the weights add up to kept.total
  }
}

/// The tokens that may be drawn, ordered by logit, largest first, then by id, smallest first.
private struct Candidates {
  let logits: UnsafeMutablePointer<Int32>  // [count]
  /// A binary heap of ids, the first candidate on top; what was taken lies behind it, last first.
  let heap: UnsafeMutablePointer<UInt32>  // [count]
  let count: Int
  let best: Int
  /// log2(e) / temperature in units of 2^-14.
  let factor: UInt64
  private var heapCount = 0

  /// The last kept candidate and the sum of the kept weights.
  struct Kept {
    var last: Int
    var total: UInt64
  }

  init(
    logits: UnsafeMutablePointer<Int32>, heap: UnsafeMutablePointer<UInt32>, count: Int, best: Int,
    _ sampling: curta_sampling
  ) {
    self.logits = logits
    self.heap = heap
    self.count = count
    self.best = best
    let temperature = UInt64(sampling.temperature)
    factor = (1_549_082_005 + temperature / 2) / temperature
  }

  /// exp30 of the distance to the best logit.
  func weight(_ i: Int) -> UInt64 {
    let distance = UInt64(Int64(logits[best]) - Int64(logits[i]))  // below 2^32; factor below 2^31
    let d = (distance * factor + (1 << 13)) >> 14
    return Fixed.exp30(UInt32(min(d, 40 << 16)))
  }

  private func precedes(_ a: Int, _ b: Int) -> Bool {
    logits[a] != logits[b] ? logits[a] > logits[b] : a < b
  }

  func isKept(_ i: Int, _ kept: Kept) -> Bool { kept.last < 0 || !precedes(kept.last, i) }

  /// Applies top_k, then min_p, then top_p.
  mutating func filter(_ sampling: curta_sampling) -> Kept {
    let topK = sampling.top_k == 0 ? count : min(Int(clamping: sampling.top_k), count)
    let topP = sampling.top_p >= 1 << 16 ? 0 : UInt64(sampling.top_p)
    let least = UInt64(sampling.min_p) << 14
    var kept = Kept(last: -1, total: 0)
    if topK == count, least == 0 {
      for i in 0..<count { kept.total += weight(i) }
      guard topP > 0 else { return kept }
    }
    makeHeap()
    var taken = 0
    if topK < count || least > 0 {
      while taken < topK, heapCount > 0 {
        let top = Int(heap[0])
        guard taken == 0 || weight(top) >= least else { break }
        kept.total += weight(top)
        kept.last = top
        takeTop()
        taken += 1
      }
      guard topP > 0 else { return kept }
    } else {
      taken = count
    }
    // total * top_p / 2^16 without overflow.
    let need = max(1, (kept.total >> 16) * topP + ((kept.total & 0xFFFF) * topP) >> 16)
    kept.total = 0
    for i in 0..<taken {
      if topK == count, least == 0 {
        kept.last = Int(heap[0])
        takeTop()
      } else {
        kept.last = Int(heap[count - 1 - i])  // in the order in which they were taken
      }
      kept.total += weight(kept.last)
      if kept.total >= need { break }
    }
    return kept
  }

  private mutating func makeHeap() {
    heapCount = count
    for i in 0..<count { heap[i] = UInt32(truncatingIfNeeded: i) }
    var i = count / 2
    while i > 0 {
      i -= 1
      sink(i)
    }
  }

  /// Moves the top behind the heap.
  private mutating func takeTop() {
    heapCount -= 1
    let top = heap[0]
    heap[0] = heap[heapCount]
    heap[heapCount] = top
    sink(0)
  }

  private func sink(_ start: Int) {
    var i = start
    while true {
      var first = i
      for child in (2 * i + 1)...(2 * i + 2)
      where child < heapCount && precedes(Int(heap[child]), Int(heap[first])) {
        first = child
      }
      if first == i { return }
      let moved = heap[i]
      heap[i] = heap[first]
      heap[first] = moved
      i = first
    }
  }
}
