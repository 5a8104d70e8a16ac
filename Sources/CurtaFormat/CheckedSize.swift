// The one type for arithmetic on sizes and offsets that come from a file.
// SPDX-License-Identifier: Apache-2.0

/// A byte count or offset whose sums and products fail instead of wrapping.
///
/// Every field read from a file becomes a `CheckedSize` before it is added or multiplied. The
/// result is at most 2^62, so that it also converts to a signed 64-bit `Int`.
public struct CheckedSize: Equatable, Comparable, Sendable {
  public let value: UInt64

  /// The largest value a size may have: 2^62.
  public static let maximum: UInt64 = 1 << 62

  public init(_ value: UInt64) throws(CurtaError) {
    guard value <= CheckedSize.maximum else { throw CurtaError(.badSize) }
    self.value = value
  }

  public init(_ value: UInt32) { self.value = UInt64(value) }

  private init(unchecked value: UInt64) { self.value = value }

  public static let zero = CheckedSize(unchecked: 0)

  public func plus(_ other: CheckedSize) throws(CurtaError) -> CheckedSize {
    try CheckedSize(value + other.value)  // both at most 2^62: the sum fits in 64 bits
  }

  public func plus(_ other: UInt64) throws(CurtaError) -> CheckedSize {
    try plus(CheckedSize(other))
  }

  public func times(_ other: CheckedSize) throws(CurtaError) -> CheckedSize {
    let (product, overflow) = value.multipliedReportingOverflow(by: other.value)
    guard !overflow else { throw CurtaError(.badSize) }
    return try CheckedSize(product)
  }

  public func times(_ other: UInt64) throws(CurtaError) -> CheckedSize {
    try times(CheckedSize(other))
  }

  /// Rounds up to a multiple of `alignment`, a power of two.
  public func aligned(to alignment: UInt64) throws(CurtaError) -> CheckedSize {
    try CheckedSize((value + (alignment - 1)) & ~(alignment - 1))
  }

  /// The value as an `Int`, which on a 32-bit target may not hold it.
  public func int() throws(CurtaError) -> Int {
    guard value <= UInt64(Int.max) else { throw CurtaError(.overLimit) }
    return Int(value)
  }

  public static func < (a: CheckedSize, b: CheckedSize) -> Bool { a.value < b.value }
}
