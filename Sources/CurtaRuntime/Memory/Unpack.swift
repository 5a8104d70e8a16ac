// Packed codes of 2, 3, 5, 6 or 7 bits to nibbles or signed bytes.
// SPDX-License-Identifier: Apache-2.0

import CCurta

/// The blocks of a tensor that are to be unpacked.
struct Unpacking {
  let blocks: Int
  let bits: UInt64
  let toNibbles: Bool
  let packed: UnsafeRawPointer
  let out: UnsafeMutableRawPointer

  /// Blocks below which waking other threads costs more than it saves.
  static let few = 1 << 12

  func run(_ options: curta_options, threads: UInt32) {
    guard threads > 1, blocks >= Unpacking.few, let parallel = options.parallel else {
      part(0, of: 1)
      return
    }
    var job = self
    withUnsafeMutablePointer(to: &job) {
      parallel(
        options.parallel_context,
        { argument, part, parts in
          guard let argument else { return }
          argument.assumingMemoryBound(to: Unpacking.self).pointee
            .part(Int(part), of: Int(parts))
        }, UnsafeMutableRawPointer($0), threads)
    }
  }

  func part(_ part: Int, of parts: Int) {
    let share = SessionState.share(blocks, part, parts)
    unpackBlocks(
      share.count, bits: bits, toNibbles: toNibbles,
      from: packed + share.lowerBound * 4 * Int(bits),
      to: out + share.lowerBound * (toNibbles ? 16 : 32))
  }
}

extension UnsafeRawPointer {
  /// Code `i` of 32 of 6 bits, whose block begins `at` bytes from here.
  func six(_ at: Int, _ i: Int) -> Int64 {
    let four = load(fromByteOffset: at + i % 16, as: UInt8.self) &>> (i < 16 ? 0 : 4) & 15
    let two = load(fromByteOffset: at + 16 + i % 8, as: UInt8.self) &>> UInt8(i / 8 * 2) & 3
    return Int64(four) + Int64(two) * 16 - 32
  }
}

/// Expands `blocks` blocks of 32 codes of `bits` bits: their fields of 4, of 2 and of 1 bits lie in
/// 16, 8 and 4 bytes after each other. Eight codes go through a word at once. A code of up to four bits
/// may become a nibble, code + 8: code i of a block is in the lower half of byte i, 16 + i in the upper.
func unpackBlocks(
  _ blocks: Int, bits: UInt64, toNibbles: Bool, from packed: UnsafeRawPointer,
  to out: UnsafeMutableRawPointer
) {
  let ones: UInt64 = 0x0101_0101_0101_0101
  let zero = ones << (bits - 1)
  var source = packed
  var target = out
  for _ in 0..<blocks {
    // Eight codes in each word; no field reaches into the next byte.
    var words = InlineArray<4, UInt64>(repeating: 0)
    var low: UInt64 = 0
    if bits & 4 != 0 {
      for half in 0..<2 {
        let x = UInt64(
          littleEndian: source.loadUnaligned(fromByteOffset: 8 * half, as: UInt64.self))
        words[half] = x & (ones &* 15)
        words[2 + half] = (x &>> 4) & (ones &* 15)
      }
      source += 16
      low = 4
    }
    if bits & 2 != 0 {
      let x = UInt64(littleEndian: source.loadUnaligned(as: UInt64.self))
      for i in 0..<4 { words[i] |= ((x &>> UInt64(2 * i)) & (ones &* 3)) &<< low }
      source += 8
      low += 2
    }
    if bits & 1 != 0 {
      let x = UInt64(UInt32(littleEndian: source.loadUnaligned(as: UInt32.self)))
      for i in 0..<4 {
        let first = (x &>> UInt64(2 * i)) & 0x0101_0101
        let second = (x &>> UInt64(2 * i + 1)) & 0x0101_0101
        words[i] |= (first | second &<< 32) &<< low
      }
      source += 4
    }
    if toNibbles {
      for i in 0..<2 {
        let low = words[i] &+ (ones &* 8 &- zero)
        let high = words[i + 2] &+ (ones &* 8 &- zero)
        target.storeBytes(
          of: (low | high &<< 4).littleEndian, toByteOffset: 8 * i, as: UInt64.self)
      }
      target += 16
      continue
    }
    // Less zero in each byte: with 128 added first, and taken away after, none borrows.
    for i in 0..<4 {
      let code = ((words[i] | ones &* 128) &- zero) ^ (ones &* 128)
      target.storeBytes(of: code.littleEndian, toByteOffset: 8 * i, as: UInt64.self)
    }
    target += 32
  }
}
