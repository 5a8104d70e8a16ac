// A tensor in integers, as a file holds it, and the real numbers that it stands for.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A named tensor in one of the base encodings of `Formats/curta-encodings.md`.
public struct QuantizedTensor: Sendable, Equatable {
  public enum Base: Sendable, Equatable {
    case grid(GridTensor)
    case wide(WideTensor)
    case words(WordsTensor)
  }

  public var name: String
  public var base: Base

  public init(name: String, _ base: Base) {
    self.name = name
    self.base = base
  }

  /// N, the number of outputs.
  public var rows: Int {
    switch base {
    case .grid(let tensor): tensor.rows
    case .wide(let tensor): tensor.rows
    case .words(let tensor): tensor.rows
    }
  }

  /// K, the number of inputs.
  public var columns: Int {
    switch base {
    case .grid(let tensor): tensor.columns
    case .wide(let tensor): tensor.columns
    case .words(let tensor): tensor.columns
    }
  }

  /// Bytes of all streams before compression.
  public var byteSize: Int {
    switch base {
    case .grid(let tensor): tensor.byteSize
    case .wide(let tensor): tensor.byteSize
    case .words(let tensor): tensor.byteSize
    }
  }

  /// Bits of all streams before compression, over rows · columns.
  public var bitsPerWeight: Double { Double(byteSize) * 8 / Double(rows * columns) }

  /// The real numbers [rows][columns], rounded once to float32; nil for words, which are integers.
  public func dequantized() -> Matrix? {
    switch base {
    case .grid(let tensor): tensor.dequantized()
    case .wide(let tensor): tensor.dequantized()
    case .words: nil
    }
  }
}

/// `W[n][k] = m[n] · (s[n][g] · c[n][k] + o[n][g]) · 2^−exponent`
public struct GridTensor: Sendable, Equatable {
  public var rows: Int
  public var columns: Int
  /// 2…8.
  public var bits: Int
  /// Columns in a group, a multiple of 32; 0 is the whole row.
  public var group: Int
  /// −64…64.
  public var exponent: Int
  public var codes: [Int8]  // [rows][columns]
  public var mantissas: [UInt16]  // [rows], 1…65535
  public var groupScales: [UInt8]?  // [rows][groups]
  public var groupOffsets: [Int16]?  // [rows][groups], −32767…32767
  /// Codes of pruned cells are 0; their scales and offsets say nothing.
  public var mask: GridMask?
  /// What is added; one of columns and one of entries at most.
  public var overlays: [GridOverlay] = []

  public init(
    rows: Int, columns: Int, bits: Int, group: Int, exponent: Int, codes: [Int8],
    mantissas: [UInt16], groupScales: [UInt8]? = nil, groupOffsets: [Int16]? = nil,
    mask: GridMask? = nil
  ) {
    self.rows = rows
    self.columns = columns
    self.bits = bits
    self.group = group
    self.exponent = exponent
    self.codes = codes
    self.mantissas = mantissas
    self.groupScales = groupScales
    self.groupOffsets = groupOffsets
    self.mask = mask
  }

  /// The codes that b bits hold: −127…127 for 8 bits, else −2^(b−1)…2^(b−1)−1.
  public static func codeRange(bits: Int) -> ClosedRange<Int> {
    bits == 8 ? -127...127 : -(1 << (bits - 1))...(1 << (bits - 1)) - 1
  }

  /// G, the number of groups in a row.
  public var groups: Int { group == 0 ? 1 : (columns + group - 1) / group }

  public var byteSize: Int {
    let blocks = mask?.storedBlocks(rows: rows, columns: columns) ?? rows * ((columns + 31) / 32)
    var cells = rows * groups
    if case .blocks = mask { cells = blocks }
    return blocks * 4 * bits + rows * 2 + (groupScales == nil ? 0 : cells)
      + (groupOffsets == nil ? 0 : cells * 2)
      + (mask?.byteSize(rows: rows, columns: columns) ?? 0)
      + overlays.reduce(0) { $0 + $1.byteSize(rows: rows) }
  }

