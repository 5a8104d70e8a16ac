// Brings the overlays of tensors to where the kernels read them, checking every value on the way.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension Loader {
  mutating func placeOverlays(
    _ tensor: TensorDescriptor, to weight: inout curta_weight
  ) throws(CurtaError) {
    if let outliers = tensor.outliers { try place(outliers, of: tensor, to: &weight) }
    if let residual = tensor.residual { try placeResidual(residual, of: tensor, to: &weight) }
  }

  /// The list of outlier columns, which ascends, and their values.
  private mutating func place(
    _ outliers: TensorOverlay, of tensor: TensorDescriptor, to weight: inout curta_weight
  ) throws(CurtaError) {
    let first = tensor.data + tensor.outlierStream
    let columns = try place(file.data(first)).base.assumingMemoryBound(to: UInt32.self)
    let count = Int(outliers.count)
    for i in 0..<count {
      guard columns[i] < tensor.columns, i == 0 || columns[i] > columns[i - 1] else {
        throw bad(first, 4 * i)
      }
    }
    let bytes = try place(file.data(first + 1))
    let values = bytes.base.assumingMemoryBound(to: Int8.self)
    var largest: UInt64 = 0
    for row in 0..<Int(tensor.rows) {
      var sum: UInt64 = 0
      for i in row * count..<(row + 1) * count { sum += UInt64(values[i].magnitude) }
      largest = max(largest, sum)
    }
    try check(outliers, values: bytes, largest: largest, data: first + 1)
    weight.outliers = outliers.count
    weight.outlier_step = outliers.step
    weight.outlier_columns = UnsafePointer(columns)
    weight.outlier_values = UnsafePointer(values)
  }

  /// Where the entries of each row begin, from their counts, the gaps between them and their values.
  private mutating func placeResidual(
    _ residual: TensorOverlay, of tensor: TensorDescriptor, to weight: inout curta_weight
  ) throws(CurtaError) {
    let first = tensor.data + tensor.residualStream
    let counts = try decode(file.data(first), to: staging).base
      .assumingMemoryBound(to: UInt16.self)
    let rows = Int(tensor.rows)
    let starts = (base + Int(try next.take(UInt64(tensor.rows) + 1, 4)))
      .assumingMemoryBound(to: UInt32.self)
    var end: UInt32 = 0
    starts[0] = 0
    for row in 0..<rows {
      guard UInt32(counts[row]) <= residual.count - end else { throw bad(first, 2 * row) }
      end += UInt32(counts[row])
      starts[row + 1] = end
    }
    guard end == residual.count else { throw bad(first, 0) }
    let gaps = try place(file.data(first + 1)).base.assumingMemoryBound(to: UInt8.self)
    let bytes = try place(file.data(first + 2))
    let values = bytes.base.assumingMemoryBound(to: Int8.self)
    var largest: UInt64 = 0
    for row in 0..<rows {
      var column: UInt64 = 0  // at most 65535 * 256
      var sum: UInt64 = 0
      for i in Int(starts[row])..<Int(starts[row + 1]) {
        column += UInt64(gaps[i]) + 1
        sum += UInt64(values[i].magnitude)
      }
      guard column <= UInt64(tensor.columns) else { throw bad(first + 1, Int(starts[row])) }
      largest = max(largest, sum)
    }
    try check(residual, values: bytes, largest: largest, data: first + 2)
    weight.residual_step = residual.step
    weight.residual_starts = UnsafePointer(starts)
    weight.residual_gaps = UnsafePointer(gaps)
    weight.residual_values = UnsafePointer(values)
  }

  /// No value is -128, and A is the largest sum of a row.
  private func check(
    _ overlay: TensorOverlay, values: ByteView, largest: UInt64, data: UInt32
  ) throws(CurtaError) {
    if let at = values.firstIndex(of: 0x80) { throw bad(data, at) }
    guard largest &<< UInt64(overlay.step) == UInt64(overlay.bound) else { throw bad(data, 0) }
  }
}
