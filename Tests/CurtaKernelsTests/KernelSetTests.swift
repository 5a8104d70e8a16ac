// Every set of kernels equals the definition, and the definition equals a product made by hand.
// SPDX-License-Identifier: Apache-2.0
//
// Tools/test-kernels compares all shapes, extreme values and processors; this is the short form.

import CurtaKernels
import CurtaTestSupport
import Testing

/// The sets that this processor can run.
private var sets: [curta_kernels] {
  (0..<curta_kernels_count()).compactMap { curta_kernels_at($0)?.pointee }
}

/// A tensor and an input of `tokens` rows, and their product by some set.
private struct Product {
  var kind: UInt32
  var tokens = 1
  var rows: Int
  var columns: Int
  var groupBlocks: Int
  var shift: UInt32
  var codes: [UInt8]
  var mantissas: [UInt16]
  var scales: [UInt8]
  var offsets: [Int16]
  var input: [Int8]  // [tokens][stride]
  var maskBlocks: [UInt16] = []
  var maskStarts: [UInt32] = []  // empty: every block is there

  var stride: Int { (columns + 63) / 64 * 64 }

  func run(_ set: curta_kernels) -> [Int32] {
    var input = input
    var sums = [Int16](repeating: 0, count: tokens * stride / 32)
    set.block_sums(input, UInt32(input.count), &sums)
    var z = [Int32](repeating: 0, count: tokens * rows)
    let blocks = (columns + 31) / 32
    codes.withUnsafeBytes { codes in
      mantissas.withUnsafeBufferPointer { mantissas in
        scales.withUnsafeBufferPointer { scales in
          offsets.withUnsafeBufferPointer { offsets in
            input.withUnsafeMutableBufferPointer { input in
              sums.withUnsafeMutableBufferPointer { sums in
                var x = curta_codes()
                x.codes = input.baseAddress
                x.sums = sums.baseAddress
                x.width = UInt32(columns)
                x.stride = UInt32(stride)
                var w = curta_weight()
                w.codes = codes.baseAddress
                w.mantissas = mantissas.baseAddress
                w.group_scales = scales.baseAddress
                w.group_offsets = offsets.baseAddress
                w.kind = kind
                w.rows = UInt32(rows)
                w.columns = UInt32(columns)
                w.row_bytes = UInt32(codes.count / rows)
                w.groups = UInt32((blocks + groupBlocks - 1) / groupBlocks)
                w.group_blocks = UInt32(groupBlocks)
                w.shift = shift
                let product =
                  kind == 4
                  ? set.product_nibbles : kind == 24 ? set.product_sixes : set.product_bytes
                maskBlocks.withUnsafeBufferPointer { blocks in
                  maskStarts.withUnsafeBufferPointer { starts in
                    w.mask_blocks = blocks.baseAddress
                    w.mask_starts = starts.isEmpty ? nil : starts.baseAddress
                    let scratch = UnsafeMutableRawPointer.allocate(
                      byteCount: Int(curta_product_scratch(UInt32(tokens))), alignment: 64)
                    defer { scratch.deallocate() }
                    product?(&w, &x, 0, UInt32(tokens), 0, UInt32(rows), &z, rows, scratch)
                  }
                }
              }
            }
          }
        }
      }
    }
    return z
  }
}

/// Packed codes of 6 bits: u[i] = i for i < 16, else 32 + i.
private let sixes = Product(
  kind: 24, rows: 1, columns: 32, groupBlocks: 1, shift: 0,
  codes: (0..<16).map { UInt8($0 | $0 << 4) } + (0..<8).map { _ in 0b1111_0000 },
  mantissas: [1], scales: [1], offsets: [0],
  input: (0..<32).map { Int8($0 + 1) } + [Int8](repeating: 0, count: 32))

/// The codes of a kind whose codes are bytes.
private func byteCodes(_ kind: UInt32) -> ClosedRange<Int8> { kind == 6 ? -32...31 : -127...127 }

@Suite("Kernel sets")
struct KernelSetTests {
  @Test func scalarIsFirstAndBestIsLast() {
    let names = sets.map { String(cString: $0.name) }
    #expect(names.first == "scalar")
    #expect(names.last == String(cString: curta_kernels_best().pointee.name))
    #expect(curta_kernels_at(curta_kernels_count()) == nil)
  }

