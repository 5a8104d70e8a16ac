// Memory in large pages where the system gives them: a third more of what it reads a second.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import Glibc

/// What the processor reads again for every token: a page of 4 KiB costs a walk through tables each.
enum LargePages {
  static let size = 2 << 20

  /// Whether so many bytes gain from large pages and leave the computer three times as many.
  static func suit(_ count: Int) -> Bool {
    count >= 2 * size && UInt64(count) <= HostSession.physicalMemory / 4
  }

  /// Asks for large pages under memory that begins on one; the system may refuse.
  static func advise(_ memory: UnsafeMutableRawPointer, _ count: Int) {
    madvise(memory, count, 14)  // MADV_HUGEPAGE
  }

  /// `count` bytes of a file in memory of their own; nil when it cannot be had. `munmap` frees
  /// `space`. All processors copy: the system clears each page before.
  static func read(
    _ descriptor: Int32, _ count: Int
  ) -> (base: UnsafeMutableRawPointer, space: UnsafeMutableRawBufferPointer)? {
    let length = count + size
    let start = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start, start != MAP_FAILED else { return nil }
    let base = start.alignedUp(toMultipleOf: size)
    advise(base, count)
    let piece = 16 * size
    let read = concurrentMap((count + piece - 1) / piece) { i in
      fill(base + i * piece, min(count - i * piece, piece), descriptor, from: i * piece)
    }
    guard !read.contains(false) else {
      munmap(start, length)
      return nil
    }
    mprotect(base, count, PROT_READ)
    return (base, UnsafeMutableRawBufferPointer(start: start, count: length))
  }

  /// Whether `count` bytes from `offset` on could be read.
  private static func fill(
    _ target: UnsafeMutableRawPointer, _ count: Int, _ descriptor: Int32, from offset: Int
  ) -> Bool {
    var done = 0
    while done < count {
      let got = pread(descriptor, target + done, count - done, off_t(offset + done))
      if got < 0, errno == EINTR { continue }
      guard got > 0 else { return false }
      done += got
    }
    return true
  }
}
