// The GGUF blocks of 256 values with scales of their own inside: Q2_K … Q6_K and IQ4_XS.
// SPDX-License-Identifier: Apache-2.0

/// 84 bytes: u8[16] s, u8[64] q, f16 d, f16 m.
///
/// Element 128h + 32k + i has bits 2k and 2k + 1 of q[32h + i] (h < 2, k < 4, i < 32). Sixteen
/// elements share a scale: group g has x = (d · (s[g] & 15)) · q − m · (s[g] >> 4).
enum Q2K: GGUFBlock {
  static let type = GGUFTensorType.q2K
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, m) = (block.half(80), block.half(82))
    for group in 0..<16 {
      let scale = block[group]
      let dl = d * Float(scale & 15)
      let ml = m * Float(scale >> 4)
      for i in 16 * group..<16 * group + 16 {
        let q = block[16 + 32 * (i / 128) + i % 32] >> UInt8(2 * (i / 32 % 4)) & 3
        out[i] = dl * Float(q) - ml
      }
    }
  }
}

/// 110 bytes: u8[32] h, u8[64] q, u8[12] s, f16 d.
///
/// The low two bits are as in Q2_K; bit k of h[i] belongs to element 32k + i (k < 8), and four is
/// subtracted where it is 0. Scale g of 16 has six bits, minus 32: the low four in the low half of
/// s[g] (g < 8) or the high half of s[g − 8], the others at bit 2·(g / 4) of s[8 + g % 4].
/// x = (d · scale) · q.
enum Q3K: GGUFBlock {
  static let type = GGUFTensorType.q3K
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let d = block.half(108)
    for group in 0..<16 {
      let low = group < 8 ? block[96 + group] & 15 : block[88 + group] >> 4
      let high = block[104 + group % 4] >> UInt8(2 * (group / 4)) & 3
      let dl = d * Float(Int8(low | high << 4) - 32)
      for i in 16 * group..<16 * group + 16 {
        let q = block[32 + 32 * (i / 128) + i % 32] >> UInt8(2 * (i / 32 % 4)) & 3
        let isHigh = block[i % 32] >> UInt8(i / 32) & 1 == 1
        out[i] = dl * Float(Int8(q) - (isHigh ? 0 : 4))
      }
    }
  }
}

/// Scale and minimum of group `g` < 8 of Q4_K and Q5_K, six bits each in u8[12] s at `start`.
///
/// For g < 4 they are the low six bits of s[g] and s[4 + g]; for others the low four bits are the
/// halves of s[4 + g], and the high two are bits 6 and 7 of s[g − 4] and s[g].
private func scaleAndMinimum(_ block: GGUFBytes, at start: Int, _ g: Int) -> (UInt8, UInt8) {
  if g < 4 { return (block[start + g] & 63, block[start + 4 + g] & 63) }
  let low = block[start + 4 + g]
  let (scaleBits, minimumBits) = (block[start + g - 4] >> 6, block[start + g] >> 6)
  return (low & 15 | scaleBits << 4, low >> 4 | minimumBits << 4)
}

/// 144 bytes: f16 d, f16 m, u8[12] s, u8[128] q.
///
/// Element 64h + i has the low half of q[32h + i] and element 64h + 32 + i the high one (h < 4,
/// i < 32). Thirty-two elements share a scale: x = (d · scale) · q − m · minimum.
enum Q4K: GGUFBlock {
  static let type = GGUFTensorType.q4K
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, m) = (block.half(0), block.half(2))
    for group in 0..<8 {
      let (scale, minimum) = scaleAndMinimum(block, at: 4, group)
      let dl = d * Float(scale)
      let ml = m * Float(minimum)
      for i in 0..<32 {
        let q = block[16 + 32 * (group / 2) + i] >> UInt8(4 * (group % 2)) & 15
        out[32 * group + i] = dl * Float(q) - ml
      }
    }
  }
}

/// 176 bytes: f16 d, f16 m, u8[12] s, u8[32] h, u8[128] q.
///
/// As Q4_K; bit g of h[i] is bit 4 of element 32g + i.
enum Q5K: GGUFBlock {
  static let type = GGUFTensorType.q5K
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, m) = (block.half(0), block.half(2))
    for group in 0..<8 {
      let (scale, minimum) = scaleAndMinimum(block, at: 4, group)
      let dl = d * Float(scale)
      let ml = m * Float(minimum)
      for i in 0..<32 {
        let low = block[48 + 32 * (group / 2) + i] >> UInt8(4 * (group % 2)) & 15
        let high = block[16 + i] >> UInt8(group) & 1
        out[32 * group + i] = dl * Float(low | high << 4) - ml
      }
    }
  }
}

/// 210 bytes: u8[128] l, u8[64] h, i8[16] s, f16 d.
///
/// Element 128a + 64b + i has half b of l[64a + i] (a, b < 2, i < 64); element 128a + 32k + i has
/// bits 2k and 2k + 1 of h[32a + i] as its bits 4 and 5 (k < 4, i < 32). Sixteen elements share a
/// scale: x = (d · s[g]) · (q − 32).
enum Q6K: GGUFBlock {
  static let type = GGUFTensorType.q6K
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let d = block.half(208)
    for group in 0..<16 {
      let dl = d * Float(block.signed(192 + group))
      for i in 16 * group..<16 * group + 16 {
        let low = block[64 * (i / 128) + i % 64] >> UInt8(4 * (i / 64 % 2)) & 15
        let high = block[128 + 32 * (i / 128) + i % 32] >> UInt8(2 * (i / 32 % 4)) & 3
        out[i] = dl * Float(Int8(low | high << 4) - 32)
      }
    }
  }
}

/// 136 bytes: f16 d, u16 h, u8[4] l, u8[128] q.
///
/// Scale g of 8 has six bits, minus 32: the low four in half g % 2 of l[g / 2], the others at bit
/// 2g of h. Element 32g + i has the low half of q[16g + i], element 32g + 16 + i the high one
/// (i < 16). x = (d · scale) · iq4Values[q].
enum IQ4XS: GGUFBlock {
  static let type = GGUFTensorType.iq4XS
  static func decode(_ block: GGUFBytes, _ out: GGUFFloats) {
    let (d, h) = (block.half(0), block.word(2))
    for group in 0..<8 {
      let low = block[4 + group / 2] >> UInt8(4 * (group % 2)) & 15
      let high = UInt8(truncatingIfNeeded: h >> UInt16(2 * group) & 3)
      let dl = d * Float(Int8(low | high << 4) - 32)
      for i in 0..<16 {
        let q = block[8 + 16 * group + i]
        out[32 * group + i] = dl * iq4Values[Int(q & 15)]
        out[32 * group + 16 + i] = dl * iq4Values[Int(q >> 4)]
      }
    }
  }
}
