// XXH64, seed 0: the hash of the header, the directory and every section.
// SPDX-License-Identifier: Apache-2.0

private let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
private let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
private let prime3: UInt64 = 0x1656_67B1_9E37_79F9
private let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
private let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

@inline(__always)
private func rotate(_ x: UInt64, _ n: UInt64) -> UInt64 { (x &<< n) | (x &>> (64 &- n)) }

@inline(__always)
private func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
  rotate(lane &+ input &* prime2, 31) &* prime1
}

@inline(__always)
private func merge(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
  (hash ^ round(0, lane)) &* prime1 &+ prime4
}

/// The 64-bit xxHash (Y. Collet) of `bytes`, seed 0.
public func xxh64(_ bytes: ByteView) -> UInt64 {
  // `at` stays below `count` in every loop, so the loads need no check of their own.
  let base = bytes.base
  let count = bytes.count
  @inline(__always) func u64(_ at: Int) -> UInt64 {
    UInt64(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt64.self))
  }
  var at = 0
  var hash: UInt64
  if count >= 32 {
    var a = prime1 &+ prime2
    var b = prime2
    var c: UInt64 = 0
    var d = 0 &- prime1
    while count &- at >= 32 {
      a = round(a, u64(at))
      b = round(b, u64(at &+ 8))
      c = round(c, u64(at &+ 16))
      d = round(d, u64(at &+ 24))
      at = at &+ 32
    }
    hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
    hash = merge(hash, a)
    hash = merge(hash, b)
    hash = merge(hash, c)
    hash = merge(hash, d)
  } else {
    hash = prime5
  }
  hash = hash &+ UInt64(truncatingIfNeeded: count)
  while count &- at >= 8 {
    hash = rotate(hash ^ round(0, u64(at)), 27) &* prime1 &+ prime4
    at = at &+ 8
  }
  if count &- at >= 4 {
    let word = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    hash = rotate(hash ^ UInt64(word) &* prime1, 23) &* prime2 &+ prime3
    at = at &+ 4
  }
  while at < count {
    let byte = base.load(fromByteOffset: at, as: UInt8.self)
    hash = rotate(hash ^ UInt64(byte) &* prime5, 11) &* prime1
    at = at &+ 1
  }
  hash = (hash ^ (hash &>> 33)) &* prime2
  hash = (hash ^ (hash &>> 29)) &* prime3
  return hash ^ (hash &>> 32)
}
