// A bounds-checked window on bytes: the only way the reader touches a file.
// SPDX-License-Identifier: Apache-2.0

/// Bytes that somebody else owns and keeps alive.
///
/// `view(_:_:)` is the one function that makes a window, and every load is checked. Integers are
/// little-endian and need no alignment.
public struct ByteView: @unchecked Sendable {
  public let base: UnsafeRawPointer
  public let count: Int

  public init(_ base: UnsafeRawPointer, count: Int) {
    self.base = base
    self.count = count
  }

  /// The `length` bytes from `offset` on, or `truncated` where they do not all exist.
  public func view(_ offset: UInt64, _ length: UInt64) throws(CurtaError) -> ByteView {
    let size = UInt64(count)
    guard offset <= size, length <= size - offset else {
      throw CurtaError(.truncated, at: offset)
    }
    return ByteView(base + Int(offset), count: Int(length))
  }

  @inline(__always)
  private func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ offset: Int
  ) throws(CurtaError) -> T {
    guard offset >= 0, offset <= count, MemoryLayout<T>.size <= count - offset else {
      throw CurtaError(.truncated, at: offset < 0 ? 0 : UInt64(offset))
    }
    return T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  public func u8(_ offset: Int) throws(CurtaError) -> UInt8 { try load(UInt8.self, offset) }
  public func u16(_ offset: Int) throws(CurtaError) -> UInt16 { try load(UInt16.self, offset) }
  public func u32(_ offset: Int) throws(CurtaError) -> UInt32 { try load(UInt32.self, offset) }
  public func i32(_ offset: Int) throws(CurtaError) -> Int32 { try load(Int32.self, offset) }
  public func u64(_ offset: Int) throws(CurtaError) -> UInt64 { try load(UInt64.self, offset) }

  /// Whether every byte is zero.
  public var isZero: Bool {
    for i in 0..<count where base.load(fromByteOffset: i, as: UInt8.self) != 0 { return false }
    return true
  }
}
