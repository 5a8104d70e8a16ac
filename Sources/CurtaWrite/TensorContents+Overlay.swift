// Overlays of grids: numbers of 8 bits that are added, as records and streams.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension TensorContents {
  /// Columns of every row to which values · 2^step · m · 2^−exponent are added
  /// (`Formats/curta-encodings.md` section 6).
  public struct OutlierColumns: Sendable, Equatable {
    /// 0…15.
    public var step: Int
    /// Ascending.
    public var columns: [Int]
    public var values: [Int8]  // [rows][columns.count], −127…127

    public init(step: Int, columns: [Int], values: [Int8]) {
      self.step = step
      self.columns = columns
      self.values = values
    }

    func modifier(rows: Int) -> Modifier {
      let count = columns.count
      var list: [UInt8] = []
      list.append(littleValues: columns.map { UInt32($0) })
      let largest = (0..<rows).map { row in
        values[row * count..<(row + 1) * count].reduce(0) { $0 + abs(Int($1)) }
      }.max()
      return Modifier(
        kind: .outlierColumns, form: step, first: count, second: (largest ?? 0) << step,
        streams: [list, values.map { UInt8(bitPattern: $0) }])
    }
  }

  /// Cells to which values · 2^step · m · 2^−exponent are added.
  public struct SparseResidual: Sendable, Equatable {
    /// 0…15.
    public var step: Int
    /// The entries of row n are `starts[n]..<starts[n + 1]`; [rows + 1].
    public var starts: [Int]
    /// Ascending in a row.
    public var columns: [Int]
    public var values: [Int8]  // [columns.count], −127…127

    public init(step: Int, starts: [Int], columns: [Int], values: [Int8]) {
      self.step = step
      self.starts = starts
      self.columns = columns
      self.values = values
    }

    func modifier(rows: Int) -> Modifier {
      var counts: [UInt16] = []
      var gaps: [UInt8] = []
      var stored: [UInt8] = []
      var largest = 0
      for row in 0..<rows {
        var next = 0
        let first = gaps.count
        var sum = 0
        for i in starts[row]..<starts[row + 1] {
          while columns[i] - next > 255 {  // a value of 0 bridges the gap
            gaps.append(255)
            stored.append(0)
            next += 256
          }
          gaps.append(UInt8(columns[i] - next))
          stored.append(UInt8(bitPattern: values[i]))
          next = columns[i] + 1
          sum += abs(Int(values[i]))
        }
        counts.append(UInt16(truncatingIfNeeded: gaps.count - first))
        largest = max(largest, sum)
      }
      var bytes: [UInt8] = []
      bytes.append(littleValues: counts)
      return Modifier(
        kind: .sparseResidual, form: step, first: gaps.count, second: largest << step,
        streams: [bytes, gaps, stored])
    }
  }

  /// A modifier record and its streams.
  struct Modifier: Sendable, Equatable {
    var kind: ModifierKind
    var form: Int
    var first: Int
    var second: Int
    var streams: [[UInt8]] = []
  }

  /// What breaks a rule in the overlays of a grid, or nil.
  func overlayFault(_ grid: Grid) -> String? {
    func fault(_ step: Int, _ values: [Int8], _ count: Int) -> String? {
      if !(0...Int(TensorOverlay.largestStep)).contains(step) {
        return "an overlay in units of 2^\(step)"
      }
      if values.count != count { return "\(values.count) values of an overlay of \(count)" }
      return values.contains(.min) ? "a value of an overlay is -128" : nil
    }
    func isAscending(_ list: ArraySlice<Int>) -> Bool {
      zip(list, list.dropFirst()).allSatisfy(<) && (list.first ?? 0) >= 0
        && (list.last ?? 0) < columns
    }
    if let outliers = grid.outliers {
      let list = outliers.columns
      if list.isEmpty || !isAscending(list[...]) {
        return "its outlier columns are none, or not in order"
      }
      if let fault = fault(outliers.step, outliers.values, rows * list.count) { return fault }
    }
    if let residual = grid.residual {
      let (starts, list) = (residual.starts, residual.columns)
      guard starts.count == rows + 1, starts[0] == 0, starts[rows] == list.count, !list.isEmpty,
        zip(starts, starts.dropFirst()).allSatisfy(<=)
      else { return "the rows of its residual are not those of the tensor" }
      for row in 0..<rows where !isAscending(list[starts[row]..<starts[row + 1]]) {
        return "the residual of row \(row) is not in order"
      }
      if starts.indices.dropLast().contains(where: {
        starts[$0 + 1] - starts[$0] + columns / 256 > Int(TensorOverlay.largestCount)
      }) {
        return "a row of its residual has more than \(TensorOverlay.largestCount) entries"
      }
      if let fault = fault(residual.step, residual.values, list.count) { return fault }
    }
    return nil
  }
}
