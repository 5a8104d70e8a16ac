// Weights beyond a limit: the same bits from less memory, whatever has to be brought anew.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaPlatform
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

extension FileParts {
  /// The same file with every stored data section coded: by zstd, by LZ4, and so on. Sections of
  /// zeros stay: they would be coded to less than a file may.
  fileprivate func coded() -> FileParts {
    var parts = self
    for i in parts.sections.indices where parts.sections[i].kind == SectionKind.data {
      guard parts.sections[i].codec == 0 else { continue }
      let bytes = parts.sections[i].stored
      let codec: UInt32 = i % 2 == 0 ? 1 : 2
      let coded = codec == 1 ? Library.zstd(bytes) : Library.lz4(bytes)
      guard bytes.count <= coded.count * Int(Limits.ratio) else { continue }
      parts.sections[i].codec = codec
      parts.sections[i].stored = coded
    }
    return parts
  }
}

/// A host whose threads decode ahead, and when they do: as soon as it is begun, when it is waited for,
/// or meanwhile.
private final class Ahead {
  enum Moment: CaseIterable { case first, last, meanwhile }

  var options: curta_options
  private var begun: (task: curta_task_function, argument: UnsafeMutableRawPointer?, parts: UInt32)?
  private let pool: OpaquePointer?

  init(_ setup: Setup, _ moment: Moment) {
    options = setup.options
    pool = moment == .meanwhile ? curta_pool_create(setup.threads) : nil
    options.parallel_context = Unmanaged.passUnretained(self).toOpaque()
    switch moment {
    case .first:
      options.begin = { _, task, argument, parts in
        for part in 0..<parts { task!(argument, part, parts) }
      }
      options.finish = { _ in }
    case .last:
      options.begin = { context, task, argument, parts in
        let host = Unmanaged<Ahead>.fromOpaque(context!).takeUnretainedValue()
        #expect(host.begun == nil)
        host.begun = (task!, argument, parts)
      }
      options.finish = { context in
        let host = Unmanaged<Ahead>.fromOpaque(context!).takeUnretainedValue()
        let begun = host.begun.take()!
        for part in (0..<begun.parts).reversed() { begun.task(begun.argument, part, begun.parts) }
      }
    case .meanwhile:
      options.parallel = curta_pool_run
      options.begin = curta_pool_begin
      options.finish = curta_pool_finish
      options.parallel_context = UnsafeMutableRawPointer(pool)
    }
  }

  deinit { curta_pool_destroy(pool) }
}

