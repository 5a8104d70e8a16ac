// Operands of the ops of other decoders than Llama, each wrong in one way.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

/// A program with every op from bias to soft_cap, and where its parts are.
private struct OtherDecoder {
  var f = FileBuilder(context: 9, vocabulary: 8, seed: 77)
  // Buffers
  let x, fixed, scaled, codes, normed, last: UInt32
  // Tensors
  let table, gamma, headGamma, positions, square: UInt32
  // Places in `ops`
  let position = 1, normQuant = 2, bias = 4, headQuant = 5, append = 6, attend = 8
  let biasNone = 10, norm = 11, add = 12, gate = 14, inPlace = 16, cap = 21

  init() {
    let none = FileBuilder.none
    x = f.buffer(1, 32, fraction: 12)
    fixed = f.buffer(1, 32, fraction: 14)
    scaled = f.buffer(2, 32)
    codes = f.buffer(3, 32)
    normed = f.buffer(1, 32, fraction: 20)
    last = f.buffer(1, 32, outputs: true, fraction: 12)
    let key = f.buffer(2, 16)
    let heads = f.buffer(3, 32, scales: 4)
    let mixed = f.buffer(3, 32)
    let lastCodes = f.buffer(3, 32, outputs: true)
    f.output = f.buffer(1, 8, outputs: true, fraction: 16)
    let keys = f.state(heads: 2, width: 8)
    let values = f.state(heads: 2, width: 8)
    table = f.wide(8, 32)
    gamma = f.wide(1, 32)
    headGamma = f.wide(1, 8)
    positions = f.wide(9, 32)
    square = f.grid(32, 32)
    let keyWeight = f.grid(16, 32)
    let beta = f.wide(1, 32)
    let lastBias = f.wide(1, 8, exponent: 33)

    f.op(1, table, x)
    f.op(14, positions, x)
    f.op(2, x, gamma, codes, 2, 100, 0)
    f.op(3, codes, 2, square, scaled, keyWeight, key)
    f.op(11, scaled, beta, fixed)
    f.op(5, fixed, heads, none, 0, 8, headGamma, 5, 0)
    f.op(6, key, keys, none, 0, 0, none)
    f.op(6, key, values, none, 0, 0, none)
    f.op(7, heads, keys, values, mixed, 0, 40000, 16, 0, 1 << 20)
    f.op(3, mixed, 1, square, scaled)
    f.op(11, scaled, none, fixed)
    f.op(12, fixed, gamma, normed, 1, 100, 0)
    f.op(13, normed, x)
    f.op(2, x, gamma, codes, 1, 100, 0)
    f.op(8, fixed, none, mixed, 3, 16)
    f.op(4, mixed, square, x)
    f.op(11, x, beta, x)
    f.op(9, x, last)
    f.op(2, last, gamma, lastCodes, 2, 100, 0)
    f.op(10, lastCodes, table, f.output)
    f.op(11, f.output, lastBias, f.output)
    f.op(15, f.output, 3 << 16)
  }
}

extension HostileProgramTests {
  @Test func everyOpOfOtherDecodersRuns() throws {
    let bytes = OtherDecoder().f.build()
    let tokens: [Int32] = [7, 0, 1, 1, 6, 3, 2, 5, 4]
    let logits = try run(bytes, tokens)
    #expect(Set(logits).count > 8)
    #expect(logits.allSatisfy { $0.magnitude <= 3 << 16 })
  }

  @Test func wrongOperandsAreRefused() throws {
    let d = OtherDecoder()
    #expect(refusal(d.f.build()) == nil)
    func check(
      _ op: Int, _ operand: Int, _ value: UInt32, _ status: Status? = .badProgram,
      _ line: SourceLocation = #_sourceLocation
    ) {
      var f = d.f
      f.ops[op][operand] = value
      #expect(refusal(f.build()) == status, sourceLocation: line)
    }
    let most = UInt32.max
    // norm_quant and norm
    for op in [d.normQuant, d.norm] {
      for kind in [0, 3, most] { check(op, 4, kind) }
      check(op, 2, d.headGamma)
      check(op, 2, d.square)
      check(op, 6, 257)
      check(op, 1, d.scaled)
      check(op, 3, d.scaled)
    }
    check(d.norm, 1, d.normed, .badPlan)  // reads what was not written
    check(d.norm, 3, d.fixed, .badPlan)  // in place
    check(d.norm, 7, 32)
    // head_quant and cache_append
    check(d.headQuant, 1, d.scaled)  // a norm of a scaled row
    check(d.headQuant, 1, d.codes)
    check(d.headQuant, 6, d.gamma)  // as wide as the row, not as a head
    check(d.headQuant, 6, d.square)
    check(d.headQuant, 6, 99)
    check(d.headQuant, 6, most)  // with an epsilon
    check(d.headQuant, 8, 257)
    check(d.headQuant, 9, 1)
    check(d.append, 6, d.headGamma)  // a norm of a scaled row
    check(d.append, 6, 0)
    check(d.append, 7, 1)
    check(d.append, 8, 1)
    // attend
    for cap in [1, 1 << 16 - 1, 1 << 26 + 1, most] as [UInt32] { check(d.attend, 9, cap) }
    for bits in [1, 5, 1 << 31, most] as [UInt32] { check(d.attend, 10, bits) }
    for word in 10...13 { check(d.attend, word, 4) }  // a code without its step, and the other way
    // gate_quant
    for activation in [0, 6, most] as [UInt32] { check(d.gate, 4, activation) }
    check(d.gate, 1, most)
    check(d.gate, 1, d.codes)
    check(d.gate, 2, d.codes)
    check(d.gate, 2, d.last)
    check(d.gate, 2, most - 1)
    check(d.gate, 3, d.scaled)
    check(d.gate, 5, 3)
    // bias
    for op in [d.bias, d.inPlace] {
      for tensor in [d.headGamma, d.square, d.positions, 99] { check(op, 2, tensor) }
      check(op, 1, d.codes)
      check(op, 3, d.codes)
      check(op, 4, 1)
    }
    check(d.bias, 3, d.scaled)
    check(d.bias, 3, d.last)
    check(d.bias, 1, d.normed, .badPlan)  // not yet written
    check(d.bias, 1, d.fixed, .badPlan)  // in place, not yet written
    check(d.biasNone, 2, d.gamma, nil)
    // add, add_position, soft_cap
    check(d.add, 1, d.x, .badPlan)  // to itself
    check(d.add, 1, d.codes)
    check(d.add, 1, d.last)
    check(d.add, 2, d.scaled)
    check(d.add, 2, d.last)
    check(d.add, 2, d.f.output)
    check(d.add, 3, 1)
    check(d.position, 1, d.table)  // 8 rows for 9 positions
    check(d.position, 1, d.square, nil)
    check(d.position, 1, d.headGamma)
    check(d.position, 2, d.fixed, .badPlan)  // not yet written
    check(d.position, 2, d.last)
    check(d.position, 2, d.scaled)
    check(d.position, 3, 1)
    for cap in [0, 1 << 16 - 1, 1 << 26 + 1, most] as [UInt32] { check(d.cap, 2, cap) }
    check(d.cap, 1, d.last)  // of another fraction
    check(d.cap, 1, d.scaled)
    check(d.cap, 3, 1)
  }
}
