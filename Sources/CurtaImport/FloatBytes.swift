// Bytes of a checkpoint to float32 values.
// SPDX-License-Identifier: Apache-2.0

/// How a checkpoint stores a float.
enum FloatCoding: Sendable {
  case float32
  case float16
  case bfloat16

  var width: Int { self == .float32 ? 4 : 2 }
}

/// Little-endian floats as float32, exactly; nil where one is infinite or not a number.
func decodeFloats(_ bytes: UnsafeRawBufferPointer, _ coding: FloatCoding) -> [Float]? {
  var allFinite = true
  let values = [Float](unsafeUninitializedCapacity: bytes.count / coding.width) { values, count in
    count = bytes.count / coding.width
    for i in 0..<count {
      let value: Float
      switch coding {
      case .float32:
        let bits = bytes.loadUnaligned(fromByteOffset: i * 4, as: UInt32.self)
        value = Float(bitPattern: UInt32(littleEndian: bits))
      case .float16:
        let bits = bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)
        value = Float(Float16(bitPattern: UInt16(littleEndian: bits)))
      case .bfloat16:
        let bits = bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)
        value = Float(bitPattern: UInt32(UInt16(littleEndian: bits)) << 16)
      }
      allFinite = allFinite && value.isFinite
      values[i] = value
    }
  }
  return allFinite ? values : nil
}
