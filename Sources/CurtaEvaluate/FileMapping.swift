// A file mapped or read, as the runtime wants it: its first byte on a page boundary.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Glibc

/// A regular file mapped read-only, or read into large pages; freed when the last reference goes.
///
/// The file must keep its length while it is mapped, as with every mapping.
public final class FileMapping: @unchecked Sendable {
  public let path: String
  /// Valid as long as this object: hold on to it with `withExtendedLifetime`.
  public let bytes: ByteView
  /// What `deinit` unmaps.
  private let space: UnsafeRawBufferPointer?

  /// Throws `HostError.system` for what is not a readable regular file.
  ///
  /// `forRunning`: what is stored in it will be read over and over, which large pages make faster.
  public init(_ path: String, forRunning: Bool = false) throws(HostError) {
    self.path = path
    // Nonblocking, so that a pipe of that name does not hold us up.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileMapping.failure(path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileMapping.failure(path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .system(path: path, reason: "not a regular file")
    }
    let count = Int(status.st_size)
    if count == 0 {
      bytes = ByteView(UnsafeRawPointer(bitPattern: Int(alignment))!, count: 0)
      space = nil
    } else {
      let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
      guard let base, base != MAP_FAILED else { throw FileMapping.failure(path) }
      let mapped = ByteView(base, count: count)
      if forRunning, LargePages.suit(count), FileMapping.isMostlyStored(mapped),
        let read = LargePages.read(descriptor, count)
      {
        munmap(base, count)
        bytes = ByteView(read.base, count: count)
        space = UnsafeRawBufferPointer(read.space)
      } else {
        bytes = mapped
        space = UnsafeRawBufferPointer(start: base, count: count)
      }
    }
  }

  /// Bytes that somebody else keeps alive as long as this.
  init(borrowing bytes: ByteView, path: String) {
    self.path = path
    self.bytes = bytes
    space = nil
  }

  deinit {
    if let space { munmap(UnsafeMutableRawPointer(mutating: space.baseAddress!), space.count) }
  }

  /// Whether half of the file or more is used where it lies: what is compressed is read once.
  private static func isMostlyStored(_ bytes: ByteView) -> Bool {
    guard let file = try? CurtaFile(bytes) else { return false }
    var stored: UInt64 = 0
    for i in 0..<file.dataCount {
      if let section = try? file.data(i), section.codec == .stored { stored += section.size }
    }
    return stored >= UInt64(bytes.count) / 2
  }

  private static func failure(_ path: String) -> HostError {
    .system(path: path, reason: String(cString: strerror(errno)))
  }
}
