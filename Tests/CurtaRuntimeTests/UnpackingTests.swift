// Packed codes of every width against their definition, a bit at a time, alone and by threads.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct UnpackingTests {
  /// Code `i` of a block, less zero: its fields of 4, of 2 and of 1 bits (curta-file.md), read one
  /// after the other.
  private func code(_ block: ArraySlice<UInt8>, _ bits: Int, _ i: Int) -> Int {
    var (value, shift, start) = (0, 0, block.startIndex)
    if bits & 4 != 0 {
      value = Int(block[start + i % 16]) >> (i < 16 ? 0 : 4) & 15
      (shift, start) = (4, start + 16)
    }
    if bits & 2 != 0 {
      value |= (Int(block[start + i % 8]) >> (2 * (i / 8)) & 3) << shift
      (shift, start) = (shift + 2, start + 8)
    }
    if bits & 1 != 0 {
      value |= (Int(block[start + i % 4]) >> (i / 4) & 1) << shift
    }
    return value - 1 << (bits - 1)
  }

  @Test func everySix() {
    var random = SeededRandom.announced("packed codes of 6 bits where they lie")
    let packed = (0..<3 * 24).map { _ in UInt8(random.below(256)) }
    packed.withUnsafeBytes { from in
      for at in 0..<96 {
        let block = at / 32 * 24
        #expect(
          from.baseAddress!.six(block, at % 32) == code(packed[block..<block + 24], 6, at % 32))
      }
    }
  }

  @Test(arguments: [2, 3, 5, 6, 7], [1, 2, 7] as [UInt32])
  func everyCode(_ bits: Int, _ threads: UInt32) {
    var random = SeededRandom.announced("packed codes of \(bits) bits")
    let blocks = Unpacking.few + 5
    let packed = (0..<blocks * 4 * bits).map { _ in UInt8(random.below(256)) }
    var options = curta_default_options()
    if threads > 1 { options.parallel = Runner.threads.function }
    for toNibbles in bits < 4 ? [false, true] : [false] {
      var out = [UInt8](repeating: 0, count: blocks * (toNibbles ? 16 : 32))
      packed.withUnsafeBytes { from in
        out.withUnsafeMutableBytes { to in
          Unpacking(
            blocks: blocks, bits: UInt64(bits), toNibbles: toNibbles, packed: from.baseAddress!,
            out: to.baseAddress!
          ).run(options, threads: threads)
        }
      }
      let wrong = (0..<blocks * 32).filter { at in
        let (b, i) = (at / 32, at % 32)
        let expected = code(packed[b * 4 * bits..<(b + 1) * 4 * bits], bits, i)
        let found =
          toNibbles
          ? Int(out[b * 16 + i % 16]) >> (i < 16 ? 0 : 4) & 15 - 8
          : Int(Int8(bitPattern: out[at]))
        return found != expected
      }
      #expect(wrong.isEmpty, "first wrong: \(wrong.first ?? 0), to nibbles: \(toNibbles)")
    }
  }
}
