// Packed blocks against a bit-by-bit formula and the specification's example.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Testing

@testable import CurtaWrite

@Suite struct PackingTests {
  /// One bit of one code, where the definition of the planes puts it: a plane of width w whose
  /// lowest bit is `low` starts at byte 4 · low of the block.
  private func naive(_ codes: [Int8], rows: Int, columns: Int, bits: Int) -> [UInt8] {
    let planes: [Int: [(low: Int, width: Int)]] = [
      2: [(0, 2)], 3: [(0, 2), (2, 1)], 4: [(0, 4)], 5: [(0, 4), (4, 1)], 6: [(0, 4), (4, 2)],
      7: [(0, 4), (4, 2), (6, 1)], 8: [(0, 8)],
    ]
    let blocks = (columns + 31) / 32
    var bytes = [UInt8](repeating: 0, count: rows * blocks * 4 * bits)
    for row in 0..<rows {
      for column in 0..<blocks * 32 {
        let code = column < columns ? Int(codes[row * columns + column]) : 0
        let u = bits == 8 ? code & 255 : code + (1 << (bits - 1))
        let block = (row * blocks + column / 32) * 4 * bits
        let i = column % 32
        for (low, width) in planes[bits]! {
          for bit in 0..<width where u >> (low + bit) & 1 == 1 {
            bytes[block + 4 * low + i % (4 * width)] |= 1 << UInt8(width * (i / (4 * width)) + bit)
          }
        }
      }
    }
    return bytes
  }

  @Test(arguments: 2...8)
  func matchesTheNaiveFormula(bits: Int) {
    var generator = SeededRandom.announced("packing of \(bits) bits")
    for columns in [1, 2, 31, 32, 33, 64, 65, 100] {
      for rows in [1, 3] {
        let codes = (0..<rows * columns).map { _ in
          Int8(Int.random(in: Packing.range(bits: bits), using: &generator))
        }
        let packed = Packing.pack(codes, rows: rows, columns: columns, bits: bits)
        #expect(packed == naive(codes, rows: rows, columns: columns, bits: bits))
        #expect(packed.count == Packing.size(rows: rows, columns: columns, bits: bits))
      }
    }
  }

  /// `curta-encodings.md` section 2, "Worked example".
  @Test func matchesTheWorkedExample() {
    let codes = (0..<32).map { Int8($0 % 8 - 4) }
    #expect(
      Packing.pack(codes, rows: 1, columns: 32, bits: 3)
        == [0x00, 0x55, 0xAA, 0xFF, 0x00, 0x55, 0xAA, 0xFF, 0xAA, 0xAA, 0xAA, 0xAA])
  }
}
