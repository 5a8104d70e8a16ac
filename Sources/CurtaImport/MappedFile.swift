// A file mapped read-only, every access bounds-checked.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A regular file mapped read-only; unmapped when the last reference goes.
///
/// The file must keep its length while it is mapped, as with every mapping.
final class MappedFile: @unchecked Sendable {
  let path: String
  /// Length in bytes.
  let count: Int
  private let bytes: UnsafeRawBufferPointer

  /// Maps the file at `path`; throws `unreadable` for what is not a readable regular file.
  init(_ path: String) throws(ImportError) {
    // Nonblocking, so that a pipe of that name does not hold us up.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw MappedFile.failure(path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw MappedFile.failure(path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .unreadable(file: path, reason: "not a regular file")
    }
    self.path = path
    count = Int(status.st_size)
    if count == 0 {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    } else {
      let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
      guard let address, address != MAP_FAILED else { throw MappedFile.failure(path) }
      bytes = UnsafeRawBufferPointer(start: address, count: count)
    }
  }

  deinit {
    if let address = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: address), count)
    }
  }

  private static func failure(_ path: String) -> ImportError {
    .unreadable(file: path, reason: String(cString: strerror(errno)))
  }

  /// Calls `body` with `length` bytes from `offset` on; throws `truncated` where they do not exist.
  func withBytes<Result>(
    at offset: Int, count length: Int, of field: String,
    _ body: (UnsafeRawBufferPointer) throws(ImportError) -> Result
  ) throws(ImportError) -> Result {
    guard offset >= 0, length >= 0, offset <= count, length <= count - offset else {
      throw .bad(
        .truncated, file: path, field: field, offset: offset,
        "needs \(length) bytes, the file has \(max(0, count - max(0, offset))) left")
    }
    return try body(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
  }

  /// Lets go of the memory of `length` bytes from `offset` on, which come from the file again when
  /// they are asked for: a file may be bigger than the memory.
  func release(at offset: Int, count length: Int) {
    let page = Int(getpagesize())
    let first = (offset + page - 1) / page * page
    let end = (offset + length) / page * page
    guard let base = bytes.baseAddress, 0 <= offset, offset + length <= count, first < end else {
      return
    }
    madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, MADV_DONTNEED)
  }

  /// A little-endian integer at `offset`, which needs no alignment.
  func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, at offset: Int, of field: String
  ) throws(ImportError) -> T {
    try withBytes(at: offset, count: MemoryLayout<T>.size, of: field) { bytes in
      T(littleEndian: bytes.loadUnaligned(as: T.self))
    }
  }
}
