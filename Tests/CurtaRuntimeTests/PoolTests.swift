// The pool of threads: every part once, and no thread holds up the others.
// SPDX-License-Identifier: Apache-2.0

import CurtaPlatform
import CurtaTestSupport
import Synchronization
import Testing

/// Counts how often each part was run.
private final class Counts: Sendable {
  static let most = 150
  let runs: [Counter] = (0..<most).map { _ in Counter() }
  /// Steps that every part takes.
  let steps: Int

  final class Counter: Sendable { let value = Atomic(0) }

  init(steps: Int) { self.steps = steps }

  var pointer: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  /// Whether the first `parts` parts were run `times` times, and no other.
  func are(_ times: Int, _ parts: UInt32) -> Bool {
    runs.enumerated().allSatisfy { $1.value.load(ordering: .relaxed) == ($0 < parts ? times : 0) }
  }

  static let task: @convention(c) (UnsafeMutableRawPointer?, UInt32, UInt32) -> Void = {
    counts, part, _ in
    let counts = Unmanaged<Counts>.fromOpaque(counts!).takeUnretainedValue()
    let counter = counts.runs[Int(part)]
    for _ in 0..<counts.steps { _ = counter.value.load(ordering: .sequentiallyConsistent) }
    counter.value.add(1, ordering: .relaxed)
  }
}

/// A task that says when it runs and goes on until it may end.
private final class Gate: Sendable {
  let isRunning = Atomic(false)
  let mayEnd = Atomic(false)

  static let task: @convention(c) (UnsafeMutableRawPointer?, UInt32, UInt32) -> Void = {
    gate, _, _ in
    let gate = Unmanaged<Gate>.fromOpaque(gate!).takeUnretainedValue()
    gate.isRunning.store(true, ordering: .releasing)
    while !gate.mayEnd.load(ordering: .acquiring) {}
  }
}

@Suite struct PoolTests {
  @Test func everyPartIsRunOnce() throws {
    var random = SeededRandom.announced("PoolTests")
    for threads: UInt32 in 1...5 {
      let pool = try #require(curta_pool_create(threads))
      defer { curta_pool_destroy(pool) }
      let context = UnsafeMutableRawPointer(pool)
      for _ in 0..<300 {
        let rounds = Int.random(in: 0...4, using: &random)
        let parts = UInt32.random(in: 0...UInt32(Counts.most), using: &random) / 7
        let begun = UInt32.random(in: 0...9, using: &random)
        let isBegun = Bool.random(using: &random)
        let counts = Counts(steps: .random(in: 0...200, using: &random))
        let ahead = Counts(steps: .random(in: 0...900, using: &random))
        if isBegun { curta_pool_begin(context, Counts.task, ahead.pointer, begun) }
        for _ in 0..<rounds { curta_pool_run(context, Counts.task, counts.pointer, parts) }
        if isBegun { curta_pool_finish(context) }
        #expect(counts.are(rounds, parts), "\(threads) threads")
        #expect(ahead.are(isBegun ? 1 : 0, begun), "\(threads) threads")
      }
    }
  }

  /// Rounds end while all other threads are busy with what was begun.
  @Test func whatWasBegunHoldsUpNoRound() throws {
    let pool = try #require(curta_pool_create(3))
    defer { curta_pool_destroy(pool) }
    let context = UnsafeMutableRawPointer(pool)
    let gate = Gate()
    curta_pool_begin(context, Gate.task, Unmanaged.passUnretained(gate).toOpaque(), 2)
    while !gate.isRunning.load(ordering: .acquiring) {}
    let counts = Counts(steps: 10)
    for _ in 0..<100 { curta_pool_run(context, Counts.task, counts.pointer, 7) }
    #expect(counts.are(100, 7))
    gate.mayEnd.store(true, ordering: .releasing)
    curta_pool_finish(context)
  }
}
