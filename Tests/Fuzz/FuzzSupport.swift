// What the fuzz targets share: libFuzzer's hooks and a session over any bytes.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaRuntime
import Foundation

/// libFuzzer's own mutation, in place; returns the new size.
@_extern(c, "LLVMFuzzerMutate")
func libFuzzerMutate(_ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int) -> Int

/// Bytes at an address that is a multiple of 64, with nothing behind them.
func withAligned<R>(_ bytes: [UInt8], _ body: (UnsafeMutableRawPointer) -> R) -> R {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: max(bytes.count, 1), alignment: 64)
  defer { memory.deallocate() }
  bytes.withUnsafeBytes { if let from = $0.baseAddress { memcpy(memory, from, bytes.count) } }
  return body(memory)
}

/// Options of a small session.
func smallOptions(chunk: UInt32, kernels: UInt32) -> curta_options {
  var options = curta_default_options()
  options.chunk = chunk
  options.outputs = chunk
  options.kernels = kernels
  options.zstd = Library.decodeZstd
  return options
}

/// Plans and makes a session, and calls `body` with it; false when the file is refused or takes
/// more than 16 MiB.
func withSession(
  _ file: UnsafeMutableRawPointer, _ size: Int, _ given: curta_options, fill: UInt8,
  _ body: (OpaquePointer, curta_plan_info) -> Void
) -> Bool {
  var options = given
  var info = curta_plan_info()
  info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
  guard curta_plan(file, size, &options, &info) == 0, info.arena_bytes <= 1 << 24 else {
    return false
  }
  let arenaSize = Int(info.arena_bytes)
  let arena = UnsafeMutableRawPointer.allocate(byteCount: arenaSize, alignment: 64)
  defer { arena.deallocate() }
  memset(arena, Int32(fill), arenaSize)
  var session: OpaquePointer? = nil
  guard curta_session_init(file, size, &options, arena, arenaSize, &session) == 0 else {
    return false
  }
  body(session!, info)
  return true
}

/// The last row of logits.
func lastRow(_ session: OpaquePointer, _ info: curta_plan_info, _ row: Int) -> [Int32] {
  Array(UnsafeBufferPointer(start: curta_logits(session, row), count: Int(info.vocabulary)))
}
