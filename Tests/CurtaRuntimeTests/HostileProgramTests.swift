// Programs that are valid but that no converter makes, and programs that only look valid.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

@Suite struct HostileProgramTests {
  /// All rows of logits, one step on scalar kernels; equal for single steps on the best.
  func run(_ bytes: [UInt8], _ tokens: [Int32]) throws -> [Int32] {
    let n = UInt32(tokens.count)
    let whole = try TestSession(bytes, Setup(chunk: n, outputs: n, kernels: 1, fill: 0xA5))
    let expected = try whole.run(tokens, pieces: [tokens.count])
    let single = try TestSession(bytes, Setup(chunk: n, outputs: n, fill: 0x5A))
    #expect(try single.run(tokens, pieces: [1]) == expected)
    let mixed = try TestSession(bytes, Setup(chunk: n, outputs: n, fill: 0xFF))
    #expect(try mixed.run(tokens, pieces: [2, 1, 3]) == expected)
    return expected
  }

  /// embed, select, norm, linear, head_quant with one head on the output rows, logits whose weight
  /// has group offsets: needs the block sums of head_quant and the positions of the output rows.
  static func headQuantBeforeLogits() -> [UInt8] {
    var f = FileBuilder(context: 12, vocabulary: 9, seed: 41)
    let x = f.buffer(1, 40, fraction: 12)
    let last = f.buffer(1, 40, outputs: true, fraction: 12)
    let a = f.buffer(3, 40, outputs: true)
    let z = f.buffer(2, 40, outputs: true)
    let q = f.buffer(3, 40, outputs: true)
    f.output = f.buffer(1, 9, outputs: true, fraction: 16)
    let table = f.wide(9, 40)
    let gamma = f.wide(1, 40)
    let square = f.grid(40, 40, offsets: true)
    let head = f.grid(9, 40, offsets: true)
    let phases = f.phases(13)
    f.op(1, table, x)
    f.op(9, x, last)
    f.op(2, last, gamma, a, 1, 100, 0)
    f.op(3, a, 1, square, z)
    f.op(5, z, q, phases, 1, 0, FileBuilder.none)
    f.op(10, q, head, f.output)
    return f.build()
  }

  @Test func headQuantOfOutputRowsFeedsAProduct() throws {
    let tokens: [Int32] = [8, 0, 1, 1, 7, 3, 3, 3, 2, 5, 4, 6]
    let bytes = HostileProgramTests.headQuantBeforeLogits()
    if let path = ProcessInfo.processInfo.environment["CURTA_KEEP"] {
      try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
    let all = try run(bytes, tokens)
    // Of Formats/reference/curta_reference.py on the same bytes.
    #expect(
      hash(all)
        == "847b590e0bfd7b7057caa9e89ec81224836944f6992ed1c2951916c163852d97")
    // Fewer rows are the last of all rows.
    let session = try TestSession(bytes, Setup(chunk: 12, outputs: 2))
    try session.step(tokens, outputs: 2)
    #expect(session.logits(0)! + session.logits(1)! == Array(all.suffix(18)))
  }

  /// One layer where keys and values are the same state and the query has one scale.
  @Test func oneStateForKeysAndValues() throws {
    _ = try run(OpBench.model(heads: 1, headWidth: 64, context: 7), [0, 1, 2, 2, 1, 0, 1])
  }

  /// A model of enough work for the threads to be woken.
  @Test func threadsGiveTheSameBits() throws {
    let bytes = OpBench.model(heads: 2, headWidth: 256, context: 40)
    let tokens: [Int32] = (0..<40).map { $0 * $0 % 3 }
    func logits(_ threads: UInt32, _ runner: Runner, _ pieces: [Int]) throws -> [Int32] {
      let setup = Setup(chunk: 16, outputs: 16, threads: threads, runner: runner)
      return try TestSession(bytes, setup).run(tokens, pieces: pieces)
    }
    let expected = try logits(1, .forward, [16])
    for runner in Runner.allCases {
      for threads: UInt32 in [2, 3, 5] {
        #expect(try logits(threads, runner, [16, 1, 3]) == expected)
      }
    }
  }

