// Decodes GGUF tensors to float32, bit for bit as the `gguf` Python package does.
// SPDX-License-Identifier: Apache-2.0

/// The values of whole blocks of a type, in float32; nil where one is infinite or not a number.
///
/// Products and sums are rounded in the order of ggml's reference code, none fused. The type must
/// be decodable and `bytes` a whole number of blocks; else the result is nil as well.
func decodeGGUF(_ bytes: UnsafeRawBufferPointer, _ type: GGUFTensorType) -> [Float]? {
  guard bytes.count % type.blockBytes == 0 else { return nil }
  switch type {
  case .f32: return decodeFloats(bytes, .float32)
  case .f16: return decodeFloats(bytes, .float16)
  case .bf16: return decodeFloats(bytes, .bfloat16)
  case .q40: return decodeBlocks(bytes, Q4_0.self)
  case .q41: return decodeBlocks(bytes, Q4_1.self)
  case .q50: return decodeBlocks(bytes, Q5_0.self)
  case .q51: return decodeBlocks(bytes, Q5_1.self)
  case .q80: return decodeBlocks(bytes, Q8_0.self)
  case .q2K: return decodeBlocks(bytes, Q2K.self)
  case .q3K: return decodeBlocks(bytes, Q3K.self)
  case .q4K: return decodeBlocks(bytes, Q4K.self)
  case .q5K: return decodeBlocks(bytes, Q5K.self)
  case .q6K: return decodeBlocks(bytes, Q6K.self)
  case .iq4NL: return decodeBlocks(bytes, IQ4NL.self)
  case .iq4XS: return decodeBlocks(bytes, IQ4XS.self)
  default: return nil
  }
}

/// A block of quantized values: how large it is and what it means.
protocol GGUFBlock {
  static var type: GGUFTensorType { get }
  /// Writes `type.blockElements` values of a block of `type.blockBytes` bytes.
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats)
}

/// The bytes of one block; `decodeBlocks` has seen that they are there.
struct GGUFBytes {
  fileprivate let start: UnsafeRawPointer

  subscript(_ index: Int) -> UInt8 {
    start.load(fromByteOffset: index, as: UInt8.self)
  }

  /// A signed byte.
  func signed(_ index: Int) -> Int8 { Int8(bitPattern: self[index]) }

  func word(_ index: Int) -> UInt16 { UInt16(self[index]) | UInt16(self[index + 1]) << 8 }

  func doubleWord(_ index: Int) -> UInt32 {
    UInt32(word(index)) | UInt32(word(index + 2)) << 16
  }

  /// A half-precision float, exactly.
  func half(_ index: Int) -> Float { Float(Float16(bitPattern: word(index))) }
}

/// Room for the values of one block.
struct GGUFFloats {
  fileprivate let start: UnsafeMutablePointer<Float>

  subscript(_ index: Int) -> Float {
    get { start[index] }
    nonmutating set { start[index] = newValue }
  }
}

private func decodeBlocks<Block: GGUFBlock>(
  _ bytes: UnsafeRawBufferPointer, _ block: Block.Type
) -> [Float]? {
  let (elements, stride) = (Block.type.blockElements, Block.type.blockBytes)
  guard let source = bytes.baseAddress else { return [] }
  let blocks = bytes.count / stride
  var allFinite = true
  let values = [Float](unsafeUninitializedCapacity: blocks * elements) { values, count in
    count = blocks * elements
    guard let target = values.baseAddress else { return }
    for i in 0..<blocks {
      let out = GGUFFloats(start: target + i * elements)
      Block.decode(GGUFBytes(start: source + i * stride), out)
      for j in 0..<elements { allFinite = allFinite && out[j].isFinite }
    }
  }
  return allFinite ? values : nil
}

// MARK: - Blocks of 32

/// 18 bytes: f16 d, u8[16] q. Element i < 16 has the low half of q[i], element 16 + i the high one.
/// x = d · (q − 8).
enum Q4_0: GGUFBlock {
  static let type = GGUFTensorType.q40
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let d = block.half(0)
    for i in 0..<16 {
      let q = block[2 + i]
      out[i] = d * Float(Int8(q & 15) - 8)
      out[16 + i] = d * Float(Int8(q >> 4) - 8)
    }
  }
}

/// 20 bytes: f16 d, f16 m, u8[16] q as in Q4_0. x = d · q + m.
enum Q4_1: GGUFBlock {
  static let type = GGUFTensorType.q41
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, m) = (block.half(0), block.half(2))
    for i in 0..<16 {
      let q = block[4 + i]
      out[i] = d * Float(q & 15) + m
      out[16 + i] = d * Float(q >> 4) + m
    }
  }
}

/// 22 bytes: f16 d, u32 h, u8[16] q as in Q4_0. Bit i of h is bit 4 of element i.
/// x = d · (q − 16).
enum Q5_0: GGUFBlock {
  static let type = GGUFTensorType.q50
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, h) = (block.half(0), block.doubleWord(2))
    for i in 0..<16 {
      let q = block[6 + i]
      let low = q & 15 | UInt8(truncatingIfNeeded: h >> UInt32(i) & 1) << 4
      let high = q >> 4 | UInt8(truncatingIfNeeded: h >> UInt32(16 + i) & 1) << 4
      out[i] = d * Float(Int8(low) - 16)
      out[16 + i] = d * Float(Int8(high) - 16)
    }
  }
}

/// 24 bytes: f16 d, f16 m, u32 h, u8[16] q as in Q5_0. x = d · q + m.
enum Q5_1: GGUFBlock {
  static let type = GGUFTensorType.q51
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, m, h) = (block.half(0), block.half(2), block.doubleWord(4))
    for i in 0..<16 {
      let q = block[8 + i]
      let low = q & 15 | UInt8(truncatingIfNeeded: h >> UInt32(i) & 1) << 4
      let high = q >> 4 | UInt8(truncatingIfNeeded: h >> UInt32(16 + i) & 1) << 4
      out[i] = d * Float(low) + m
      out[16 + i] = d * Float(high) + m
    }
  }
}

/// 34 bytes: f16 d, i8[32] q. x = d · q.
enum Q8_0: GGUFBlock {
  static let type = GGUFTensorType.q80
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let d = block.half(0)
    for i in 0..<32 { out[i] = d * Float(block.signed(2 + i)) }
  }
}

/// The 16 values of IQ4_NL and IQ4_XS, denser near zero.
let iq4Values: [Float] = [
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
]

/// 18 bytes: f16 d, u8[16] q as in Q4_0. x = d · iq4Values[q].
enum IQ4NL: GGUFBlock {
  static let type = GGUFTensorType.iq4NL
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let d = block.half(0)
    for i in 0..<16 {
      let q = block[2 + i]
      out[i] = d * iq4Values[Int(q & 15)]
      out[16 + i] = d * iq4Values[Int(q >> 4)]
    }
  }
}
