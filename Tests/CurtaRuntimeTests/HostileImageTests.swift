// Image programs that are valid but that no converter makes, that only look valid, and mutations.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

/// Loads `bytes` and where that works steps images, in batches of two and then one by one on other
/// kernels, which must agree.
private func attemptImages(_ bytes: [UInt8]) -> Outcome {
  let file = GuardedBytes(bytes)
  func run(_ setup: Setup, batch: Int) throws -> Outcome {
    guard try plan(file, setup).arena_bytes <= 1 << 24 else { return .tooLarge }
    let session = try TestSession(file, setup)
    let image = try session.image
    let isFree = image.resize != 0
    let images = [3, 40, 9].map { side in
      TestImage(
        seed: UInt64(side), height: isFree ? side : Int(image.height),
        width: isFree ? side + 4 : Int(image.width), channels: Int(image.channels))
    }
    let rows = try session.run(images, batch: batch)
    guard session.arena.canariesAreWhole, file.canariesAreWhole else { fatalError("canary") }
    return .ran(rows)
  }
  do {
    let whole = try run(Setup(outputs: 2, kernels: 1), batch: 2)
    guard case .ran = whole else { return whole }
    let single = try run(Setup(fill: 0x5A), batch: 1)
    #expect(single == whole)
    return whole
  } catch let error as StatusError {
    return .refused(error.status)
  } catch {
    fatalError("\(error)")
  }
}

@Suite struct HostileImageTests {
  private func refusal(_ bytes: [UInt8]) -> Status? {
    if case .refused(let status) = attemptImages(bytes) { return status }
    return nil
  }

  @Test func theModelRuns() {
    for (size, channels, patch, prefix) in [
      ((16, 12), 3, (8, 6), 1), ((1, 1), 1, (1, 1), 0), ((9, 9), 1, (9, 9), 64),
      ((2, 300), 3, (2, 3), 5),
    ] {
      let model = ImageModel(size: size, channels: channels, patch: patch, prefix: prefix)
      guard case .ran(let rows) = attemptImages(model.f.build()) else {
        Issue.record("refused: \(size)")
        continue
      }
      #expect(Set(rows).count > 6)
    }
  }

  @Test func wrongOperandsAreRefused() throws {
    let m = ImageModel(size: (16, 12), patch: (8, 6), resize: (1, 0, 2), prefix: 2)
    #expect(refusal(m.f.build()) == nil)
    func check(
      _ op: Int, _ operand: Int, _ value: UInt32, _ status: Status? = .badProgram,
      _ line: SourceLocation = #_sourceLocation
    ) {
      var f = m.f
      f.ops[op][operand] = value
      #expect(refusal(f.build()) == status, sourceLocation: line)
    }
    let most = UInt32.max
    check(m.patchify, 1, m.pooledCodes)
    check(m.patchify, 1, m.patches)
    check(m.patchify, 2, 1)
    check(m.prefix, 1, m.codes)
    check(m.prefix, 1, m.x)
    check(m.prefix, 2, most)
    check(m.prefix, 2, m.gamma)  // one row for two
    check(m.prefix, 3, m.pooled)
    check(m.prefix, 4, 1)
    check(m.pool, 1, m.patches)
    check(m.pool, 2, m.x)
    for kind in [0, 3, most] { check(m.pool, 3, kind) }
    check(m.pool, 3, 1, nil)
    check(m.pool, 4, 5, nil)
    for first in [6, 7, most] { check(m.pool, 4, first) }
    check(m.pool, 5, 1)
    check(m.quantize, 1, m.pooledCodes)
    check(m.quantize, 2, m.codes)
    check(m.quantize, 3, 3)
    check(m.quantize, 3, 32, nil)
    check(m.quantize, 4, 1)
    for (i, op) in m.f.ops.enumerated() where op[0] == 7 { check(i, 5, 1) }
    check(m.pool, 0, 9)  // select
    check(0, 0, 1)  // embed
  }

