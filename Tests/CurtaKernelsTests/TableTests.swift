// The tables of curta-arithmetic.md section 3 against values computed here in floating point.
// SPDX-License-Identifier: Apache-2.0

import CurtaKernels
import Foundation
import Testing

/// The elements of an imported C array.
private func elements<Tuple, Element: BinaryInteger & BitwiseCopyable>(
  _ tuple: Tuple, _: Element.Type
) -> [Int] {
  withUnsafeBytes(of: tuple) { $0.bindMemory(to: Element.self).map { Int($0) } }
}

private func nearest(_ real: Double) -> Int { Int((real + 0.5).rounded(.down)) }

private func exp2Entry(_ i: Int, unit: Double) -> Int {
  let chord = i == 0 || i == 32 ? 1 : 1 - pow(log(Double(2)) / 32, 2) / 16
  return nearest(unit * pow(2, -Double(i) / 32) * chord)
}

@Suite("Tables")
struct TableTests {
  @Test func exp15() {
    let table = elements(curta_exp15_table, UInt16.self)
    #expect(table == (0...32).map { exp2Entry($0, unit: 0x1p15) })
  }

  @Test func exp30() {
    let table = elements(curta_exp30_table, UInt32.self)
    #expect(table == (0...32).map { exp2Entry($0, unit: 0x1p30) })
  }

  @Test func sigmoid() {
    let table = elements(curta_sigmoid_table, UInt16.self)
    #expect(table == (0...513).map { nearest(0x1p15 / (1 + exp(-Double($0) / 32))) })
  }

  @Test func activations() {
    func entries(_ f: (Double) -> Double) -> [Int] {
      (0...513).map { nearest(0x1p15 * f(Double($0) / 32)) }
    }
    let tanhForm = entries {
      0.5 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)))
    }
    #expect(elements(curta_gelu_tanh_table, UInt16.self) == tanhForm)
    let erfForm = entries { 0.5 * (1 + erf($0 / 2.0.squareRoot())) }
    #expect(elements(curta_gelu_erf_table, UInt16.self) == erfForm)
    let quick = entries { 1 / (1 + exp(-1.702 * $0)) }
    #expect(elements(curta_quick_gelu_table, UInt16.self) == quick)
    #expect(elements(curta_relu_table, UInt16.self) == entries { _ in 1 })
  }

  @Test func activationsByNumber() {
    let tables = [
      elements(curta_sigmoid_table, UInt16.self), elements(curta_gelu_tanh_table, UInt16.self),
      elements(curta_gelu_erf_table, UInt16.self), elements(curta_quick_gelu_table, UInt16.self),
      elements(curta_relu_table, UInt16.self),
    ]
    for (i, table) in tables.enumerated() {
      let entries = curta_activation_entries(UInt32(i + 1))
      #expect((0...513).map { Int(entries![$0]) } == table)
      #expect(table == table.sorted() && table.last! <= 1 << 15)
    }
  }

  @Test func sine() {
    let table = elements(curta_sine_table, Int16.self)
    #expect(table == (0...257).map { min(32767, nearest(0x1p15 * sin(.pi * Double($0) / 512))) })
  }
}
