// One tensor read back from a file: its integers, and the real numbers that they stand for.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// Reads one tensor back from its data sections.
package struct TensorReader {
  private let file: CurtaFile
  private let tensor: TensorDescriptor

  package init(_ file: CurtaFile, _ tensor: TensorDescriptor) {
    self.file = file
    self.tensor = tensor
  }

  private func bytes(_ stream: UInt32) throws -> [UInt8] {
    try file.decodedBytes(file.data(tensor.data + stream))
  }

  private func integers<T: FixedWidthInteger & BitwiseCopyable>(
    _ stream: UInt32, _ type: T.Type
  ) throws -> [T] {
    let bytes = try bytes(stream)
    return bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<T>.size).map {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self))
      }
    }
  }

  /// The real numbers [rows][columns], rounded once to float32.
  package func matrix() throws -> Matrix {
    guard let values = try quantized().dequantized() else {
      throw CurtaError(.badProgram, section: SectionKind.program)
    }
    return values
  }

  /// The integers.
  func quantized() throws -> QuantizedTensor {
    let (rows, columns) = (Int(tensor.rows), Int(tensor.columns))
    let base: QuantizedTensor.Base
    switch tensor.encoding {
    case .words:
      base = .words(WordsTensor(rows: rows, columns: columns, words: try integers(0, UInt32.self)))
    case .wide:
      base = .wide(
        WideTensor(
          rows: rows, columns: columns, exponent: Int(tensor.exponent),
          codes: try integers(0, Int16.self), mantissas: try integers(1, UInt16.self)))
    case .grid: base = .grid(try grid())
    }
    return QuantizedTensor(name: tensor.name.string, base)
  }

  /// The integers of a grid, those of pruned cells 0.
  private func grid() throws -> GridTensor {
    let (rows, columns) = (Int(tensor.rows), Int(tensor.columns))
    let packed = try bytes(0)
    let scales = tensor.hasGroupScales ? try bytes(2) : nil
    let offsets = tensor.hasGroupOffsets ? try integers(3, Int16.self) : nil
    let mask = try mask()
    let layout = MaskLayout(tensor, mask)
    var grid = GridTensor(
      rows: rows, columns: columns, bits: Int(tensor.bits), group: Int(tensor.group),
      exponent: Int(tensor.exponent),
      codes: layout.codes(unpack(packed, rows: layout.storedRows, columns: layout.storedColumns)),
      mantissas: try integers(1, UInt16.self), groupScales: scales.map(layout.cells),
      groupOffsets: offsets.map(layout.cells), mask: mask)
    grid.overlays = try [outliers(), residual()].compactMap(\.self)
    return grid
  }

  private func outliers() throws -> GridOverlay? {
    guard let record = tensor.outliers else { return nil }
    let first = tensor.outlierStream
    return GridOverlay(
      cells: .columns(try integers(first, UInt32.self).map { Int($0) }), step: Int(record.step),
      values: try integers(first + 1, Int8.self))
  }

  private func residual() throws -> GridOverlay? {
    guard let record = tensor.residual else { return nil }
    let first = tensor.residualStream
    let gaps = try integers(first + 1, UInt8.self)
    var starts = [0]
    var columns: [Int] = []
    for count in try integers(first, UInt16.self) {
      var next = 0
      for _ in 0..<count {
        columns.append(next + Int(gaps[columns.count]))
        next = columns[columns.count - 1] + 1
      }
      starts.append(columns.count)
    }
    return GridOverlay(
      cells: .entries(starts: starts, columns: columns), step: Int(record.step),
      values: try integers(first + 2, Int8.self))
  }

  private func mask() throws -> GridMask? {
    guard let record = tensor.mask else { return nil }
    let (rows, columns) = (Int(tensor.rows), Int(tensor.columns))
    let stream = tensor.baseStreams
    switch record.form {
    case .blocks:
      let bits = try bytes(stream)
      var mask = BlockMask(rows: rows, columns: columns)
      for i in mask.survives.indices { mask.survives[i] = bits[i / 8] >> UInt8(i % 8) & 1 == 1 }
      return .blocks(mask)
    case .pattern:
      let words = try integers(stream, UInt32.self)
      let blocks = Int(tensor.blocks)
      let survives = (0..<rows * columns).map { i in
        words[i / columns * blocks + i % columns / 32] >> UInt32(i % columns % 32) & 1 == 1
      }
      return .pattern(
        PatternMask(n: Int(record.first), m: Int(record.second), survives: survives))
    case .columns: return .columns(try integers(stream, UInt32.self).map { Int($0) })
    }
  }

  /// Codes [rows][columns] out of blocks of 32 (`Formats/curta-encodings.md` section 2).
  private func unpack(_ packed: [UInt8], rows: Int, columns: Int) -> [Int8] {
    let bits = Int(tensor.bits)
    if bits == 8, columns % 32 == 0 { return packed.map { Int8(bitPattern: $0) } }
    let blocks = (columns + 31) / 32
    let zero = bits == 8 ? 0 : 1 << (bits - 1)
    var codes = [Int8](repeating: 0, count: rows * columns)
    for row in 0..<rows {
      for column in 0..<columns {
        let block = (row * blocks + column / 32) * 4 * bits
        let i = column % 32
        var value = 0
        var plane = block
        var low = 0
        for width in [8, 4, 2, 1] where bits & width != 0 {
          let length = 4 * width
          let byte = Int(packed[plane + i % length])
          value |= (byte >> (i / length * width) & ((1 << width) - 1)) << low
          plane += length
          low += width
        }
        codes[row * columns + column] = Int8(truncatingIfNeeded: value - zero)
      }
    }
    return codes
  }
}

/// Where stored codes and cells lie in the dense tensor.
private struct MaskLayout {
  let rows: Int
  let columns: Int
  let mask: GridMask?
  /// The matrix that the stored codes are.
  let storedRows: Int
  let storedColumns: Int

  init(_ tensor: TensorDescriptor, _ mask: GridMask?) {
    rows = Int(tensor.rows)
    columns = Int(tensor.columns)
    self.mask = mask
    let isBlocks = tensor.hasBlockMask
    storedRows = isBlocks ? Int(tensor.storedBlocks) : rows
    storedColumns = isBlocks ? 32 : Int(tensor.storedColumns)
  }

  /// Codes [rows][columns], 0 where pruned.
  func codes(_ stored: [Int8]) -> [Int8] {
    guard let mask else { return stored }
    var codes = [Int8](repeating: 0, count: rows * columns)
    var next = 0
    for row in 0..<rows {
      let survives = mask.survivors(row: row, columns: columns)
      for column in 0..<columns where survives[column] {
        codes[row * columns + column] = stored[next]
        next += 1
      }
      // The last block of blocks is whole in the file.
      if case .blocks = mask, survives[columns - 1] { next += -columns & 31 }
    }
    return codes
  }

  /// Scales or offsets [rows][groups], 0 where pruned.
  func cells<T: FixedWidthInteger>(_ stored: [T]) -> [T] {
    guard case .blocks(let mask) = mask else { return stored }
    var cells: [T] = []
    var next = 0
    for row in 0..<rows {
      for block in 0..<mask.blocks {
        let survives = mask.survives[mask.index(row: row, column: block * BlockMask.width)]
        cells.append(survives ? stored[next] : 0)
        if survives { next += 1 }
      }
    }
    return cells
  }
}