  @Test func wrongRecordsAreRefused() throws {
    let m = ImageModel(size: (16, 12), patch: (8, 6), resize: (2, 20, 3))
    func check(
      _ word: Int, _ value: UInt32, _ status: Status? = .badProgram,
      _ line: SourceLocation = #_sourceLocation
    ) {
      var f = m.f
      f.image[word] = value
      #expect(refusal(f.build()) == status, sourceLocation: line)
    }
    for side in [0, 17, 4097, 8, .max] as [UInt32] {
      check(0, side)
      check(1, side)
    }
    for channels in [0, 1, 2, 4, .max] as [UInt32] { check(2, channels) }
    for patch in [0, 5, 16, .max] as [UInt32] {
      check(3, patch)
      check(4, patch)
    }
    for resize in [0, 1, 3, .max] as [UInt32] { check(5, resize) }
    for edge in [0, 15, 8193, .max] as [UInt32] { check(6, edge) }
    check(6, 16, nil)
    check(6, 8192, nil)
    for filter in [0, 4, .max] as [UInt32] { check(7, filter) }
    for filter in [1, 2, 3] as [UInt32] { check(7, filter, nil) }
    var f = m.f
    f.context = 4 + 64
    #expect(refusal(f.build()) == .badProgram)  // the prefix has one row
    for context in [0, 3, 4, 69] as [UInt32] {
      f.context = context
      #expect(refusal(f.build()) == .badProgram)
    }
    f = m.f
    f.image = []
    #expect(refusal(f.build()) == .badProgram || refusal(f.build()) == .badPlan)
  }

  /// A model of enough work for the threads to be woken.
  @Test func threadsGiveTheSameBits() throws {
    let m = ImageModel(size: (64, 48), patch: (4, 4), resize: (1, 0, 3), width: 64, layers: 2)
    let bytes = m.f.build()
    let images = (0..<4).map {
      TestImage(seed: UInt64($0), height: 50 + $0, width: 99 - $0, channels: 3)
    }
    let expected = try TestSession(bytes, Setup(outputs: 1, kernels: 1)).run(images, batch: 1)
    for runner in Runner.allCases {
      for threads: UInt32 in [2, 3, 5] {
        let session = try TestSession(bytes, Setup(outputs: 3, threads: threads, runner: runner))
        #expect(try session.run(images, batch: 3) == expected)
        #expect(session.arena.canariesAreWhole)
      }
    }
  }

  /// Largest declared sizes: the plan is a number or a status, at once and without memory.
  @Test func hugePlans() throws {
    var m = ImageModel(size: (64, 64), patch: (1, 1), resize: (2, 64, 3), prefix: 0, layers: 0)
    m.f.image = [4096, 4096, 3, 4, 4, 2, 8192, 3]
    m.f.context = 1 << 20
    m.f.buffers[Int(m.codes)][2] = 48
    let started = Date()
    // The projection has 3 columns for 48: refused; with its own width it is planned.
    #expect(throws: StatusError(Status.badProgram.rawValue)) {
      _ = try plan(GuardedBytes(m.f.build()), Setup())
    }
    m.f.image = [1024, 1024, 3, 1, 1, 2, 8192, 3]
    m.f.buffers[Int(m.codes)][2] = 3
    let file = GuardedBytes(m.f.build())
    let info = try plan(file, Setup())
    #expect(info.buffer_bytes >= UInt64(1 << 20) * 32 * 4 && info.scratch_bytes > 3 << 20)
    #expect(throws: StatusError(Status.badArgument.rawValue)) {
      _ = try plan(file, Setup(outputs: 2))
    }
    #expect(Date().timeIntervalSince(started) < 2)
  }

  /// Mutations of the files that take images: `CURTA_FUZZ_COUNT` of them, from `CURTA_SEED`.
  @Test func structureAwareMutations() throws {
    let environment = ProcessInfo.processInfo.environment
    let count = environment["CURTA_FUZZ_COUNT"].flatMap { Int($0) } ?? 4000
    let seed = SeededRandom.announcedSeed("mutations of image files")
    var ran = 0
    var tooLarge = 0
    var statuses: [Status: Int] = [:]
    for i in 0..<count {
      let vector = ImageVector.all[i % ImageVector.all.count]
      var mutator = Mutator(SeededRandom(seed &+ UInt64(i)))
      let bytes = mutator.mutate(vector.bytes)
      let started = Date()
      switch attemptImages(bytes) {
      case .ran: ran += 1
      case .tooLarge: tooLarge += 1
      case .refused(let status): statuses[status, default: 0] += 1
      }
      let seconds = Date().timeIntervalSince(started)
      #expect(seconds < 5, "mutation \(i) of \(vector.name), seed \(seed): \(seconds) s")
    }
    print("\(count) mutations of image files: \(ran) ran, \(tooLarge) too large, \(statuses)")
    #expect(ran > count / 50, "too few mutations were accepted")
  }
}
