// What calls say to arguments that are out of range, and that they then change nothing.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct ArgumentTests {
  private let vector = ValidVector.named("tiny")

  private func status(_ code: curta_status) -> Status? { Status(rawValue: code) }

  private func failure(_ body: () throws -> Void) -> Status {
    do {
      try body()
      return .ok
    } catch { return (error as! StatusError).status }
  }

  @Test func versionAndDefaults() {
    #expect(curta_version() == 100)
    let options = curta_default_options()
    #expect(options.struct_size == UInt32(MemoryLayout<curta_options>.size))
    #expect(options.context == 0 && options.threads == 0 && options.parallel == nil)
  }

  @Test func planArguments() {
    let file = GuardedBytes(vector.bytes)
    var info = curta_plan_info()
    #expect(status(curta_plan(file.base, file.count, nil, &info)) == .badArgument)
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    #expect(status(curta_plan(file.base, file.count, nil, &info)) == .ok)
    #expect(status(curta_plan(nil, file.count, nil, &info)) == .badArgument)
    #expect(status(curta_plan(nil, 0, nil, &info)) == .badArgument)
    #expect(status(curta_plan(file.base, file.count, nil, nil)) == .badArgument)
    #expect(status(curta_plan(file.base, -1, nil, &info)) == .badArgument)
    #expect(status(curta_plan(file.base, 0, nil, &info)) == .truncated)
    for wrong: UInt32 in [0, 4, 96, 103, 105, UInt32.max] {
      info.struct_size = wrong
      #expect(status(curta_plan(file.base, file.count, nil, &info)) == .badArgument)
      #expect(info.struct_size == wrong)
    }
  }

  @Test func planParts() throws {
    for vector in ValidVector.all {
      let info = try plan(GuardedBytes(vector.bytes), Setup(threads: 3))
      let parts = info.session_bytes + info.weight_bytes + info.buffer_bytes + info.state_bytes
      #expect(parts + info.scratch_bytes == info.arena_bytes && info.arena_bytes % 64 == 0)
      #expect(info.chunk == min(128, info.context) && info.outputs == 1 && info.threads == 3)
    }
  }

  /// All checks fit in what the plan says they take, which no whole session fits in.
  @Test func checkTakesItsPart() throws {
    for vector in ValidVector.all {
      let file = GuardedBytes(vector.bytes)
      var options = Setup().options
      let info = try plan(file, Setup())
      #expect(info.check_bytes < info.arena_bytes || info.weight_bytes == 0, "\(vector.name)")
      let memory = GuardedBytes(count: Int(info.check_bytes), fill: 0xA5)
      func checked(_ size: Int) -> Status? {
        status(curta_check(file.base, file.count, &options, memory.base, size))
      }
      #expect(checked(memory.count) == .ok, "\(vector.name)")
      #expect(memory.canariesAreWhole && file.canariesAreWhole)
      #expect(checked(memory.count - 1) == .arenaTooSmall)
      #expect(status(curta_check(file.base, file.count, &options, nil, 0)) == .badArgument)
    }
  }

  @Test func optionSizes() throws {
    let file = GuardedBytes(vector.bytes)
    var options = curta_default_options()
    options.context = 5
    func context(_ size: UInt32) -> UInt32? {
      var info = curta_plan_info()
      info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
      options.struct_size = size
      return curta_plan(file.base, file.count, &options, &info) == 0 ? info.context : nil
    }
    #expect(
      context(96) == 5 && context(80) == 5 && context(56) == 5 && context(48) == 5
        && context(8) == 5)
    // Too small, larger than the struct, or with an end inside a pointer.
    for wrong: UInt32 in [0, 1, 4, 7, 26, 28, 30, 52, 57, 76, 92, 104, 1 << 31, UInt32.max] {
      #expect(context(wrong) == nil, "\(wrong)")
    }
  }

  @Test func optionRanges() throws {
    let file = GuardedBytes(vector.bytes)
    let full = try plan(file, Setup()).context
    func planned(_ setup: Setup) -> Status { failure { _ = try plan(file, setup) } }
    #expect(planned(Setup(context: full)) == .ok)
    #expect(planned(Setup(context: full + 1)) == .badArgument)
    #expect(planned(Setup(context: UInt32.max)) == .badArgument)
    #expect(planned(Setup(context: 4, chunk: 5)) == .badArgument)
    #expect(planned(Setup(chunk: 4, outputs: 5)) == .badArgument)
    #expect(planned(Setup(chunk: full, outputs: full)) == .ok)
    #expect(planned(Setup(threads: 256)) == .ok)
    #expect(planned(Setup(threads: 257)) == .badArgument)
    var options = curta_default_options()
    options.threads = 2  // and no `parallel`
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    #expect(status(curta_plan(file.base, file.count, &options, &info)) == .badArgument)
    for kernels in [curta_kernels_count() + 1, 99, UInt32.max] {
      #expect(failure { _ = try TestSession(file, Setup(kernels: kernels)) } == .unsupported)
    }
  }

  @Test func addressesMustBeAligned() throws {
    let bytes = vector.bytes
    let memory = GuardedBytes(count: bytes.count + 64)
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    var session: OpaquePointer? = nil
    let file = GuardedBytes(bytes)
    let needed = Int(try plan(file, Setup()).arena_bytes)
    let arena = GuardedBytes(count: needed + 64)
    for shift in [1, 2, 4, 8, 16, 32] {
      let moved = memory.base + shift
      bytes.withUnsafeBytes { moved.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
      #expect(status(curta_plan(moved, bytes.count, nil, &info)) == .unaligned)
      let first = curta_session_init(moved, bytes.count, nil, arena.base, needed, &session)
      let second = curta_session_init(
        file.base, bytes.count, nil, arena.base + shift, needed, &session)
      #expect(status(first) == .unaligned && status(second) == .unaligned && session == nil)
    }
  }

  @Test func theArenaIsAsPlannedToTheByte() throws {
    for vector in ValidVector.all {
      let file = GuardedBytes(vector.bytes)
      let setup = Setup(chunk: 3, outputs: 2, threads: 2, runner: .threads)
      let needed = Int(try plan(file, setup).arena_bytes)
      var options = setup.options
      for size in [0, 1, needed / 2, needed - 64, needed - 1] {
        let arena = GuardedBytes(count: size, fill: 0x77)
        var session: OpaquePointer? = nil
        let code = curta_session_init(
          file.base, file.count, &options, arena.base, size, &session)
        #expect(status(code) == .arenaTooSmall && session == nil)
        #expect(
          (0..<size).allSatisfy { arena.base.load(fromByteOffset: $0, as: UInt8.self) == 0x77 })
      }
      let session = try TestSession(file, setup)
      for start in stride(from: 0, to: vector.tokens.count - 3, by: 3) {
        try session.step(Array(vector.tokens[start..<start + 3]), outputs: 2)
      }
      #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
    }
  }

  @Test func sessionArguments() throws {
    let file = GuardedBytes(vector.bytes)
    let arena = GuardedBytes(count: Int(try plan(file, Setup()).arena_bytes))
    var session: OpaquePointer? = nil
    func make(_ file: UnsafeRawPointer?, _ size: Int, _ arena: UnsafeMutableRawPointer?) -> Status?
    {
      status(curta_session_init(file, size, nil, arena, 1 << 20, &session))
    }
    #expect(make(nil, file.count, arena.base) == .badArgument)
    #expect(make(file.base, file.count, nil) == .badArgument)
    #expect(make(file.base, -1, arena.base) == .badArgument)
    let code = curta_session_init(file.base, file.count, nil, arena.base, arena.count, nil)
    #expect(status(code) == .badArgument && session == nil)
  }

  @Test func codecsAreNeededOnlyWhereTheFileHasThem() throws {
    for vector in ValidVector.all {
      let parts = try #require(FileParts(vector.bytes))
      let hasZstd = parts.sections.contains { $0.codec == 1 }
      let result = failure { _ = try TestSession(vector.bytes, Setup(zstd: false)) }
      #expect(result == (hasZstd ? .codecMissing : .ok), "\(vector.name)")
    }
  }

  @Test func stepArguments() throws {
    let setup = Setup(context: 10, chunk: 4, outputs: 2)
    let session = try TestSession(vector.bytes, setup)
    let fresh = try TestSession(vector.bytes, setup)
    let vocabulary = Int32(session.vocabulary)
    func step(_ tokens: [Int32], _ count: Int, _ outputs: Int) -> Status? {
      status(curta_step(session.pointer, tokens, count, outputs))
    }
    try session.step([1, 2, 3], outputs: 2)
    let before = session.logits(1)
    let eight = [Int32](repeating: 1, count: 8)
    for (count, outputs) in [(0, 0), (0, 1), (1, 0), (1, 2), (4, 3), (5, 1), (-1, 1), (1, -1)] {
      #expect(step(eight, count, outputs) == .badArgument, "\(count), \(outputs)")
    }
    #expect(step(eight, Int.max, 1) == .badArgument && step(eight, Int.min, 1) == .badArgument)
    for id in [-1, Int32.min, vocabulary, Int32.max] {
      #expect(step([1, id], 2, 1) == .badArgument, "\(id)")
    }
    #expect(status(curta_step(session.pointer, nil, 1, 1)) == .badArgument)
    #expect(status(curta_step(nil, eight, 1, 1)) == .badArgument)
    #expect(curta_past(session.pointer) == 3 && session.logits(1) == before)
    try session.step([4, 5, 6, 7], outputs: 1)
    #expect(step([1, 2, 3, 4], 4, 1) == .contextFull && curta_past(session.pointer) == 7)
    try session.step([1, 2, 3], outputs: 1)
    #expect(step([1], 1, 1) == .contextFull && curta_past(session.pointer) == 10)
    // What failed left no trace.
    for tokens in [[1, 2, 3], [4, 5, 6, 7], [1, 2, 3]] as [[Int32]] {
      try fresh.step(tokens, outputs: 1)
    }
    #expect(fresh.logits(0) == session.logits(0))
  }

  @Test func logitsRows() throws {
    let session = try TestSession(vector.bytes, Setup(chunk: 4, outputs: 3))
    #expect(session.logits(0) == nil)
    try session.step([1, 2, 3], outputs: 2)
    #expect(session.logits(0) != nil && session.logits(1) != nil)
    for row in [2, 3, -1, Int.max, Int.min] { #expect(session.logits(row) == nil) }
    #expect(curta_logits(nil, 0) == nil && curta_past(nil) == 0)
  }

  @Test func rewinding() throws {
    let session = try TestSession(vector.bytes, Setup(chunk: 8, outputs: 8))
    let tokens = Array(vector.tokens.prefix(8))
    let all = try session.run(tokens, pieces: [8])
    for wrong in [9, -1, Int.max, Int.min] {
      #expect(status(curta_rewind(session.pointer, wrong)) == .badArgument)
    }
    #expect(status(curta_rewind(nil, 0)) == .badArgument)
    for past in [8, 5, 0, 3, 7] where past <= curta_past(session.pointer) {
      try check(curta_rewind(session.pointer, past))
      #expect(curta_past(session.pointer) == past && session.logits(0) == nil)
      // Other tokens first, so that the caches hold something else.
      if past < 8 {
        try session.step([3], outputs: 1)
        try check(curta_rewind(session.pointer, past))
        let rest = try session.run(Array(tokens[past...]), pieces: [2, 1])
        #expect(rest == Array(all[(past * session.vocabulary)...]))
      }
    }
  }

  @Test func textCallsWithoutATokenizer() throws {
    let session = try TestSession(vector.bytes, Setup())
    var tokens = [Int32](repeating: 0, count: 8)
    var count = 0
    var text = [CChar](repeating: 97, count: 8)
    let scratch = GuardedBytes(count: 64)
    let code = curta_encode(
      session.pointer, &text, 2, &tokens, 8, &count, scratch.base, scratch.count)
    #expect(status(code) == .unsupported)
    #expect(status(curta_decode(session.pointer, 1, &text, 8, &count)) == .unsupported)
    #expect(status(curta_decode(nil, 1, &text, 8, &count)) == .badArgument)
    #expect(curta_encode_scratch(session.pointer, 5) == 0 && curta_encode_scratch(nil, 5) == 0)
    #expect(curta_is_end(session.pointer, -1) == 0 && curta_is_end(nil, 0) == 0)
  }
}