  @Test func outputMustBeLeftByLogits() throws {
    var f = FileBuilder(context: 4, vocabulary: 8, seed: 2)
    let x = f.buffer(1, 8, fraction: 16)
    let last = f.buffer(1, 8, outputs: true, fraction: 16)
    let codes = f.buffer(3, 8, outputs: true)
    f.output = f.buffer(1, 8, outputs: true, fraction: 16)
    let table = f.wide(8, 8)
    let gamma = f.wide(1, 8)
    f.op(1, table, x)
    f.op(9, x, last)
    f.op(2, last, gamma, codes, 1, 0, 0)
    f.op(10, codes, table, f.output)
    _ = try run(f.build(), [1, 2, 3])
    f.op(9, x, f.output)  // select writes over the logits
    #expect(refusal(f.build()) == .badProgram)
    f.ops[4] = f.ops[3]
    f.ops[4][0] = 4  // linear_add adds to the logits in place
    #expect(refusal(f.build()) == .badProgram)
  }

  func refusal(_ bytes: [UInt8]) -> Status? {
    let outcome = attempt(bytes, Setup(), tokens: [0], pieces: [1])
    if case .refused(let status) = outcome { return status }
    return nil
  }

  @Test func unknownOptionalSectionsOfAnyKind() throws {
    var parts = try #require(FileParts(ValidVector.named("tiny").bytes))
    let optional = FileParts.Section(
      kind: 0, index: 0, codec: 1, flags: 0, size: 9, stored: [1, 2, 3])
    parts.sections.insert(optional, at: 0)
    #expect(refusal(parts.assemble()) == nil)
    parts.sections.insert(optional, at: 0)
    #expect(refusal(parts.assemble()) == .duplicate)
    parts.sections[1].kind = 6
    parts.sections.append(parts.sections.remove(at: 1))
    #expect(refusal(parts.assemble()) == nil)
    var flipped = parts.assemble()
    flipped[flipped.count - 1] ^= 1
    #expect(refusal(flipped) == .badChecksum)
  }

  /// Largest declared sizes: the plan is a number or a status, at once and without memory.
  @Test func hugePlans() throws {
    for (context, heads, width) in [(1 << 20, 1024, 256), (1 << 20, 1, 256), (1, 1024, 1)] {
      var parts = try #require(FileParts(OpBench.model(heads: 4, headWidth: 64)))
      let program = try #require(parts.index(ofKind: 4))
      parts.sections[program].stored.put(16, 4, UInt64(context))
      let file = GuardedBytes(parts.assemble())
      let started = Date()
      let info = try plan(file, Setup(chunk: UInt32(context), outputs: UInt32(context)))
      #expect(info.arena_bytes >= UInt64(context) * 4 * 64)
      #expect(info.state_bytes >= UInt64(context) * 4 * 72)
      // And with a state that does not fit its rows: refused.
      let state = 32 + 32 * Int(parts.sections[program].stored.number(0, 4))
      parts.sections[program].stored.put(state + 4, 4, UInt64(heads))
      parts.sections[program].stored.put(state + 8, 4, UInt64(width))
      #expect(throws: StatusError.self) { _ = try plan(GuardedBytes(parts.assemble()), Setup()) }
      #expect(Date().timeIntervalSince(started) < 1)
    }
  }

  /// The longest program over the most tensors is checked in a moment.
  @Test func longestProgram() throws {
    var f = FileBuilder(context: 4, vocabulary: 8, seed: 2)
    let x = f.buffer(1, 8, fraction: 16)
    let last = f.buffer(1, 8, outputs: true, fraction: 16)
    let codes = f.buffer(3, 8, outputs: true)
    f.output = f.buffer(1, 8, outputs: true, fraction: 16)
    let table = f.wide(8, 8)
    let gamma = f.wide(1, 8)
    f.tensors[0].name = String(repeating: "n", count: 255)
    for _ in 0..<65_532 { f.op(1, table, x) }
    f.op(9, x, last)
    f.op(2, last, gamma, codes, 1, 0, 0)
    f.op(10, codes, table, f.output)
    f.op(10, codes, table, f.output)
    let file = GuardedBytes(f.build())
    let started = Date()
    let session = try TestSession(file, Setup())
    try session.step([1])
    let seconds = Date().timeIntervalSince(started)
    print("65 536 ops: \(seconds) s to plan, load and step")
    #expect(seconds < 20)
    f.op(10, codes, table, f.output)
    #expect(refusal(f.build()) == .overLimit)
  }
}
