// XXH64 and SHA-256, written apart from the product's.
// SPDX-License-Identifier: Apache-2.0

/// XXH64, seed 0, over a list of bytes. Written for speed without optimization.
public func referenceXXH64(_ bytes: some Sequence<UInt8>) -> UInt64 {
  let whole = bytes.withContiguousStorageIfAvailable { referenceXXH64($0) }
  return whole ?? Array(bytes).withUnsafeBufferPointer { referenceXXH64($0) }
}

private func referenceXXH64(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
  let p1: UInt64 = 11_400_714_785_074_694_791
  let p2: UInt64 = 14_029_467_366_897_019_727
  let p3: UInt64 = 1_609_587_929_392_839_161
  let p4: UInt64 = 9_650_029_242_287_828_579
  let p5: UInt64 = 2_870_177_450_012_600_261
  let raw = UnsafeRawBufferPointer(bytes)
  let words = raw.count / 32 * 4
  var hash = p5
  if words > 0 {
    var lanes = (p1 &+ p2, p2, UInt64(0), 0 &- p1)
    var at = 0
    while at < 8 * words {
      var x = lanes.0 &+ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self) &* p2
      lanes.0 = (x &<< 31 | x &>> 33) &* p1
      x = lanes.1 &+ raw.loadUnaligned(fromByteOffset: at &+ 8, as: UInt64.self) &* p2
      lanes.1 = (x &<< 31 | x &>> 33) &* p1
      x = lanes.2 &+ raw.loadUnaligned(fromByteOffset: at &+ 16, as: UInt64.self) &* p2
      lanes.2 = (x &<< 31 | x &>> 33) &* p1
      x = lanes.3 &+ raw.loadUnaligned(fromByteOffset: at &+ 24, as: UInt64.self) &* p2
      lanes.3 = (x &<< 31 | x &>> 33) &* p1
      at = at &+ 32
    }
    hash = (lanes.0 &<< 1 | lanes.0 &>> 63) &+ (lanes.1 &<< 7 | lanes.1 &>> 57)
    hash = hash &+ (lanes.2 &<< 12 | lanes.2 &>> 52) &+ (lanes.3 &<< 18 | lanes.3 &>> 46)
    for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
      let x = lane &* p2
      hash = (hash ^ (x &<< 31 | x &>> 33) &* p1) &* p1 &+ p4
    }
  }
  hash = hash &+ UInt64(raw.count)
  var at = 8 * words
  while raw.count - at >= 8 {
    let x = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self) &* p2
    hash ^= (x &<< 31 | x &>> 33) &* p1
    hash = (hash &<< 27 | hash &>> 37) &* p1 &+ p4
    at += 8
  }
  if raw.count - at >= 4 {
    hash ^= UInt64(raw.loadUnaligned(fromByteOffset: at, as: UInt32.self)) &* p1
    hash = (hash &<< 23 | hash &>> 41) &* p2 &+ p3
    at += 4
  }
  while at < raw.count {
    hash ^= UInt64(raw[at]) &* p5
    hash = (hash &<< 11 | hash &>> 53) &* p1
    at += 1
  }
  hash = (hash ^ hash >> 33) &* p2
  hash = (hash ^ hash >> 29) &* p3
  return hash ^ hash >> 32
}

// The fractions of the square roots of the first 8 primes, and of the cube roots of the first 64.
private let start: [UInt32] = [
  0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C,
  0x1F83_D9AB, 0x5BE0_CD19,
]
private let constants: [UInt32] = [
  0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1,
  0x923F_82A4, 0xAB1C_5ED5, 0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3,
  0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174, 0xE49B_69C1, 0xEFBE_4786,
  0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
  0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147,
  0x06CA_6351, 0x1429_2967, 0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13,
  0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85, 0xA2BF_E8A1, 0xA81A_664B,
  0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
  0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A,
  0x5B9C_CA4F, 0x682E_6FF3, 0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208,
  0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
]

/// SHA-256 (FIPS 180-4) as lower-case hexadecimal.
public func sha256(_ message: [UInt8]) -> String {
  func right(_ x: UInt32, _ n: UInt32) -> UInt32 { x >> n | x << (32 - n) }
  var h = start
  var padded = message + [0x80]
  while padded.count % 64 != 56 { padded.append(0) }
  let length = UInt64(message.count) * 8
  padded += (0..<8).map { UInt8(truncatingIfNeeded: length >> UInt64(56 - 8 * $0)) }
  for at in stride(from: 0, to: padded.count, by: 64) {
    var w = (0..<16).map { i in
      padded[at + 4 * i..<at + 4 * i + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }
    for i in 16..<64 {
      let a = right(w[i - 15], 7) ^ right(w[i - 15], 18) ^ w[i - 15] >> 3
      let b = right(w[i - 2], 17) ^ right(w[i - 2], 19) ^ w[i - 2] >> 10
      w.append(w[i - 16] &+ a &+ w[i - 7] &+ b)
    }
    var s = h
    for i in 0..<64 {
      let e = right(s[4], 6) ^ right(s[4], 11) ^ right(s[4], 25)
      let t = s[7] &+ e &+ (s[4] & s[5] ^ ~s[4] & s[6]) &+ constants[i] &+ w[i]
      let a = right(s[0], 2) ^ right(s[0], 13) ^ right(s[0], 22)
      let u = a &+ (s[0] & s[1] ^ s[0] & s[2] ^ s[1] & s[2])
      s = [t &+ u, s[0], s[1], s[2], s[3] &+ t, s[4], s[5], s[6]]
    }
    for i in 0..<8 { h[i] = h[i] &+ s[i] }
  }
  let digits = Array("0123456789abcdef")
  return String(h.flatMap { x in (0..<8).map { digits[Int(x >> UInt32(28 - 4 * $0) & 15)] } })
}
