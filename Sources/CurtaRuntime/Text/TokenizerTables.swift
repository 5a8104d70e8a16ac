// The three things a tokenizer section is read with: words, a cutter and a set of bytes.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Little-endian 32-bit words at any address; the owner has checked that they exist.
struct Words {
  let base: UnsafeRawPointer
  let count: Int

  /// Word `i`, 0 ≤ i < count: the caller answers for it.
  subscript(i: Int) -> UInt32 {
    UInt32(littleEndian: base.loadUnaligned(fromByteOffset: i &* 4, as: UInt32.self))
  }
}

/// Cuts a section into its tables, which follow each other without gaps.
struct Cutter {
  private let section: ByteView
  private var offset: CheckedSize

  init(_ section: ByteView) {
    self.section = section
    offset = CheckedSize(UInt32(TokenizerHeader.size))
  }

  /// The next `count` records of `each` words.
  mutating func words(_ count: UInt32, each: UInt64) throws(CurtaError) -> Words {
    let table = try take(CheckedSize(count).times(4 * each))
    return Words(base: table.base, count: table.count / 4)
  }

  /// The next `count` bytes.
  mutating func bytes(_ count: UInt32) throws(CurtaError) -> UnsafePointer<UInt8> {
    try take(CheckedSize(count)).base.assumingMemoryBound(to: UInt8.self)
  }

  /// Checks that nothing is left.
  func finish() throws(CurtaError) {
    guard offset.value == UInt64(section.count) else {
      throw Tokenizer.bad(TokenizerHeader.textBytes)
    }
  }

  private mutating func take(_ size: CheckedSize) throws(CurtaError) -> ByteView {
    let end = try offset.plus(size)
    guard end.value <= UInt64(section.count) else { throw Tokenizer.bad(section.count) }
    let view = try section.view(offset.value, size.value)
    offset = end
    return view
  }
}

/// A set of byte values.
struct ByteSet {
  private var a: UInt64 = 0
  private var b: UInt64 = 0
  private var c: UInt64 = 0
  private var d: UInt64 = 0

  mutating func insert(_ byte: UInt8) {
    let bit = UInt64(1) << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: a |= bit
    case 1: b |= bit
    case 2: c |= bit
    default: d |= bit
    }
  }

  func contains(_ byte: UInt8) -> Bool {
    let word =
      switch byte >> 6 {
      case 0: a
      case 1: b
      case 2: c
      default: d
      }
    return word >> UInt64(byte & 63) & 1 != 0
  }
}
