// Files with masked tensors: read back, and the same logits as from the dense tensor with zeros.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaEvaluate

@Suite struct MaskedFileTests {
  /// Logits of all tokens by one set of kernels.
  private func logits(_ path: String, kernels: UInt32, threads: UInt32) throws -> [[Int32]] {
    var options = HostOptions()
    options.chunk = 45
    options.outputs = 45
    options.kernels = kernels
    options.threads = threads
    let session = try HostSession(path, options)
    let tokens = (0..<45).map { Int32($0) }
    try session.step(tokens[...], outputs: tokens.count)
    return (0..<tokens.count).map { Array(session.logits($0)) }
  }

  private func masks(_ rows: Int, _ columns: Int, _ generator: inout SeededRandom) -> [GridMask] {
    var blocks = BlockMask(rows: rows, columns: columns)
    for i in blocks.survives.indices where i > 0 {
      blocks.survives[i] = Bool.random(using: &generator)
    }
    var pattern = PatternMask(
      n: 3, m: 8, survives: [Bool](repeating: false, count: rows * columns))
    for first in stride(from: 0, to: rows * columns, by: 8) {
      for i in (0..<8).shuffled(using: &generator).prefix(3) { pattern.survives[first + i] = true }
    }
    let kept = (0..<columns).filter { _ in Int.random(in: 0..<3, using: &generator) > 0 }
    return [.blocks(blocks), .pattern(pattern), .columns(kept)]
  }

  @Test(arguments: [2, 4, 6, 8], [0, 32])
  func masksAreWhatTheyLeave(bits: Int, group: Int) throws {
    var generator = SeededRandom.announced("masks of \(bits) bits, group \(group)")
    try withTemporaryFolder { folder in
      let (rows, columns) = (45, 360)
      let codes = GridTensor.codeRange(bits: bits)
      let groups = (columns + 31) / 32
      for mask in masks(rows, columns, &generator) {
        var tensor = GridTensor(
          rows: rows, columns: columns, bits: bits, group: group, exponent: 26,
          codes: (0..<rows * columns).map { _ in Int8(Int.random(in: codes, using: &generator)) },
          mantissas: (0..<rows).map { _ in UInt16.random(in: 1...65535, using: &generator) },
          groupScales: group == 0
            ? nil
            : (0..<rows * groups).map { _ in UInt8.random(in: 0...255, using: &generator) })
        for row in 0..<rows {
          let survives = mask.survivors(row: row, columns: columns)
          for column in 0..<columns where !survives[column] {
            tensor.codes[row * columns + column] = 0
          }
        }
        var masked = tensor
        masked.mask = mask
        var paths: [String] = []
        for (name, head) in [("dense", tensor), ("masked", masked)] {
          var same = SeededRandom(7)
          paths.append(folder.appendingPathComponent(name + ".curta").path)
          _ = try writeCurta(
            try headContents(QuantizedTensor(name: "head", .grid(head)), &same), to: paths.last!,
            codec: .auto, verify: { _ in })
        }
        let mapping = try FileMapping(paths[1])
        defer { withExtendedLifetime(mapping) {} }
        let file = try CurtaFile(mapping.bytes)
        let read = try TensorReader(file, try file.tensors()[2]).matrix()
        #expect(read == masked.dequantized() && read == tensor.dequantized())
        let expected = try logits(paths[0], kernels: 1, threads: 1)
        for kernels: UInt32 in [0, 1] {
          for threads: UInt32 in [1, 3] {
            #expect(try logits(paths[1], kernels: kernels, threads: threads) == expected)
          }
        }
        let size = try file.tensors()[2]
        let decoded = try (0..<size.dataCount).reduce(UInt64(0)) { sum, i in
          sum + (try file.data(size.data + i).size)
        }
        #expect(decoded == UInt64(masked.byteSize))
      }
    }
  }
}

/// A file that embeds, normalizes and multiplies by `head` [rows][K].
func headContents(
  _ head: QuantizedTensor, _ generator: inout SeededRandom
) throws -> FileContents {
  let (rows, width) = (head.rows, head.columns)
  let embedding = GridTensor(
    rows: rows, columns: width, bits: 8, group: 0, exponent: 24,
    codes: (0..<rows * width).map { _ in Int8.random(in: -127...127, using: &generator) },
    mantissas: [UInt16](repeating: 50000, count: rows))
  let gamma = WideTensor(
    rows: 1, columns: width, exponent: 29, codes: [Int16](repeating: 16384, count: width),
    mantissas: [32768])
  let tensors = [
    QuantizedTensor(name: "embedding", .grid(embedding)),
    QuantizedTensor(name: "norm", .wide(gamma)), head,
  ]
  var program = ProgramDescription(
    buffers: [
      BufferDescription(.fixed(fraction: 16), rows: .tokens, width: width),
      BufferDescription(.fixed(fraction: 16), rows: .outputs, width: width),
      BufferDescription(.codes8(scales: 1), rows: .outputs, width: width),
      BufferDescription(.fixed(fraction: 16), rows: .outputs, width: rows),
    ], states: [],
    ops: [
      .embed(weight: 0, out: 0), .select(input: 0, out: 1),
      .normQuant(input: 1, gamma: 1, out: 2, norm: NormOperands(kind: .rms, epsilon: 168)),
      .logits(input: 2, weight: 2, out: 3),
    ], context: 64, vocabulary: rows, output: 3)
  try program.assignSlots()
  return FileContents(
    metadata: ["name": .text("one product")], tensors: tensors.map { TensorContents($0) },
    program: program)
}