  /// 32 codes of 3 times 32 inputs of 2 are 192, their sum is 64. S = 5 * 192 - 7 * 64 = 512,
  /// 512 * 40000 = 20 480 000, over 2^14 that is 1250. The second row: S = 192 * 5 + 7 * 64 = 1408,
  /// 1408 * 65535 = 92 273 280, over 2^14 that is 5631.914, rounded 5632.
  @Test func productByHand() {
    let product = Product(
      kind: 4, rows: 2, columns: 32, groupBlocks: 1, shift: 14,
      codes: [UInt8](repeating: 0xBB, count: 32), mantissas: [40000, 65535], scales: [5, 5],
      offsets: [-7, 7],
      input: [Int8](repeating: 2, count: 32) + [Int8](repeating: 0, count: 32))
    for set in sets { #expect(product.run(set) == [1250, 5632]) }
  }

  /// c[i] = i - 32 for i < 16, else i, times i + 1: 1360 - 32 * 136 + 9552 = 6560.
  @Test func sixesByHand() {
    for set in sets { #expect(sixes.run(set) == [6560]) }
  }

  @Test(arguments: [4, 6, 8, 24] as [UInt32], [1, 3, 5])
  func productsEqualTheDefinition(_ kind: UInt32, _ tokens: Int) {
    var random = SeededRandom.announced("productsEqualTheDefinition")
    for columns in [1, 31, 32, 65, 200, 576] {
      let rows = 5
      let blocks = (columns + 31) / 32
      let groupBlocks = min(2, blocks)
      let groups = (blocks + groupBlocks - 1) / groupBlocks
      let stride = (columns + 63) / 64 * 64
      let product = Product(
        kind: kind, tokens: tokens, rows: rows, columns: columns, groupBlocks: groupBlocks,
        shift: 24,
        codes: (0..<rows * blocks * (kind == 4 ? 16 : kind == 24 ? 24 : 32)).map { _ in
          kind == 4 || kind == 24
            ? .random(in: 0...255, using: &random)
            : UInt8(bitPattern: .random(in: byteCodes(kind), using: &random))
        },
        mantissas: (0..<rows).map { _ in .random(in: 1...65535, using: &random) },
        scales: (0..<rows * groups).map { _ in .random(in: 0...255, using: &random) },
        offsets: (0..<rows * groups).map { _ in .random(in: -32767...32767, using: &random) },
        input: (0..<tokens * stride).map {
          $0 % stride < columns ? Int8.random(in: -127...127, using: &random) : 0
        })
      let expected = product.run(curta_kernels_scalar)
      for set in sets { #expect(product.run(set) == expected) }
    }
  }

  /// A masked tensor gives what the definition gives for the dense one with 0 in its pruned cells.
  @Test(arguments: [4, 6, 8] as [UInt32], [1, 3, 5])
  func masksAreZeros(_ kind: UInt32, _ tokens: Int) {
    var random = SeededRandom.announced("masksAreZeros")
    let (rows, columns, blockBytes) = (37, 200, kind == 4 ? 16 : 32)
    let blocks = (columns + 31) / 32
    var dense = Product(
      kind: kind, tokens: tokens, rows: rows, columns: columns, groupBlocks: 1, shift: 20,
      codes: [], mantissas: (0..<rows).map { _ in .random(in: 1...65535, using: &random) },
      scales: (0..<rows * blocks).map { _ in .random(in: 0...255, using: &random) },
      offsets: (0..<rows * blocks).map { _ in .random(in: -32767...32767, using: &random) },
      input: (0..<tokens * 256).map {
        $0 % 256 < columns ? Int8.random(in: -127...127, using: &random) : 0
      })
    let lives = (0..<3 * blocks).map { $0 < 2 * blocks && Bool.random(using: &random) }
    var masked = dense
    masked.scales = []
    masked.offsets = []
    masked.maskStarts = [0]
    for strip in 0..<3 {
      masked.maskBlocks += (0..<blocks).filter { lives[strip * blocks + $0] }.map { UInt16($0) }
      masked.maskStarts.append(UInt32(masked.maskBlocks.count))
    }
    for row in 0..<rows {
      for block in 0..<blocks {
        let cell = row * blocks + block
        if lives[row / 16 * blocks + block] {
          let codes = (0..<blockBytes).map { _ in
            kind == 4
              ? UInt8.random(in: 0...255, using: &random)
              : UInt8(bitPattern: .random(in: byteCodes(kind), using: &random))
          }
          dense.codes += codes
          masked.codes += codes
          masked.scales.append(dense.scales[cell])
          masked.offsets.append(dense.offsets[cell])
        } else {
          dense.codes += [UInt8](repeating: kind == 4 ? 0x88 : 0, count: blockBytes)
          dense.offsets[cell] = 0
        }
      }
    }
    let expected = dense.run(curta_kernels_scalar)
    for set in sets { #expect(masked.run(set) == expected) }
  }

  @Test func rowsEqualTheDefinition() {
    let scalar = curta_kernels_scalar
    var random = SeededRandom.announced("rowsEqualTheDefinition")
    let x = (0..<133).map { _ in Int32.random(in: -(1 << 30)...(1 << 30), using: &random) }
    let n = UInt32(x.count)
    var expected = [Int32](repeating: 0, count: x.count)
    var actual = expected
    var narrowed = [Int16](repeating: 0, count: x.count)
    var other = narrowed
    scalar.narrow(x, n, 16, &narrowed)
    for set in sets {
      for activation: UInt32 in 1...5 {
        let table = curta_activation_entries(activation)
        scalar.activate(x, n, 50000, 21, table, &expected)
        set.activate(x, n, 50000, 21, table, &actual)
        #expect(actual == expected)
      }
      set.narrow(x, n, 16, &other)
      #expect(other == narrowed)
      #expect(set.maxabs_i32(x, n) == scalar.maxabs_i32(x, n))
      #expect(set.sum_squares(narrowed, n) == scalar.sum_squares(narrowed, n))
    }
  }
}
