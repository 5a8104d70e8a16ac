// Reads the parameters of one module out of its file.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension ModuleView {
  /// The weight, [rows][columns]; a vector without columns.
  func weight(
    _ tensor: StoredTensor, rows: Int, columns: Int?
  ) throws(ImportError) -> [Float] {
    var values = try taken(tensor, rows: rows, columns: columns)
    if plus != 0 || times != 1 {
      var allFinite = true
      values.withUnsafeMutableBufferPointer { values in
        for i in 0..<values.count {
          values[i] = (values[i] + plus) * times
          allFinite = allFinite && values[i].isFinite
        }
      }
      guard allFinite else {
        throw .bad(
          .notFinite, file: tensor.file.path, field: tensor.name, offset: tensor.offset,
          "has values too large to be multiplied by \(times)")
      }
    }
    return values
  }

  /// The bias, [rows].
  func bias(_ tensor: StoredTensor, rows: Int) throws(ImportError) -> [Float] {
    try taken(tensor, rows: rows, columns: nil)
  }

  /// The rows of this module, in the order in which the decoder wants them.
  private func taken(
    _ tensor: StoredTensor, rows: Int, columns: Int?
  ) throws(ImportError) -> [Float] {
    let width = columns ?? 1
    var values: [Float]
    if let columns, isTransposed {
      values = try transposed(tensor, rows: rows, columns: columns)
    } else if let fused, tensor.canCut(width) {
      values = []
      values.reserveCapacity(rows * width)
      for first in stride(from: 0, to: rows, by: fused.count) {
        let start = fused.source(first) * width
        values += try tensor.floats(start..<start + min(fused.count, rows - first) * width)
      }
    } else {
      values = try tensor.floats(0..<(fused?.total ?? rows) * width)
      if let fused {
        let all = values
        values = (0..<rows).flatMap { row in
          all[fused.source(row) * width..<(fused.source(row) + 1) * width]
        }
      }
    }
    guard let interleavedHeads else { return values }
    return Matrix(rows: rows, columns: width, values: values)
      .halfSplitRows(heads: interleavedHeads).values
  }

  /// [rows][columns] out of a file's [columns][all rows].
  private func transposed(
    _ tensor: StoredTensor, rows: Int, columns: Int
  ) throws(ImportError) -> [Float] {
    let total = fused?.total ?? rows
    let all = try tensor.floats(0..<columns * total)
    var values = [Float](repeating: 0, count: rows * columns)
    all.withUnsafeBufferPointer { all in
      values.withUnsafeMutableBufferPointer { values in
        for row in 0..<rows {
          let source = fused?.source(row) ?? row
          for column in 0..<columns {
            values[row * columns + column] = all[column * total + source]
          }
        }
      }
    }
    return values
  }
}

extension StoredTensor {
  /// Whether rows of so many elements can be decoded alone.
  func canCut(_ columns: Int) -> Bool { columns % (coding?.block.elements ?? 1) == 0 }
}
