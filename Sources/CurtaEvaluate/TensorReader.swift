// The real numbers of one tensor of a file.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor

/// Reads one tensor back from its data sections.
struct TensorReader {
  private let file: CurtaFile
  private let tensor: TensorDescriptor

  init(_ file: CurtaFile, _ tensor: TensorDescriptor) {
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
  func matrix() throws -> Matrix {
    let (rows, columns) = (Int(tensor.rows), Int(tensor.columns))
    switch tensor.encoding {
    case .words: throw CurtaError(.badProgram, section: SectionKind.program)
    case .wide:
      return WideTensor(
        rows: rows, columns: columns, exponent: Int(tensor.exponent),
        codes: try integers(0, Int16.self), mantissas: try integers(1, UInt16.self)
      ).dequantized()
    case .grid:
      return GridTensor(
        rows: rows, columns: columns, bits: Int(tensor.bits), group: Int(tensor.group),
        exponent: Int(tensor.exponent), codes: unpack(try bytes(0)),
        mantissas: try integers(1, UInt16.self),
        groupScales: tensor.hasGroupScales ? try bytes(2) : nil,
        groupOffsets: tensor.hasGroupOffsets ? try integers(3, Int16.self) : nil
      ).dequantized()
    }
  }

  /// Codes [rows][columns] out of blocks of 32 (`Formats/curta-encodings.md` section 2).
  private func unpack(_ packed: [UInt8]) -> [Int8] {
    let bits = Int(tensor.bits)
    if bits == 8, tensor.columns % 32 == 0 { return packed.map { Int8(bitPattern: $0) } }
    let columns = Int(tensor.columns)
    let blocks = Int(tensor.blocks)
    let zero = bits == 8 ? 0 : 1 << (bits - 1)
    var codes = [Int8](repeating: 0, count: Int(tensor.rows) * columns)
    for row in 0..<Int(tensor.rows) {
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
