// Memory aligned to 64 bytes whose end lies right before a page that nobody may touch.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Bytes whose first address is a multiple of 64. Between their end and a page without access lie
/// less than 64 bytes, and 64 or more lie before them; all of these hold a canary.
public final class GuardedBytes: @unchecked Sendable {
  public let base: UnsafeMutableRawPointer
  public let count: Int
  private let mapping: UnsafeMutableRawPointer
  private let mapped: Int
  private let usable: Int
  private static let canary: UInt8 = 0xC7

  public init(count: Int, fill: UInt8 = 0) {
    let page = sysconf(Int32(_SC_PAGESIZE))
    let padded = (count + 63) / 64 * 64
    usable = (padded + 64 + page - 1) / page * page
    mapped = usable + page
    let memory = mmap(
      nil, mapped, PROT_READ | PROT_WRITE, Int32(MAP_PRIVATE) | Int32(MAP_ANONYMOUS), -1, 0)
    guard let memory, memory != MAP_FAILED else { fatalError("mmap of \(mapped) bytes") }
    guard mprotect(memory + usable, page, PROT_NONE) == 0 else { fatalError("mprotect") }
    mapping = memory
    self.count = count
    base = memory + (usable - padded)
    memset(base - 64, Int32(GuardedBytes.canary), 64)
    memset(base + count, Int32(GuardedBytes.canary), padded - count)
    if fill != 0 { memset(base, Int32(fill), count) }
  }

  public convenience init(_ bytes: [UInt8]) {
    self.init(count: bytes.count)
    bytes.withUnsafeBytes { if let from = $0.baseAddress { memcpy(base, from, bytes.count) } }
  }

  /// Whether nothing was written right before or behind the bytes.
  public var canariesAreWhole: Bool {
    let after = mapping + usable
    return (base - 64..<base).allSatisfy { $0.load(as: UInt8.self) == GuardedBytes.canary }
      && (base + count..<after).allSatisfy { $0.load(as: UInt8.self) == GuardedBytes.canary }
  }

  deinit { munmap(mapping, mapped) }
}
