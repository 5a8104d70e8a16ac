// Formats/vectors/arithmetic against Fixed, the kernels, and whole ops.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

/// One line of a table of arithmetic vectors, read field by field.
struct Fields {
  private var rest: ArraySlice<String>
  let line: String

  init(_ row: [String]) {
    rest = row[...]
    line = row.joined(separator: " ")
  }

  mutating func text() -> String { rest.popFirst() ?? "" }
  mutating func number<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T { T(text())! }
  mutating func list<T: FixedWidthInteger>(_ type: T.Type = T.self) -> [T] {
    text().split(separator: ",").map { T($0)! }
  }
  /// A list that fits int32, as rows of buffers do; nil otherwise (block also takes int64 sums).
  mutating func row() -> [Int32]? {
    let all = list(Int64.self)
    return all.allSatisfy { $0.magnitude <= 0x7FFF_FFFF } ? all.map { Int32($0) } : nil
  }
  mutating func scale() -> curta_scale { curta_scale(m: number(), e: number()) }
  mutating func scales() -> [curta_scale] {
    let all = list(Int64.self)
    return stride(from: 0, to: all.count, by: 2).map {
      curta_scale(m: UInt32(all[$0]), e: Int32(all[$0 + 1]))
    }
  }
}

func arithmetic(_ name: String) throws -> [Fields] {
  try Repository.table("Formats/vectors/arithmetic/\(name).tsv").map(Fields.init)
}

// swift-format-ignore: AvoidRetroactiveConformances
extension curta_scale: @retroactive Equatable {
  public static func == (a: curta_scale, b: curta_scale) -> Bool { a.m == b.m && a.e == b.e }
}

/// Every set of kernels that this processor runs.
nonisolated(unsafe) let kernelSets: [UnsafePointer<curta_kernels>] =
  (0..<curta_kernels_count()).compactMap { curta_kernels_at($0) }

@Suite struct ArithmeticTests {
  @Test func roundAndRescale() throws {
    for var f in try arithmetic("round") {
      let x = f.number(Int64.self)
      let s = f.number(Int32.self)
      #expect(Fixed.round(x, s) == f.number(), "\(f.line)")
    }
    for var f in try arithmetic("rescale") {
      let x = f.number(Int64.self)
      let s = f.number(Int32.self)
      #expect(Fixed.rescale(x, s) == f.number(), "\(f.line)")
    }
  }

  @Test func normAndMultiply() throws {
    for var f in try arithmetic("norm") {
      let m = f.number(UInt64.self)
      #expect(Fixed.norm(m, f.number()) == f.scale(), "\(f.line)")
    }
    for var f in try arithmetic("mul") {
      let a = f.scale()
      let b = f.scale()
      #expect(Fixed.multiply(a, b) == f.scale(), "\(f.line)")
    }
  }

  @Test func squareRoots() throws {
    for var f in try arithmetic("isqrt") {
      let x = f.number(UInt64.self)
      guard x < 1 << 62 else { continue }
      #expect(Fixed.squareRoot(x) == f.number(), "\(f.line)")
    }
    var random = SeededRandom.announced("square roots")
    for _ in 0..<20_000 {
      let x = random.next() >> UInt64(2 + random.below(62))
      let root = Fixed.squareRoot(x)
      #expect(root * root <= x && (root + 1) * (root + 1) > x, "\(x)")
    }
  }

  @Test func tables() throws {
    var tables: [String: [Int64]] = [:]
    for var f in try arithmetic("tables") { tables[f.text()] = f.list() }
    func whole<T, U: FixedWidthInteger>(_ table: T, _ type: U.Type) -> [Int64] {
      withUnsafeBytes(of: table) { $0.bindMemory(to: U.self).map { Int64($0) } }
    }
    #expect(whole(curta_exp15_table, UInt16.self) == tables["EXP15"])
    #expect(whole(curta_exp30_table, UInt32.self) == tables["EXP30"])
    #expect(whole(curta_sigmoid_table, UInt16.self) == tables["SIGMOID"])
    #expect(whole(curta_sine_table, Int16.self) == tables["SINE"])
    #expect(whole(curta_gelu_tanh_table, UInt16.self) == tables["GELU_TANH"])
    #expect(whole(curta_gelu_erf_table, UInt16.self) == tables["GELU_ERF"])
    #expect(whole(curta_quick_gelu_table, UInt16.self) == tables["QUICK_GELU"])
    #expect(whole(curta_relu_table, UInt16.self) == tables["RELU"])
  }

