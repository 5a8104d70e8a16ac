// The rows of query and key in the order of Hugging Face.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension Matrix {
  /// The rows of `heads` heads whose neighbours 2i and 2i + 1 turn together, in the order in which
  /// i and i + half of a head do.
  ///
  /// The scores of attention stay the same, as query and key change alike. What is quantized later
  /// depends on the order, so one order for all sources gives one result for all.
  func halfSplitRows(heads: Int) -> Matrix {
    let headWidth = rows / heads
    let half = headWidth / 2
    var reordered: [Float] = []
    reordered.reserveCapacity(values.count)
    for row in 0..<rows {
      let (head, i) = (row / headWidth, row % headWidth)
      let source = head * headWidth + 2 * (i % half) + i / half
      reordered += values[source * columns..<(source + 1) * columns]
    }
    return Matrix(rows: rows, columns: columns, values: reordered)
  }
}