@Suite struct StreamTests {
  /// As stored, and with all data coded.
  private func forms(_ bytes: [UInt8]) throws -> [GuardedBytes] {
    [GuardedBytes(bytes), GuardedBytes(try #require(FileParts(bytes)).coded().assemble())]
  }

  /// The least, half of the weights, and more than there are.
  private func limits(_ file: GuardedBytes, _ setup: Setup) throws -> [UInt64] {
    [1, try plan(file, setup).weight_bytes / 2 + 1, 1 << 40]
  }

  @Test(arguments: ValidVector.all)
  func logitsAreTheReferences(_ vector: ValidVector) throws {
    for file in try forms(vector.bytes) {
      for threads: UInt32 in 1...3 {
        for runner in threads == 1 ? [Runner.forward] : Runner.allCases {
          var setup = Setup(chunk: 3, outputs: 3, threads: threads, runner: runner)
          let whole = try plan(file, setup)
          for limit in try limits(file, setup) {
            setup.weightLimit = limit
            let session = try TestSession(file, setup)
            let logits = try session.run(vector.tokens, pieces: [3])
            #expect(hash(logits) == vector.logitsHash, "\(setup)")
            #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
            if limit == 1 << 40 { #expect(session.info.arena_bytes == whole.arena_bytes) }
          }
        }
      }
    }
  }

  @Test(arguments: ImageVector.all)
  func rowsAreTheReferences(_ vector: ImageVector) throws {
    for file in try forms(vector.bytes) {
      for threads: UInt32 in 1...2 {
        var setup = Setup(outputs: 2, threads: threads, runner: .threads)
        for limit in try limits(file, setup) {
          setup.weightLimit = limit
          let session = try TestSession(file, setup)
          let images = vector.images(channels: Int(try session.image.channels))
          #expect(hash(try session.run(images, batch: 2)) == vector.rowsHash, "\(setup)")
          #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
        }
      }
    }
  }

  @Test(arguments: ValidVector.all)
  func decodingAheadGivesTheSameLogits(_ vector: ValidVector) throws {
    for file in try forms(vector.bytes) {
      for threads: UInt32 in 2...3 {
        for moment in Ahead.Moment.allCases {
          var setup = Setup(chunk: 3, outputs: 3, threads: threads)
          for limit in try limits(file, setup) {
            setup.weightLimit = limit
            let host = Ahead(setup, moment)
            let session = try TestSession(file, options: host.options)
            let logits = try session.run(vector.tokens, pieces: [3])
            #expect(hash(logits) == vector.logitsHash, "\(setup) \(moment)")
            #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
          }
        }
      }
    }
  }

  @Test(arguments: ImageVector.all)
  func decodingAheadGivesTheSameRows(_ vector: ImageVector) throws {
    for file in try forms(vector.bytes) {
      for moment in Ahead.Moment.allCases {
        let host = Ahead(Setup(outputs: 2, threads: 2, weightLimit: 1), moment)
        let session = try TestSession(file, options: host.options)
        let images = vector.images(channels: Int(try session.image.channels))
        #expect(hash(try session.run(images, batch: 2)) == vector.rowsHash, "\(moment)")
        #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
      }
    }
  }

  /// One without the other is refused.
  @Test func beginningNeedsFinishing() throws {
    let file = GuardedBytes(try #require(ValidVector.all.first).bytes)
    var options = Setup(threads: 2, weightLimit: 1).options
    options.begin = curta_pool_begin
    #expect(throws: StatusError(Status.badArgument.rawValue)) { try plan(file, options) }
    options.begin = nil
    options.finish = curta_pool_finish
    #expect(throws: StatusError(Status.badArgument.rawValue)) { try plan(file, options) }
  }

  /// More memory keeps more, up to all, which takes no staging; the least is less than half where
  /// there are layers enough.
  @Test(arguments: [1, 2] as [UInt32]) func theArenaFollowsTheLimit(_ threads: UInt32) throws {
    var smallest = 1.0
    for vector in ValidVector.all {
      let file = try forms(vector.bytes)[1]
      /// Bytes of weights and all others.
      func taken(_ limit: UInt64) throws -> (weights: UInt64, all: UInt64) {
        let setup = Setup(threads: threads, weightLimit: limit)
        let host = threads > 1 ? Ahead(setup, .first) : nil
        let info = try plan(file, host?.options ?? setup.options)
        return (info.weight_bytes, info.arena_bytes)
      }
      let whole = try taken(0)
      var last: UInt64 = 0
      for limit in stride(from: UInt64(1), to: 2 * whole.weights, by: Int(whole.weights / 9 + 1)) {
        let taken = try taken(limit).weights
        #expect(taken >= last || taken == whole.weights, "\(vector) \(limit)")
        last = taken
        if limit == 1 { smallest = min(smallest, Double(taken) / Double(whole.weights)) }
      }
      #expect(try taken(2 * whole.weights + (1 << 20)).weights == whole.weights)
      #expect(try taken(1 << 40).all == whole.all)
    }
    #expect(smallest < 0.5)
  }

  /// Every tensor of the vectors is named by an op, and what ops name are tensors.
  @Test func opsNameAllTensors() throws {
    for bytes in ValidVector.all.map(\.bytes) + ImageVector.all.map(\.bytes) {
      let guarded = GuardedBytes(bytes)
      let file = try CurtaFile(ByteView(guarded.base, count: guarded.count))
      let tensors = try file.tensors()
      let program = try file.program(tensors)
      var named = Set<UInt32>()
      for i in 0..<program.opCount {
        let op = try program.op(i)
        let operands = try op.tensorOperands
        for k in 1..<16 where operands & (1 << UInt16(k)) != 0 {
          let tensor = try op.operand(k)
          if tensor != Program.none { named.insert(tensor) }
        }
      }
      #expect(named == Set(0..<tensors.count))
    }
  }

  /// A decoder that fails in a step gives its status; the next step goes on where the last ended.
  @Test func aDecoderMayFailInAStep() throws {
    let vector = try #require(ValidVector.all.first { $0.name == "tiny.curta" })
    let file = try forms(vector.bytes)[1]
    for (threads, moment) in [(1, nil), (2, nil), (2, .first), (2, .last)]
      as [(UInt32, Ahead.Moment?)]
    {
      var left: Int32 = .max
      try withUnsafeMutablePointer(to: &left) { left in
        let setup = Setup(threads: threads, runner: .backward, weightLimit: 1)
        let host = moment.map { Ahead(setup, $0) }
        var options = host?.options ?? setup.options
        options.zstd_context = UnsafeMutableRawPointer(left)
        options.zstd = { context, source, sourceSize, target, targetSize in
          let left = context!.assumingMemoryBound(to: Int32.self)
          left.pointee -= 1
          return left.pointee < 0
            ? 1 : Library.decodeZstd(nil, source, sourceSize, target, targetSize)
        }
        let session = try TestSession(file, options: options)
        let whole = try TestSession(file, Setup())
        for (past, token) in vector.tokens.enumerated() {
          for successes in [0, 2, 5] as [Int32] {
            left.pointee = successes
            #expect(throws: StatusError(Status.badFrame.rawValue)) { try session.step([token]) }
            #expect(curta_past(session.pointer) == past && session.logits(0) == nil)
          }
          left.pointee = .max
          try session.step([token])
          try whole.step([token])
          #expect(session.logits(0) == whole.logits(0))
        }
        #expect(session.arena.canariesAreWhole)
        withExtendedLifetime(host) {}
      }
    }
  }

  /// What is told to be read soon lies in the file, and is all that is large.
  @Test func theHostIsToldWhatIsNext() throws {
    let vector = try #require(ValidVector.all.first { $0.name == "overlaid.curta" })
    let file = GuardedBytes(vector.bytes)
    var told: [Range<Int>] = []
    try withUnsafeMutablePointer(to: &told) { told in
      var options = Setup(weightLimit: 1).options
      options.prefetch_context = UnsafeMutableRawPointer(told)
      options.prefetch = { context, bytes, size in
        let start = Int(bitPattern: bytes)
        context!.assumingMemoryBound(to: [Range<Int>].self).pointee.append(start..<start + size)
      }
      let session = try TestSession(file, options: options)
      #expect(told.pointee.isEmpty)
      try session.step(Array(vector.tokens.prefix(1)))
    }
    let base = Int(bitPattern: file.base)
    #expect(told.allSatisfy { $0.lowerBound >= base && $0.upperBound <= base + file.count })
    let curta = try CurtaFile(ByteView(file.base, count: file.count))
    let tensors = try curta.tensors()
    for i in 0..<tensors.count {
      let tensor = try tensors[i]
      let first = try curta.data(tensor.data)
      let last = try curta.data(tensor.data + tensor.dataCount - 1)
      guard last.offset + last.storedSize - first.offset >= 1 << 14 else { continue }
      #expect(told.contains { $0.lowerBound == base + Int(first.offset) }, "tensor \(i)")
    }
    #expect(!told.isEmpty)
  }
}
