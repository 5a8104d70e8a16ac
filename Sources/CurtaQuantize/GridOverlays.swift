// What is added to a grid where few bits do not reach: outlier columns and a sparse residual.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Values of 8 bits that are added to a grid, v · 2^step · m · 2^−exponent with the row's mantissa m
/// (`Formats/curta-encodings.md` section 6).
public struct GridOverlay: Sendable, Equatable {
  public enum Cells: Sendable, Equatable {
    /// The same columns in every row, ascending.
    case columns([Int])
    /// Row n has the columns `columns[starts[n]..<starts[n + 1]]`, ascending.
    case entries(starts: [Int], columns: [Int])
  }

  public var cells: Cells
  /// 0…15.
  public var step: Int
  /// Row after row, −127…127.
  public var values: [Int8]

  public init(cells: Cells, step: Int, values: [Int8]) {
    self.cells = cells
    self.step = step
    self.values = values
  }

  /// The columns of a row.
  func columns(of row: Int) -> ArraySlice<Int> {
    switch cells {
    case .columns(let list): list[...]
    case .entries(let starts, let columns): columns[starts[row]..<starts[row + 1]]
    }
  }

  /// The first of the row's values.
  func start(of row: Int) -> Int {
    switch cells {
    case .columns(let list): row * list.count
    case .entries(let starts, _): starts[row]
    }
  }

  /// Bytes of the streams in a file.
  func byteSize(rows: Int) -> Int {
    switch cells {
    case .columns(let list): return list.count * (4 + rows)
    case .entries(let starts, let columns):
      var bridges = 0
      for row in 0..<rows {
        var next = 0
        for column in columns[starts[row]..<starts[row + 1]] {
          bridges += (column - next) / 256
          next = column + 1
        }
      }
      return rows * 2 + (columns.count + bridges) * 2
    }
  }

  /// A: the largest sum of |v| · 2^step of a row.
  func bound(rows: Int) -> UInt64 {
    let sums = (0..<rows).map { row in
      let first = start(of: row)
      return values[first..<first + columns(of: row).count].reduce(0) { $0 + UInt64($1.magnitude) }
    }
    return (sums.max() ?? 0) << UInt64(step)
  }

  /// Adds v · 2^step of a row to `sums` [columns].
  func add(_ row: Int, to sums: inout [Int]) {
    for (i, column) in zip(start(of: row)..., columns(of: row)) {
      sums[column] += Int(values[i]) << step
    }
  }
}

/// Which cells of the layers' tensors get values of 8 bits besides their codes.
///
/// As JSON: `{"columns": 0.01}` or `{"residual": 0.005}`. A tensor may have one of them.
public enum OutlierRule: Sendable, Equatable {
  /// The share of columns, at least one.
  case columns(Double)
  /// The share of cells, at least one.
  case residual(Double)

  /// Columns, or cells, of a tensor of that shape.
  func count(rows: Int, columns: Int) -> Int {
    switch self {
    case .columns(let share): max(1, Int((share * Double(columns)).rounded()))
    case .residual(let share): max(1, Int((share * Double(rows * columns)).rounded()))
    }
  }

  /// Bytes that it adds to a tensor of that shape, of a residual about: bridges of gaps above 255
  /// columns hang on the cells.
  public func byteSize(rows: Int, columns: Int) -> Int {
    let count = count(rows: rows, columns: columns)
    switch self {
    case .columns: return count * (4 + rows)
    case .residual(let share):
      // Of a cell in `share` of all, a gap is bridged 1 / ((1 − share)^−256 − 1) times.
      let bridges = share < 1 ? Double(count) / (pow(1 - share, -256) - 1) : 0
      return rows * 2 + (count + min(Int(bridges), rows * columns / 256)) * 2
    }
  }
}

extension OutlierRule: Codable {
  private enum Keys: String, CodingKey, CaseIterable { case columns, residual }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, "'outliers'", allowed: Keys.allCases.map(\.rawValue))
    let columns = try object.value(Double.self, "columns")
    let residual = try object.value(Double.self, "residual")
    guard let share = columns ?? residual, columns == nil || residual == nil else {
      throw RecipeProblem(reason: "'outliers' has either 'columns' or 'residual'")
    }
    guard share > 0, share <= 0.5 else {
      throw RecipeProblem(
        reason: "'outliers' has a share of \(share); it is above 0 and at most 0.5")
    }
    self = columns == nil ? .residual(share) : .columns(share)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    switch self {
    case .columns(let share): try container.encode(share, forKey: .columns)
    case .residual(let share): try container.encode(share, forKey: .residual)
    }
  }
}
