// Masked grids: the record, the stream of the mask, and the codes and cells that survive.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension TensorContents {
  /// Which cells of a grid survive (`Formats/curta-encodings.md` section 5). Codes, scales and offsets
  /// are given as those of a dense tensor; codes of pruned cells are 0.
  public enum Mask: Sendable, Equatable {
    /// [strips of 16 rows][blocks of 32 columns]; group scales need groups of 32.
    case blocks([Bool])
    /// [N][K], n of every m columns.
    case pattern(n: Int, m: Int, survives: [Bool])
    /// Ascending.
    case columns([Int])

    /// The modifier record and its stream.
    func modifier(rows: Int, columns: Int) -> Modifier {
      let (form, first, second): (MaskForm, Int, Int)
      switch self {
      case .blocks(let survives):
        let blocks = (columns + 31) / 32
        (form, first, second) = (
          .blocks, survives.count { $0 }, survives.suffix(blocks).count { $0 }
        )
      case .pattern(let n, let m, _): (form, first, second) = (.pattern, n, m)
      case .columns(let list): (form, first, second) = (.columns, list.count, 0)
      }
      return Modifier(
        kind: .mask, form: Int(form.rawValue), first: first, second: second,
        streams: [stream(rows: rows, columns: columns)])
    }

    /// The stream of the mask.
    private func stream(rows: Int, columns: Int) -> [UInt8] {
      var bytes: [UInt8] = []
      switch self {
      case .blocks(let survives): return bitmap(survives[...])
      case .pattern(_, _, let survives):
        for row in 0..<rows {
          bytes += bitmap(survives[row * columns..<(row + 1) * columns])
          bytes.append(zeros: -bytes.count & 3)
        }
      case .columns(let list): bytes.append(littleValues: list.map { UInt32($0) })
      }
      return bytes
    }

    /// Codes [rows][columns] of which those of survivors are left, side by side.
    func packed(_ codes: [Int8], rows: Int, columns: Int, bits: Int) -> [UInt8] {
      var left: [Int8] = []
      switch self {
      case .blocks(let survives):
        forEachBlock(survives, rows: rows, columns: columns) { row, block in
          let own = codes[
            row * columns + block * 32..<row * columns + min(block * 32 + 32, columns)]
          left += own
          left += repeatElement(0, count: 32 - own.count)
        }
        return Packing.pack(left, rows: left.count / 32, columns: 32, bits: bits)
      case .pattern(_, _, let survives):
        for (code, lives) in zip(codes, survives) where lives { left.append(code) }
      case .columns(let list):
        for row in 0..<rows { for column in list { left.append(codes[row * columns + column]) } }
      }
      return Packing.pack(left, rows: rows, columns: left.count / rows, bits: bits)
    }

    /// Group scales or offsets [rows][groups] of which those that are stored are left.
    func cells<T>(_ values: [T], rows: Int, columns: Int) -> [T] {
      guard case .blocks(let survives) = self else { return values }
      let blocks = (columns + 31) / 32
      var left: [T] = []
      forEachBlock(survives, rows: rows, columns: columns) { row, block in
        left.append(values[row * blocks + block])
      }
      return left
    }

    private func forEachBlock(
      _ survives: [Bool], rows: Int, columns: Int, _ body: (_ row: Int, _ block: Int) -> Void
    ) {
      let blocks = (columns + 31) / 32
      for row in 0..<rows {
        for block in 0..<blocks where survives[row / 16 * blocks + block] { body(row, block) }
      }
    }

    /// Which columns of a row survive, [columns].
    func survivors(row: Int, columns: Int) -> [Bool] {
      switch self {
      case .blocks(let survives):
        let first = row / 16 * ((columns + 31) / 32)
        return (0..<columns).map { survives[first + $0 / 32] }
      case .pattern(_, _, let survives):
        return Array(survives[row * columns..<(row + 1) * columns])
      case .columns(let list):
        var survives = [Bool](repeating: false, count: columns)
        for column in list { survives[column] = true }
        return survives
      }
    }
  }

  /// What breaks a rule in the mask of a grid whose codes have been counted, or nil.
  func maskFault(_ grid: Grid, _ mask: Mask) -> String? {
    let blocks = (columns + 31) / 32
    switch mask {
    case .blocks(let survives):
      if survives.count != (rows + 15) / 16 * blocks { return "a mask of \(survives.count) blocks" }
      if !survives.contains(true) { return "its mask leaves no block" }
      if grid.groupScales != nil, grid.group != 32 {
        return "groups of \(grid.group) with a mask of blocks; groups of 32 or none are possible"
      }
    case .pattern(let n, let m, let survives):
      if ![2, 4, 8, 16, 32].contains(m) || n < 1 || n >= m || columns % m != 0 {
        return "a mask of \(n) of \(m) columns is not possible with \(columns) columns"
      }
      if survives.count != rows * columns { return "a mask of \(survives.count) cells" }
      for first in stride(from: 0, to: survives.count, by: m)
      where survives[first..<first + m].count(where: { $0 }) != n {
        return "row \(first / columns) does not have \(n) survivors in every \(m) columns"
      }
    case .columns(let list):
      if list.isEmpty || 32 * list.count < columns { return "a mask leaves \(list.count) columns" }
      if list[0] < 0 || list[list.count - 1] >= columns
        || zip(list, list.dropFirst()).contains(where: >=)
      {
        return "the columns of its mask are not in order"
      }
    }
    if case .blocks = mask {
    } else if grid.groupOffsets != nil {
      return "group offsets with this mask are not possible"
    }
    for row in 0..<rows {
      let survives = mask.survivors(row: row, columns: columns)
      for column in 0..<columns where grid.codes[row * columns + column] != 0 && !survives[column] {
        return "the pruned cell \(row), \(column) has a code"
      }
    }
    return nil
  }
}

/// Bits as bytes, lowest first.
private func bitmap(_ bits: ArraySlice<Bool>) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: (bits.count + 7) / 8)
  for (i, bit) in bits.enumerated() where bit { bytes[i / 8] |= 1 << UInt8(i % 8) }
  return bytes
}
