// A session on a computer with an operating system: mapped file, allocated arena, threads, zstd.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CZstd
import CurtaFormat
import CurtaKernels
import CurtaPlatform
import CurtaRuntime
import Glibc

/// What a session is to be; 0 is the default of `curta.h`.
public struct HostOptions: Sendable, Equatable {
  /// Positions, prompt and answer together; default: the file's.
  public var context: UInt32 = 0
  /// Most tokens in a step; default: 128.
  public var chunk: UInt32 = 0
  /// Most rows of logits, or images, in a step; default: 1.
  public var outputs: UInt32 = 0
  /// Threads; default: 1.
  public var threads: UInt32 = 0
  /// 1 + index of an instruction set (1: scalar); default: the fastest.
  public var kernels: UInt32 = 0
  /// Bytes of weights in memory at most; each step brings those beyond anew. Default: all are kept.
  public var weightLimit: UInt64 = 0

  public init() {}

  func native() -> curta_options {
    var options = curta_options()
    options.struct_size = UInt32(MemoryLayout<curta_options>.size)
    options.context = context
    options.chunk = chunk
    options.outputs = outputs
    options.threads = threads
    options.kernels = kernels
    options.zstd = zstdDecoder
    options.parallel = curta_pool_run
    options.begin = curta_pool_begin
    options.finish = curta_pool_finish
    options.prefetch = curta_prefetch_mapping
    options.weight_limit = weightLimit
    return options
  }
}

/// A `curta_decode_function` that takes exactly one frame of exactly these sizes.
let zstdDecoder: curta_decode_function = { _, source, sourceSize, target, targetSize in
  guard ZSTD_findFrameCompressedSize(source, sourceSize) == sourceSize else { return 1 }
  return ZSTD_decompress(target, targetSize, source, sourceSize) == targetSize ? 0 : 1
}

/// What a session of this file will take, to the byte. Throws `HostError.file`.
public func planSession(
  _ file: FileMapping, _ options: HostOptions = HostOptions()
) throws(HostError) -> curta_plan_info {
  var native = options.native()
  var info = curta_plan_info()
  info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
  let code = curta_plan(file.bytes.base, file.bytes.count, &native, &info)
  guard code == 0 else {
    throw .file(
      path: file.path,
      CurtaError(
        Status(rawValue: code) ?? .badArgument, section: info.error_section,
        at: info.error_offset))
  }
  return info
}

/// A running model that owns its file, its arena and its threads.
///
/// Used by one thread at a time.
public final class HostSession {
  public let file: FileMapping
  /// What was planned; the arena has exactly `arena_bytes`.
  public let plan: curta_plan_info
  public let session: Session
  private let arena: UnsafeMutableRawPointer
  let pool: OpaquePointer?  // of curta_pool; nil with one thread

  /// Maps the file at `path`, checks all of it and makes a session. Throws `HostError`.
  public convenience init(
    _ path: String, _ options: HostOptions = HostOptions()
  ) throws(HostError) {
    try self.init(FileMapping(path, forRunning: options.weightLimit == 0), options)
  }

  /// Checks all of the file and makes a session. Throws `HostError`.
  public init(_ file: FileMapping, _ options: HostOptions = HostOptions()) throws(HostError) {
    self.file = file
    plan = try planSession(file, options)
    let available = HostSession.physicalMemory
    guard plan.arena_bytes <= available else {
      throw .memory(needed: plan.arena_bytes, available: available)
    }
    var memory: UnsafeMutableRawPointer?
    let bytes = Int(plan.arena_bytes)
    let isLarge = LargePages.suit(bytes)
    guard posix_memalign(&memory, isLarge ? LargePages.size : Int(alignment), bytes) == 0,
      let memory
    else { throw .memory(needed: plan.arena_bytes, available: available) }
    if isLarge { LargePages.advise(memory, bytes) }
    var native = options.native()
    var pool: OpaquePointer?
    if plan.threads > 1 {
      pool = curta_pool_create(plan.threads)
      guard let pool else {
        free(memory)
        throw .threads(plan.threads)
      }
      native.parallel_context = UnsafeMutableRawPointer(pool)
    }
    do throws(CurtaError) {
      session = try Session.make(
        file: file.bytes, options: native, arena: memory, arenaSize: bytes)
    } catch {
      curta_pool_destroy(pool)
      free(memory)
      throw .file(path: file.path, error)
    }
    arena = memory
    self.pool = pool
  }

  deinit {
    curta_pool_destroy(pool)
    free(arena)
  }

  /// The value of `HostOptions.kernels` for an instruction set of this computer, or "auto".
  public static func kernels(named name: String) throws(HostError) -> UInt32 {
    if name == "auto" { return 0 }
    var known: [String] = []
    for i in 0..<curta_kernels_count() {
      guard let kernels = curta_kernels_at(i) else { continue }
      known.append(String(cString: kernels.pointee.name))
      if known.last == name { return i + 1 }
    }
    let names = known.joined(separator: ", ")
    throw .request("there are no kernels '\(name)' here; there are auto, \(names)")
  }

  /// Bytes of memory in this computer.
  public static var physicalMemory: UInt64 {
    UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
  }

