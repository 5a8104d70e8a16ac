// Which cells of a grid survive pruning.
// SPDX-License-Identifier: Apache-2.0

/// The mask of a grid tensor (`Formats/curta-encodings.md` section 5). Pruned cells are 0.
public enum GridMask: Sendable, Equatable {
  case blocks(BlockMask)
  case pattern(PatternMask)
  /// The columns that every row keeps, ascending.
  case columns([Int])

  /// Which columns of a row survive, [columns].
  public func survivors(row: Int, columns: Int) -> [Bool] {
    switch self {
    case .blocks(let mask):
      return (0..<columns).map { mask.survives[mask.index(row: row, column: $0)] }
    case .pattern(let mask):
      return Array(mask.survives[row * columns..<(row + 1) * columns])
    case .columns(let list):
      var survives = [Bool](repeating: false, count: columns)
      for column in list { survives[column] = true }
      return survives
    }
  }

  /// The blocks of 32 codes that are stored of a tensor [rows][columns].
  func storedBlocks(rows: Int, columns: Int) -> Int {
    switch self {
    case .blocks(let mask): mask.storedBlocks
    case .pattern(let mask): rows * ((columns / mask.m * mask.n + 31) / 32)
    case .columns(let list): rows * ((list.count + 31) / 32)
    }
  }

  /// Bytes of the mask's stream.
  func byteSize(rows: Int, columns: Int) -> Int {
    switch self {
    case .blocks(let mask): (mask.survives.count + 7) / 8
    case .pattern: rows * ((columns + 31) / 32) * 4
    case .columns(let list): list.count * 4
    }
  }

  /// The share of cells that survive.
  public func density(rows: Int, columns: Int) -> Double {
    switch self {
    case .blocks(let mask): mask.density
    case .pattern(let mask): Double(mask.n) / Double(mask.m)
    case .columns(let list): Double(list.count) / Double(columns)
    }
  }
}

/// Blocks of 16 rows by 32 columns that survive; the last of a strip and the last strip may be
/// smaller.
public struct BlockMask: Sendable, Equatable {
  public static let height = 16
  public static let width = 32

  public let rows: Int
  public let columns: Int
  public var survives: [Bool]  // [strips][blocks]

  public var strips: Int { (rows + BlockMask.height - 1) / BlockMask.height }
  /// Blocks in a strip.
  public var blocks: Int { (columns + BlockMask.width - 1) / BlockMask.width }

  /// All blocks survive.
  public init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    survives = []
    survives = [Bool](repeating: true, count: strips * blocks)
  }

  /// The block of a cell.
  public func index(row: Int, column: Int) -> Int {
    row / BlockMask.height * blocks + column / BlockMask.width
  }

  /// Rows of a strip.
  public func rows(of strip: Int) -> Range<Int> {
    strip * BlockMask.height..<min((strip + 1) * BlockMask.height, rows)
  }

  /// Columns of a block of a strip.
  public func columns(of block: Int) -> Range<Int> {
    block * BlockMask.width..<min((block + 1) * BlockMask.width, columns)
  }

  /// The share of cells that survive.
  public var density: Double {
    var cells = 0
    for strip in 0..<strips {
      for block in 0..<blocks where survives[strip * blocks + block] {
        cells += rows(of: strip).count * columns(of: block).count
      }
    }
    return Double(cells) / Double(rows * columns)
  }

  var storedBlocks: Int {
    (0..<strips).reduce(0) { sum, strip in
      sum + rows(of: strip).count
        * survives[strip * blocks..<(strip + 1) * blocks].count { $0 }
    }
  }
}

/// n survivors in every m columns of a row; m is 2, 4, 8, 16 or 32 and divides the columns.
public struct PatternMask: Sendable, Equatable {
  public let n: Int
  public let m: Int
  public var survives: [Bool]  // [rows][columns]

  public init(n: Int, m: Int, survives: [Bool]) {
    self.n = n
    self.m = m
    self.survives = survives
  }
}
