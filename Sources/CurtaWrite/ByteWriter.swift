// Little-endian integers appended to an array of bytes.
// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
  /// Appends the bytes of `value`, lowest first.
  mutating func append<T: FixedWidthInteger>(little value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Appends every value, each with its lowest byte first.
  mutating func append<T: FixedWidthInteger>(littleValues values: [T]) {
    reserveCapacity(count + values.count * MemoryLayout<T>.size)
    #if _endian(little)
      values.withUnsafeBytes { append(contentsOf: $0) }
    #else
      for value in values { append(little: value) }
    #endif
  }

  /// Appends `count` zero bytes.
  mutating func append(zeros count: Int) {
    append(contentsOf: repeatElement(0, count: count))
  }
}

/// `value` as a u32 field, or an error naming the part and the field.
func field(_ value: Int, _ name: String, of part: String) throws(WriteError) -> UInt32 {
  guard let word = UInt32(exactly: value) else {
    throw .invalid(part: part, reason: "\(name) \(value) does not fit in 32 bits")
  }
  return word
}
