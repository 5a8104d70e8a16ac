// Files with overlays: read back, the same logits however they are run, and those of a dense tensor.
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

@Suite struct OverlaidFileTests {
  private func overlays(
    _ rows: Int, _ columns: Int, _ generator: inout SeededRandom
  ) -> [GridOverlay] {
    func values(_ count: Int) -> [Int8] {
      (0..<count).map { _ in Int8.random(in: -127...127, using: &generator) }
    }
    let list = (0..<columns).filter { _ in Int.random(in: 0..<50, using: &generator) == 0 }
    var (starts, cells) = ([0], [Int]())
    for row in 0..<rows {
      // Some rows have none, some gaps are above 255.
      for column in 0..<columns
      where row % 5 > 0 && Int.random(in: 0..<(row % 5 == 1 ? 400 : 30), using: &generator) == 0 {
        cells.append(column)
      }
      starts.append(cells.count)
    }
    return [
      GridOverlay(
        cells: .columns(list + [columns - 1]), step: 2, values: values(rows * (list.count + 1))),
      GridOverlay(
        cells: .entries(starts: starts, columns: cells), step: 4, values: values(cells.count)),
    ].map { overlay in
      guard case .columns(let list) = overlay.cells else { return overlay }
      var overlay = overlay
      let once = Set(list).sorted()
      overlay.cells = .columns(once)
      overlay.values = Array(overlay.values.prefix(rows * once.count))
      return overlay
    }
  }

  /// Logits of all tokens in steps of `chunk`.
  private func logits(
    _ path: String, kernels: UInt32, threads: UInt32, chunk: Int
  ) throws -> [Int32] {
    var options = HostOptions()
    options.chunk = UInt32(chunk)
    options.outputs = UInt32(chunk)
    options.kernels = kernels
    options.threads = threads
    let session = try HostSession(path, options)
    let tokens = (0..<45).map { Int32($0) }
    var all: [Int32] = []
    for start in stride(from: 0, to: tokens.count, by: chunk) {
      let part = tokens[start..<min(start + chunk, tokens.count)]
      try session.step(part, outputs: part.count)
      for i in 0..<part.count { all += session.logits(i) }
    }
    return all
  }

  @Test(arguments: [2, 4, 8], [0, 32])
  func overlaysAddToTheBase(bits: Int, group: Int) throws {
    var generator = SeededRandom.announced("overlays of \(bits) bits, group \(group)")
    try withTemporaryFolder { folder in
      let (rows, columns) = (45, 600)
      let range = GridTensor.codeRange(bits: bits)
      let groups = (columns + 31) / 32
      var base = GridTensor(
        rows: rows, columns: columns, bits: bits, group: group, exponent: 26,
        codes: (0..<rows * columns).map { _ in Int8(Int.random(in: range, using: &generator)) },
        mantissas: (0..<rows).map { _ in UInt16.random(in: 20000...65535, using: &generator) },
        groupScales: group == 0
          ? nil : (0..<rows * groups).map { _ in UInt8.random(in: 0...200, using: &generator) })
      let all = overlays(rows, columns, &generator)
      for overlays in [[all[0]], [all[1]], all] {
        base.overlays = overlays
        // The same numbers in 16 bits.
        let unit = base.mantissas.map { scalbn(Double($0), -base.exponent) }
        let values = base.dequantized()
        let wide = WideTensor(
          rows: rows, columns: columns, exponent: base.exponent,
          codes: values.values.enumerated().map {
            Int16((Double($0.element) / unit[$0.offset / columns]).rounded())
          }, mantissas: base.mantissas)
        let paths = ["overlaid", "wide"].map { folder.appendingPathComponent($0 + ".curta").path }
        for (path, head) in [
          (paths[0], QuantizedTensor(name: "head", .grid(base))),
          (paths[1], QuantizedTensor(name: "head", .wide(wide))),
        ] {
          var same = SeededRandom(7)
          _ = try writeCurta(
            try headContents(head, &same), to: path, codec: .auto, verify: { _ in })
        }
        let mapping = try FileMapping(paths[0])
        defer { withExtendedLifetime(mapping) {} }
        let file = try CurtaFile(mapping.bytes)
        let tensor = try file.tensors()[2]
        #expect(try TensorReader(file, tensor).matrix() == values)
        let decoded = try (0..<tensor.dataCount).reduce(UInt64(0)) { sum, i in
          sum + (try file.data(tensor.data + i).size)
        }
        #expect(decoded == UInt64(base.byteSize) && Int(tensor.shift) == base.shift)
        let expected = try logits(paths[0], kernels: 1, threads: 1, chunk: 45)
        for (kernels, threads, chunk) in [(0, 1, 45), (0, 3, 20), (1, 1, 1), (0, 2, 1)] {
          #expect(
            try logits(paths[0], kernels: UInt32(kernels), threads: UInt32(threads), chunk: chunk)
              == expected)
        }
        let dense = try logits(paths[1], kernels: 0, threads: 1, chunk: 45)
        let largest = dense.map { abs(Int($0)) }.max() ?? 0
        #expect(largest > 1 << 16)
        // Numbers are rounded at other places.
        for (a, b) in zip(expected, dense) { #expect(abs(Int(a) - Int(b)) <= 2 + largest >> 14) }
      }
    }
  }
}