  @Test func exponentials() throws {
    for var f in try arithmetic("exp") {
      let d = f.number(UInt32.self)
      let exp15 = f.number(UInt64.self)
      #expect(Fixed.exp30(d) == f.number(), "\(f.line)")
      for kernels in kernelSets {
        // score_weights: D is the sum of exp15(max - t).
        var t: [Int32] = [Int32(bitPattern: 0 &- d)]
        var total: UInt64 = 0
        var least: Int32 = 0
        let v = [curta_scale(m: 1 << 15, e: 3)]
        _ = kernels.pointee.score_weights(&t, v, 1, 0, &total, &least)
        #expect(total == exp15 && least == 3, "\(f.line)")
      }
    }
  }

  @Test func sines() throws {
    for var f in try arithmetic("sin_cos") {
      let p = f.number(UInt32.self)
      #expect(Fixed.sine(p) == f.number() && Fixed.cosine(p) == f.number(), "\(f.line)")
    }
  }

  /// Single elements, and all of them in one row.
  @Test func activations() throws {
    var rows: [UInt32: (g: [Int32], a: [Int32])] = [:]
    for var f in try arithmetic("activate") {
      let activation = f.number(UInt32.self)
      let (g, a) = (f.number(Int32.self), f.number(Int32.self))
      rows[activation, default: ([], [])].g.append(g)
      rows[activation]?.a.append(a)
    }
    #expect(rows.count == 5)
    for (activation, row) in rows {
      let table = curta_activation_entries(activation)
      for kernels in kernelSets {
        // m = 2^15 and s = 15: g is zg.
        var out = [Int32](repeating: 0, count: row.g.count)
        kernels.pointee.activate(row.g, UInt32(row.g.count), 1 << 15, 15, table, &out)
        #expect(out == row.a)
        for (i, g) in row.g.enumerated() {
          kernels.pointee.activate([g], 1, 1 << 15, 15, table, &out)
          #expect(out[0] == row.a[i])
        }
      }
    }
  }

  @Test func softCaps() throws {
    for var f in try arithmetic("cap") {
      let x = f.number(Int32.self)
      let cap = SoftCap(f.number())
      #expect(cap(x) == f.number(), "\(f.line)")
    }
  }

  @Test func inverseRoots() throws {
    for var f in try arithmetic("inverse_rms") {
      let squares = f.number(UInt64.self)
      let width = f.number(Int.self)
      let epsilon = f.number(UInt64.self)
      let s = f.number(UInt64.self)
      let total = max(1, squares + UInt64(width) * (epsilon >> min(2 * s, 62)))
      #expect(OpWork.inverseRoot(total, width) == f.scale(), "\(f.line)")
    }
  }

  @Test func blocksAndCodes() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("block") {
        guard let x = f.row() else { continue }
        let (y, s) = narrow(x, kernels)
        #expect(y == f.list() && s == f.number(), "\(f.line)")
      }
      for var f in try arithmetic("quantize") {
        guard let x = f.row() else { continue }
        let scale = f.scale()
        let session = try OpBench(kernels, width: x.count)
        var q = [Int8](repeating: 0, count: x.count)
        var (y, s) = narrow(x, kernels)
        let result = session.work.spread(
          &y, x.count, curta_scale(m: scale.m, e: scale.e &- s), hadamard: 0, to: &q)
        #expect(q == f.list() && result == f.scale(), "\(f.line)")
      }
    }
  }

  private func narrow(
    _ x: [Int32], _ kernels: UnsafePointer<curta_kernels>
  ) -> ([Int16], Int32) {
    let s = max(0, Fixed.bits(UInt64(kernels.pointee.maxabs_i32(x, UInt32(x.count)))) - 15)
    var y = [Int16](repeating: 0, count: x.count)
    kernels.pointee.narrow(x, UInt32(x.count), UInt32(s), &y)
    return (y, s)
  }
}