  /// Name of the instruction set in use.
  public var kernelsName: String { String(cString: session.kernelsName) }
  /// Tokens fed so far.
  public var past: Int { session.past }
  /// Number of tokens.
  public var vocabulary: Int { session.vocabulary }
}

// MARK: - Stepping

extension HostSession {
  private func check<T>(_ body: () throws(CurtaError) -> T) throws(HostError) -> T {
    do throws(CurtaError) { return try body() } catch { throw .file(path: file.path, error) }
  }

  /// Feeds 1 … chunk tokens and computes logits for the last `outputs` of them.
  public func step(_ tokens: ArraySlice<Int32>, outputs: Int = 1) throws(HostError) {
    let tokens = Array(tokens)
    var failure: CurtaError?
    tokens.withUnsafeBufferPointer { tokens in
      do throws(CurtaError) {
        guard let base = tokens.baseAddress else { throw CurtaError(.badArgument) }
        try session.step(base, count: tokens.count, outputs: outputs)
      } catch {
        failure = error
      }
    }
    if let failure { throw .file(path: file.path, failure) }
  }

  /// Feeds any number of tokens in steps of the plan's chunk; logits are those of the last one.
  ///
  /// `eachStep` is called after every step; an answer of false ends the feeding.
  public func feed(
    _ tokens: [Int32], eachStep: () -> Bool = { true }
  ) throws(HostError) {
    var rest = tokens[...]
    while !rest.isEmpty {
      let count = min(rest.count, Int(plan.chunk))
      try step(rest.prefix(count))
      rest = rest.dropFirst(count)
      if !eachStep() { return }
    }
  }

  /// Brings an image to the model's size and makes it image `index` of the next steps.
  ///
  /// `channels` bytes make a pixel: 1 grey; 3 red, green, blue; 4 with a fourth that is not read.
  /// Rows of pixels follow each other from the top down.
  public func setImage(
    _ index: Int = 0, _ pixels: [UInt8], width: Int, height: Int, channels: Int
  ) throws(HostError) {
    var failure: CurtaError?
    pixels.withUnsafeBufferPointer { pixels in
      do throws(CurtaError) {
        let (line, isLong) = width.multipliedReportingOverflow(by: channels)
        let (size, isLarge) = line.multipliedReportingOverflow(by: height)
        guard let base = pixels.baseAddress, !isLong, !isLarge, pixels.count == size else {
          throw CurtaError(.badArgument)
        }
        try session.setImage(
          index, base, width: width, height: height, channels: channels, rowStride: 0)
      } catch {
        failure = error
      }
    }
    if let failure { throw .file(path: file.path, failure) }
  }

  /// Computes the rows of the first `count` images; `logits` has them.
  public func stepImages(_ count: Int = 1) throws(HostError) {
    try check { () throws(CurtaError) in try session.stepImages(count) }
  }

  /// Logits of output row `row` of the last step, or what image `row` gave: [vocabulary], units of
  /// 2^−16.
  public func logits(_ row: Int = 0) -> UnsafeBufferPointer<Int32> {
    UnsafeBufferPointer(start: session.logits(row), count: vocabulary)
  }

  /// Forgets all tokens from position `past` on.
  public func rewind(to past: Int = 0) throws(HostError) {
    try check { () throws(CurtaError) in try session.rewind(to: past) }
  }

  /// Starts the random numbers of `sample` anew.
  public func seed(_ seed: UInt64) { session.seed(seed) }

  /// Chooses a token from the last row of logits.
  public func sample(_ sampling: curta_sampling) throws(HostError) -> Int32 {
    try check { () throws(CurtaError) in try session.sample(sampling) }
  }

  /// Whether the token ends a text.
  public func isEnd(_ token: Int32) -> Bool { session.tokenizer?.isEnd(token) ?? false }

  /// The text that `token` adds to the tokens decoded before it, never half a character.
  ///
  /// A token of -1 ends the text (an unfinished character becomes U+FFFD) and begins a new one.
  public func decode(_ token: Int32) throws(HostError) -> String {
    try check { () throws(CurtaError) in
      try withUnsafeTemporaryAllocation(
        of: UInt8.self, capacity: TokenizerLimits.decodedBytes
      ) { room throws(CurtaError) in
        let size = try session.decode(
          token, into: room.baseAddress!, capacity: TokenizerLimits.decodedBytes)
        return String(decoding: room[..<size], as: UTF8.self)
      }
    }
  }
}

/// Makes every check of a file that a session makes, with one tensor at a time in memory.
///
/// The bytes lie at a multiple of 64. Throws `HostError`.
public func verifyFile(_ bytes: ByteView, path: String) throws(HostError) {
  var options = HostOptions()
  options.context = 1
  let plan = try planSession(FileMapping(borrowing: bytes, path: path), options)
  var memory: UnsafeMutableRawPointer?
  guard posix_memalign(&memory, Int(alignment), Int(plan.check_bytes)) == 0, let memory else {
    throw .memory(needed: plan.check_bytes, available: HostSession.physicalMemory)
  }
  defer { free(memory) }
  do throws(CurtaError) {
    try Session.check(
      file: bytes, options: options.native(), memory: memory, size: Int(plan.check_bytes))
  } catch {
    throw .file(path: path, error)
  }
}
