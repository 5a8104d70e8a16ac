// What integers stand for, the shift of products, wide tensors and phases.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

@Suite struct QuantizedTensorTests {
  @Test func dequantizedIsTheFormula() {
    let tensor = GridTensor(
      rows: 2, columns: 34, bits: 4, group: 32, exponent: 10,
      codes: (0..<68).map { Int8($0 % 16 - 8) }, mantissas: [3, 65535],
      groupScales: [0, 255, 7, 1], groupOffsets: [-5, 32767, 0, -32767])
    let values = tensor.dequantized()
    for row in 0..<2 {
      for column in 0..<34 {
        let g = row * 2 + column / 32
        let (s, o) = (Double([0, 255, 7, 1][g]), Double([-5, 32767, 0, -32767][g]))
        let code = Double((row * 34 + column) % 16 - 8)
        let expected = Double([3, 65535][row]) * (s * code + o) / 1024
        #expect(values[row, column] == Float(expected))
      }
    }
    let quantized = QuantizedTensor(name: "w", .grid(tensor))
    #expect(quantized.byteSize == 2 * 2 * 16 + 4 + 4 + 8)
    #expect(quantized.bitsPerWeight == 80.0 * 8 / 68)
  }

  @Test func prunedCellsAreZero() {
    var mask = BlockMask(rows: 18, columns: 70)
    mask.survives = [true, false, false, false, true, true]
    func lives(_ row: Int, _ column: Int) -> Bool { row < 16 ? column < 32 : column >= 32 }
    var codes: [Int8] = []
    for i in 0..<18 * 70 { codes.append(lives(i / 70, i % 70) ? Int8(i % 7 - 3) : 0) }
    var tensor = GridTensor(
      rows: 18, columns: 70, bits: 4, group: 32, exponent: 0, codes: codes,
      mantissas: [UInt16](repeating: 3, count: 18),
      groupScales: [UInt8](repeating: 2, count: 54), groupOffsets: [Int16](repeating: 5, count: 54),
      mask: .blocks(mask))
    let values = tensor.dequantized()
    for row in 0..<18 {
      for column in 0..<70 {
        let code = (row * 70 + column) % 7 - 3
        let expected = lives(row, column) ? Float(3 * (2 * code + 5)) : 0
        #expect(values[row, column] == expected)
      }
    }
    // 16 rows of one block and 2 of two; a bitmap of six bits.
    #expect(tensor.byteSize == 417)  // 20 * 16 + 36 + 20 + 40 + 1
    #expect(mask.density == Double(16 * 32 + 2 * 38) / Double(18 * 70))
    tensor.groupOffsets = nil
    tensor.mask = .columns(Array(0..<40))
    #expect(tensor.byteSize == 826)  // 18 * 2 * 16 + 36 + 54 + 160
    tensor.mask = .pattern(PatternMask(n: 1, m: 2, survives: []))
    #expect(tensor.byteSize == 882)  // 18 * 2 * 16 + 36 + 54 + 18 * 12
  }

  /// The least shift that keeps every product within 2^30, by trying.
  @Test(arguments: 2...8)
  func shiftIsTheLeastSafeOne(bits: Int) {
    for columns in [1, 2, 33, 500, 2048, 131_072] {
      for (scales, offsets) in [(false, false), (true, false), (true, true)] {
        let tensor = GridTensor(
          rows: 1, columns: columns, bits: bits, group: scales ? 32 : 0, exponent: 0, codes: [],
          mantissas: [1], groupScales: scales ? [] : nil, groupOffsets: offsets ? [] : nil)
        var weight = bits == 8 ? 127.0 : pow(2, Double(bits - 1))
        if scales { weight *= 255 }
        if offsets { weight += 32767 }
        let largest = 127 * Double(columns) * weight * 65535  // exact: below 2^56, few bits
        expectLeast(tensor.shift, largest: largest)
      }
    }
    for columns in [1, 768, 131_072] {
      let wide = WideTensor(rows: 1, columns: columns, exponent: 0, codes: [], mantissas: [1])
      expectLeast(wide.shift, largest: 127 * Double(columns) * 32767 * 65535)
    }
  }

  /// Rounding the largest sum by `shift` stays within 2^30; the bits of the sum ask for no less.
  private func expectLeast(_ shift: Int, largest: Double) {
    #expect((largest * pow(2, -Double(shift)) + 0.5).rounded(.down) <= 0x1p30)
    if shift > 0 { #expect(largest >= pow(2, Double(30 + shift - 1))) }
  }

  @Test func wideErrorIsHalfAStep() throws {
    var generator = SeededRandom.announced("wide")
    for factor: Float in [1e-6, 0.1, 1, 40] {
      var weights = heavyTailed(1, 200, &generator)
      for i in weights.values.indices { weights.values[i] *= factor }
      let tensor = try WideQuantizer.quantize(weights)
      #expect(tensor.mantissas[0] >= 32768)
      #expect(!tensor.codes.contains(-32768))
      let step = Double(tensor.mantissas[0]) * pow(2, -Double(tensor.exponent))
      let largest = Double(largestMagnitude(weights.values))
      #expect(step <= largest / 32767 * (1 + 1 / 32000))
      for (a, b) in zip(weights.values, tensor.dequantized().values) {
        // `dequantized` rounds to float32 once more.
        #expect(abs(Double(a) - Double(b)) <= step * 0.5 + abs(Double(b)) * 0x1p-24)
      }
    }
    #expect(try WideQuantizer.quantize(vector: [0, 0]).codes == [0, 0])
  }

  @Test func wideRowsHaveTheirOwnScale() throws {
    let weights = Matrix(rows: 2, columns: 2, values: [1000, -1, 0.5, -0.25])
    let values = try WideQuantizer.quantize(weights).dequantized()
    #expect(abs(values[1, 0] - 0.5) < 1e-3 && abs(values[0, 1] + 1) < 0.02)
  }

  @Test func phasesTurnAsRotaryPositionsDo() throws {
    let table = try PhaseTable.increments(frequencies: [1, 0.1, 0.01, 0.001])
    // 2^32 / 2π, then divided by 10 each: nearest integers.
    #expect(table.words == [683_565_276, 68_356_528, 6_835_653, 683_565])
    #expect(table.rows == 1 && table.columns == 4)
    // Whole turns are none.
    #expect(try PhaseTable.increments(frequencies: [2 * .pi, 0]).words == [0, 0])
    for wrong in [[], [1, -.pi], [.nan], [.infinity]] as [[Double]] {
      #expect(throws: QuantizeError.self) { try PhaseTable.increments(frequencies: wrong) }
    }
  }
}
