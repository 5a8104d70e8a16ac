// A session through the C functions, with memory whose ends are guarded.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaRuntime
import CurtaTestSupport

/// A call that gave a status other than ok.
struct StatusError: Error, Equatable, CustomStringConvertible {
  let status: Status
  init(_ code: curta_status) { status = Status(rawValue: code) ?? .ok }
  var description: String { "\(status)" }
}

func check(_ code: curta_status) throws {
  if code != 0 { throw StatusError(code) }
}

/// What a session is asked to be.
struct Setup {
  var context: UInt32 = 0
  var chunk: UInt32 = 0
  var outputs: UInt32 = 0
  var threads: UInt32 = 1
  /// 0 is the fastest set, 1 is scalar.
  var kernels: UInt32 = 0
  var runner = Runner.forward
  var zstd = true
  var weightLimit: UInt64 = 0
  /// What the arena holds before.
  var fill: UInt8 = 0xA5

  var options: curta_options {
    var options = curta_default_options()
    options.context = context
    options.chunk = chunk
    options.outputs = outputs
    options.threads = threads
    options.kernels = kernels
    if threads > 1 { options.parallel = runner.function }
    if zstd { options.zstd = Library.decodeZstd }
    options.weight_limit = weightLimit
    return options
  }
}

func plan(_ file: GuardedBytes, _ setup: Setup) throws -> curta_plan_info {
  try plan(file, setup.options)
}

func plan(_ file: GuardedBytes, _ options: curta_options) throws -> curta_plan_info {
  var info = curta_plan_info()
  info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
  var options = options
  try check(curta_plan(file.base, file.count, &options, &info))
  return info
}

final class TestSession {
  let file: GuardedBytes
  let arena: GuardedBytes
  let info: curta_plan_info
  let pointer: OpaquePointer

  /// Plans and makes a session; throws the first status that is not ok.
  convenience init(_ file: GuardedBytes, _ setup: Setup, largestArena: UInt64 = 1 << 30) throws {
    try self.init(file, options: setup.options, fill: setup.fill, largestArena: largestArena)
  }

  init(
    _ file: GuardedBytes, options: curta_options, fill: UInt8 = 0xA5,
    largestArena: UInt64 = 1 << 30
  ) throws {
    self.file = file
    info = try plan(file, options)
    guard info.arena_bytes <= largestArena else { throw StatusError(Status.overLimit.rawValue) }
    arena = GuardedBytes(count: Int(info.arena_bytes), fill: fill)
    var made: OpaquePointer? = nil
    var options = options
    try check(curta_session_init(file.base, file.count, &options, arena.base, arena.count, &made))
    pointer = made!
  }

  convenience init(_ bytes: [UInt8], _ setup: Setup) throws {
    try self.init(GuardedBytes(bytes), setup)
  }

  var vocabulary: Int { Int(info.vocabulary) }

  func step(_ tokens: [Int32], outputs: Int = 1) throws {
    try check(curta_step(pointer, tokens, tokens.count, outputs))
  }

  func logits(_ row: Int) -> [Int32]? {
    guard let row = curta_logits(pointer, row) else { return nil }
    return Array(UnsafeBufferPointer(start: row, count: vocabulary))
  }

  /// Steps `tokens` in pieces of `sizes` in turn; gives all rows of logits.
  func run(_ tokens: [Int32], pieces sizes: [Int]) throws -> [Int32] {
    var all: [Int32] = []
    var at = 0
    var turn = 0
    while at < tokens.count {
      let n = min(sizes[turn % sizes.count], tokens.count - at)
      turn += 1
      try step(Array(tokens[at..<at + n]), outputs: n)
      for row in 0..<n { all += logits(row)! }
      at += n
    }
    return all
  }
}

/// SHA-256 of numbers as little-endian bytes.
func hash(_ logits: [Int32]) -> String {
  sha256(logits.flatMap { x in (0..<4).map { UInt8(truncatingIfNeeded: x >> Int32(8 * $0)) } })
}

/// What loading and running a file came to.
enum Outcome: Equatable {
  case refused(Status)
  /// Accepted, but it takes more memory than the test gives.
  case tooLarge
  case ran([Int32])
}

/// Loads `bytes`, and where that works steps a few tokens and samples.
func attempt(_ bytes: [UInt8], _ setup: Setup, tokens: [Int32], pieces: [Int]) -> Outcome {
  let file = GuardedBytes(bytes)
  do {
    let info = try plan(file, setup)
    if info.arena_bytes > 1 << 24 { return .tooLarge }
    let session = try TestSession(file, setup)
    let wanted = tokens.prefix(Int(info.context)).map { $0 % Int32(info.vocabulary) }
    var all = try session.run(wanted, pieces: pieces.map { min($0, Int(info.outputs)) })
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    sampling.temperature = 1 << 16
    sampling.top_p = 60000
    sampling.repetition_penalty = 20000
    sampling.penalty_window = 64
    var token: Int32 = -1
    try check(curta_sample(session.pointer, &sampling, &token))
    guard session.arena.canariesAreWhole, file.canariesAreWhole else { fatalError("canary") }
    all.append(token)
    return .ran(all)
  } catch let error as StatusError {
    return .refused(error.status)
  } catch {
    fatalError("\(error)")
  }
}
