// Formats/vectors/arithmetic against the ops that quantize rows, and attention.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct OpTests {
  @Test func norms() throws {
    for kernels in kernelSets {
      for (code, name) in [(OpCode.normQuant, "norm_quant"), (.norm, "norm_op")] {
        for var f in try arithmetic(name) {
          let x = f.list(Int32.self)
          let bench = try OpBench(kernels, width: x.count)
          bench.fixed(0, x, fraction: 0)
          bench.wideTensor(0, f.list(), f.number(), f.number())
          let kind = f.number(UInt32.self)
          let epsilon = f.number(UInt64.self)
          let (low, high) = (UInt32(truncatingIfNeeded: epsilon), UInt32(epsilon >> 32))
          if code == .norm {
            bench.fixed(1, x, fraction: f.number())
            bench.run(.norm, 0, 0, 1, kind, low, high)
            #expect(bench.values(1) == f.list(), "\(f.line)")
          } else {
            bench.place(1, .codes8, width: x.count, scales: 1)
            bench.run(.normQuant, 0, 0, 1, kind, low, high, f.number())
            #expect(bench.codes(1) == f.list() && bench.scales(1) == [f.scale()], "\(f.line)")
          }
        }
      }
    }
  }

  @Test func gateQuant() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("gate_quant") {
        let gate = f.list(Int32.self)
        let bench = try OpBench(kernels, width: gate.count)
        bench.numbers(0, gate, f.scale())
        let up = f.list(Int32.self)
        bench.numbers(1, up, f.scale())
        bench.place(2, .codes8, width: gate.count, scales: 1)
        bench.run(.gateQuant, 0, up.isEmpty ? Program.none : 1, 2, f.number(), f.number())
        #expect(bench.codes(2) == f.list() && bench.scales(2) == [f.scale()], "\(f.line)")
      }
    }
  }

  /// bias, to another row and, where the input is fixed, in place.
  @Test func bias() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("bias") {
        let z = f.list(Int32.self)
        let bench = try OpBench(kernels, width: z.count)
        let scale = f.scale()
        bench.numbers(0, z, scale)
        let codes = f.list(Int16.self)
        bench.wideTensor(0, codes, f.number(), f.number())
        let fraction = f.number(Int32.self)
        bench.fixed(1, z.reversed(), fraction: fraction)
        let expected = f.list(Int32.self)
        let bias = codes.isEmpty ? Program.none : 0
        bench.run(.bias, 0, bias, 1)
        #expect(bench.values(1) == expected, "\(f.line)")
        guard scale.m == 1 << 15, (15...45).contains(scale.e) else { continue }
        bench.fixed(2, z, fraction: scale.e - 15)
        bench.run(.bias, 0, bias, 2)
        bench.run(.bias, 0, bias, 0)
        #expect(bench.values(0) == bench.values(2), "\(f.line)")
      }
    }
  }

  @Test func add() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("add") {
        let sum = f.list(Int32.self)
        let bench = try OpBench(kernels, width: sum.count)
        bench.numbers(0, f.list(), f.scale())
        bench.fixed(1, sum, fraction: f.number())
        bench.run(.add, 0, 1)
        #expect(bench.values(1) == f.list(), "\(f.line)")
      }
    }
  }

  /// head_quant, and cache_append of the same row.
  @Test func headQuantAndCacheAppend() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("head_quant") {
        let z = f.list(Int32.self)
        let bench = try OpBench(kernels, width: max(z.count, 256))
        bench.numbers(0, z, f.scale())
        let heads = f.number(Int.self)
        let position = f.number(Int.self)
        let phases = f.list(UInt32.self)
        let pairing = f.number(UInt32.self)
        let hadamard = f.number(UInt32.self)
        bench.phases(0, phases)
        bench.place(1, .codes8, width: z.count, scales: heads)
        let table = pairing == 0 ? Program.none : 0
        let gamma = f.list(Int16.self)
        bench.wideTensor(1, gamma, f.number(), f.number())
        let norm = gamma.isEmpty ? Program.none : 1
        let epsilon = f.number(UInt64.self)
        let (low, high) = (UInt32(truncatingIfNeeded: epsilon), UInt32(epsilon >> 32))
        bench.run(
          .headQuant, at: position, 0, 1, table, pairing, hadamard, norm, low, high)
        let codes = f.list(Int8.self)
        let m = f.list(UInt32.self)
        let scales = zip(m, f.list(Int32.self)).map { curta_scale(m: $0, e: $1) }
        #expect(bench.codes(1) == codes && bench.scales(1) == scales, "\(f.line)")

        let width = z.count / heads
        guard position < Int(bench.session.info.context), width <= 256 else { continue }
        bench.cache(0, heads: heads, width: width)
        bench.run(
          .cacheAppend, at: position, 0, 0, table, pairing, hadamard, norm, low, high)
        for h in 0..<heads {
          let (q, scale) = bench.cached(0, position, h)
          #expect(q == Array(codes[h * width..<(h + 1) * width]) && scale == scales[h])
        }
      }
    }
  }

  @Test func attend() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("attend") {
        let heads = f.number(Int.self)
        let keyHeads = f.number(Int.self)
        let width = f.number(Int.self)
        let positions = f.number(Int.self)
        let m = f.number(UInt32.self)
        let e = f.number(Int32.self)
        let hadamard = f.number(UInt32.self)
        let cap = f.number(UInt32.self)
        let (bits, step) = (f.number(UInt32.self), f.number(UInt32.self))
        let shift = f.number(UInt32.self)
        let bench = try OpBench(kernels, width: heads * 256)
        try #require(positions <= Int(bench.session.info.context) && width <= 256)
        bench.codesBuffer(0, f.list(), f.scales())
        bench.cache(0, heads: keyHeads, width: width, f.list(), f.scales())
        bench.cache(1, heads: keyHeads, width: width, f.list(), f.scales())
        bench.place(1, .codes8, width: heads * width, scales: 1)
        bench.run(
          .attend, at: positions - 1, 0, 0, 1, 1, 0, m, UInt32(bitPattern: e), hadamard,
          cap, bits, step, shift)
        #expect(bench.codes(1) == f.list() && bench.scales(1) == [f.scale()], "\(f.line)")
      }
    }
  }
}
