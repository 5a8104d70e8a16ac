// Every file of Formats/vectors: right bits from the valid ones, the right status from the others.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct ValidVectorTests {
  @Test func thereAreVectors() {
    #expect(ValidVector.all.count >= 10)
    #expect(InvalidVector.all.count >= 100)
  }

  @Test(arguments: ValidVector.all)
  func logitsAreTheReferences(_ vector: ValidVector) throws {
    let all = vector.tokens.count
    let file = GuardedBytes(vector.bytes)
    for kernels: UInt32 in [1, 0] {
      for chunk in [1, 3, all] {
        for threads: UInt32 in 1...3 {
          for runner in threads == 1 ? [Runner.forward] : Runner.allCases {
            let setup = Setup(
              chunk: UInt32(chunk), outputs: UInt32(chunk), threads: threads, kernels: kernels,
              runner: runner)
            let session = try TestSession(file, setup)
            let logits = try session.run(vector.tokens, pieces: [chunk])
            #expect(hash(logits) == vector.logitsHash, "\(setup)")
            #expect(String(session.info.identity, radix: 16) == vector.identity.trimmingZeros)
            #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
          }
        }
      }
    }
  }

  /// Small models never reach the work from which threads are woken; this runs every part of
  /// every op apart, whatever its size.
  @Test(arguments: ValidVector.all)
  func everyOpMayBeSplit(_ vector: ValidVector) throws {
    for parts in [2, 3, 7] {
      let setup = Setup(
        chunk: 5, outputs: 5, threads: UInt32(parts), kernels: 1, runner: .forward)
      let session = try TestSession(vector.bytes, setup)
      let whole = try TestSession(vector.bytes, Setup(chunk: 5, outputs: 5, kernels: 1))
      for start in stride(from: 0, to: vector.tokens.count, by: 5) {
        let piece = Array(vector.tokens[start..<min(start + 5, vector.tokens.count)])
        try whole.step(piece, outputs: piece.count)
        splitStep(session, piece, parts: parts)
        for row in 0..<piece.count { #expect(session.logits(row) == whole.logits(row)) }
      }
    }
  }

  /// `Session.step` with every op run as `parts` parts, backwards.
  private func splitStep(_ session: TestSession, _ tokens: [Int32], parts: Int) {
    let state = UnsafeMutablePointer<SessionState>(session.pointer)
    tokens.withUnsafeBufferPointer {
      state.pointee.tokens = $0.baseAddress!
      state.pointee.count = tokens.count
      state.pointee.outputs = tokens.count
      state.pointee.rotations = nil
      for i in 0..<state.pointee.program.opCount {
        let record = try! state.pointee.program.op(i)
        state.pointee.op.code = record.code
        for k in 1..<16 { state.pointee.op.operands[k] = try! record.operand(k) }
        Session(state).runSplit(parts)
      }
    }
    state.pointee.past += tokens.count
    state.pointee.outputsMade = tokens.count
  }
}

@Suite struct InvalidVectorTests {
  @Test(arguments: InvalidVector.all)
  func statusIsTheReferences(_ vector: InvalidVector) throws {
    let file = GuardedBytes(vector.bytes)
    for fill: UInt8 in [0xA5, 0x5A] {
      do {
        _ = try TestSession(file, Setup(fill: fill))
        Issue.record("accepted")
      } catch let error as StatusError {
        #expect(error.status == Status.named(vector.status))
      }
    }
  }

  /// A plan that fails says where, and leaves its other fields zero.
  @Test func planSaysWhere() throws {
    for vector in InvalidVector.all {
      let file = GuardedBytes(vector.bytes)
      var info = curta_plan_info()
      info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
      info.arena_bytes = 77
      guard curta_plan(file.base, file.count, nil, &info) != 0 else { continue }
      #expect(info.arena_bytes == 0 && info.vocabulary == 0 && info.error_section <= 5)
      #expect(info.error_offset <= UInt64(max(vector.bytes.count, 1 << 16)), "\(vector.name)")
    }
  }
}

extension Status {
  /// The case that `registry.tsv` calls `name`.
  static func named(_ name: String) -> Status? {
    let words = name.split(separator: "_")
    let swift = words.first.map { first in
      words.dropFirst().reduce(String(first)) { $0 + $1.prefix(1).uppercased() + $1.dropFirst() }
    }
    return (0...64).compactMap { Status(rawValue: $0) }.first { "\($0)" == swift }
  }
}

extension String {
  fileprivate var trimmingZeros: String {
    let rest = drop { $0 == "0" }
    return rest.isEmpty ? "0" : String(rest)
  }
}