  /// The largest C of `curta-arithmetic.md` section 2: bounds |s · c + o|.
  var codeBound: UInt64 {
    var bound: UInt64 = bits == 8 ? 127 : 1 << UInt64(bits - 1)
    if groupScales != nil { bound *= 255 }
    if groupOffsets != nil { bound += 32767 }
    return bound
  }

  /// shift(W): products of this tensor are shifted right by so many bits.
  public var shift: Int {
    let added = overlays.reduce(0) { $0 + $1.bound(rows: rows) }
    return productShift(columns: columns, codeBound: codeBound, added: added)
  }

  /// The real numbers [rows][columns], exact in double precision, rounded once to float32.
  public func dequantized() -> Matrix {
    var values = [Float](repeating: 0, count: rows * columns)
    values.withUnsafeMutableBufferPointer { values in
      forEachRow(rows) { row in
        dequantize(
          row,
          into: UnsafeMutableBufferPointer(rebasing: values[row * columns..<(row + 1) * columns]))
      }
    }
    return Matrix(rows: rows, columns: columns, values: values)
  }

  /// The real numbers of one row, [columns].
  func dequantize(_ row: Int, into values: UnsafeMutableBufferPointer<Float>) {
    let width = group == 0 ? columns : group
    let unit = scalbn(Double(mantissas[row]), -exponent)
    let survives = groupOffsets == nil ? nil : mask?.survivors(row: row, columns: columns)
    var added = overlays.isEmpty ? [] : [Int](repeating: 0, count: columns)
    for overlay in overlays { overlay.add(row, to: &added) }
    for column in 0..<columns {
      let extra = added.isEmpty ? 0 : added[column]
      if let survives, !survives[column] {
        values[column] = Float(unit * Double(extra))
        continue
      }
      let cell = row * groups + column / width
      let scale = groupScales.map { Int($0[cell]) } ?? 1
      let offset = groupOffsets.map { Int($0[cell]) } ?? 0
      let integer = scale * Int(codes[row * columns + column]) + offset + extra
      values[column] = Float(unit * Double(integer))
    }
  }
}

/// `W[n][k] = m[n] · c[n][k] · 2^−exponent`
public struct WideTensor: Sendable, Equatable {
  public var rows: Int
  public var columns: Int
  /// −64…64.
  public var exponent: Int
  public var codes: [Int16]  // [rows][columns], −32767…32767
  public var mantissas: [UInt16]  // [rows], 1…65535

  public init(rows: Int, columns: Int, exponent: Int, codes: [Int16], mantissas: [UInt16]) {
    self.rows = rows
    self.columns = columns
    self.exponent = exponent
    self.codes = codes
    self.mantissas = mantissas
  }

  public var byteSize: Int { rows * columns * 2 + rows * 2 }

  /// shift(W): products of this tensor are shifted right by so many bits.
  public var shift: Int { productShift(columns: columns, codeBound: 32767) }

  /// The real numbers [rows][columns], exact in double precision, rounded once to float32.
  public func dequantized() -> Matrix {
    var values: [Float] = []
    values.reserveCapacity(rows * columns)
    for row in 0..<rows {
      let unit = scalbn(Double(mantissas[row]), -exponent)
      for code in codes[row * columns..<(row + 1) * columns] {
        values.append(Float(unit * Double(code)))
      }
    }
    return Matrix(rows: rows, columns: columns, values: values)
  }
}

/// Constants [rows][columns].
public struct WordsTensor: Sendable, Equatable {
  public var rows: Int
  public var columns: Int
  public var words: [UInt32]  // [rows][columns]

  public init(rows: Int, columns: Int, words: [UInt32]) {
    self.rows = rows
    self.columns = columns
    self.words = words
  }

  public var byteSize: Int { rows * columns * 4 }
}

/// shift(W) of `curta-arithmetic.md` section 2: max(0, bits(127 · (K · C + A) · 65535) − 30).
func productShift(columns: Int, codeBound: UInt64, added: UInt64 = 0) -> Int {
  let bound = 127 * (UInt64(columns) * codeBound + added) * 65535  // below 2^57
  return max(0, UInt64.bitWidth - bound.leadingZeroBitCount - 30)
}
