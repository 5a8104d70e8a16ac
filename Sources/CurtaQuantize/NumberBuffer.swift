// Memory that inner loops address by pointer, fenced in one type.
// SPDX-License-Identifier: Apache-2.0

/// `count` numbers, zeros at first, at an address that does not change; freed with the last reference.
///
/// Whoever shares one between threads writes it from one of them only, before the others read.
final class NumberBuffer<Number: Numeric & BitwiseCopyable>: @unchecked Sendable {
  let base: UnsafeMutablePointer<Number>
  let count: Int

  init(_ count: Int) {
    self.count = count
    base = UnsafeMutablePointer<Number>.allocate(capacity: max(count, 1))
    base.initialize(repeating: 0, count: count)
  }

  /// A copy of `other`.
  init(copying other: NumberBuffer) {
    count = other.count
    base = UnsafeMutablePointer<Number>.allocate(capacity: max(count, 1))
    base.initialize(from: other.base, count: count)
  }

  deinit { base.deallocate() }

  @inline(__always)
  subscript(index: Int) -> Number {
    get {
      assert(index >= 0 && index < count)
      return base[index]
    }
    set {
      assert(index >= 0 && index < count)
      base[index] = newValue
    }
  }
}

extension NumberBuffer<Float> {
  typealias Lanes = SIMD8<Float>

  /// Eight numbers from `index` on.
  @inline(__always)
  func lanes(_ index: Int) -> Lanes {
    assert(index >= 0 && index + 8 <= count)
    return UnsafeRawPointer(base + index).loadUnaligned(as: Lanes.self)
  }

  /// Writes eight numbers from `index` on.
  @inline(__always)
  func setLanes(_ lanes: Lanes, _ index: Int) {
    assert(index >= 0 && index + 8 <= count)
    UnsafeMutableRawPointer(base + index).storeBytes(of: lanes, as: Lanes.self)
  }
}
