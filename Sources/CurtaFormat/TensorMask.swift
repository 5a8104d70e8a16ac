// The mask of a tensor: which cells survive, and so which codes are stored.
// SPDX-License-Identifier: Apache-2.0

/// Forms of a mask (`registry.tsv`, table `mask`).
public enum MaskForm: UInt16, Sendable {
  case blocks = 1
  case pattern = 2
  case columns = 3
}

/// A modifier record of kind 1, `curta-encodings.md` section 5.
public struct TensorMask: Sendable {
  public let form: MaskForm
  /// blocks: the blocks that survive; pattern: n of n:m; columns: the columns that survive.
  public let first: UInt32
  /// blocks: the blocks that survive in the last strip; pattern: m; columns: 0.
  public let second: UInt32

  /// Rows that share their surviving blocks.
  public static let stripRows: UInt32 = 16
}

extension TensorDescriptor {
  /// S, the number of strips of 16 rows.
  public var strips: UInt32 { (rows + (TensorMask.stripRows - 1)) / TensorMask.stripRows }

  /// Whether its mask leaves whole blocks.
  public var hasBlockMask: Bool { mask.map { $0.form == .blocks } ?? false }

  /// K', the codes of a row that are stored; not for masks of blocks.
  public var storedColumns: UInt32 {
    guard let mask else { return columns }
    return mask.form == .pattern ? columns / mask.second * mask.first : mask.first
  }

  /// The blocks of 32 codes that are stored.
  public var storedBlocks: UInt64 {
    guard let mask, mask.form == .blocks else {
      return UInt64(rows) * UInt64((storedColumns + 31) / 32)
    }
    let whole = TensorMask.stripRows
    let lastRows = rows - (strips - 1) * whole
    return UInt64(mask.first - mask.second) * UInt64(whole) + UInt64(mask.second) * UInt64(lastRows)
  }

  /// The group scales, or group offsets, that are stored.
  var storedCells: UInt64 { hasBlockMask ? storedBlocks : UInt64(rows) * UInt64(groups) }

  /// Decoded bytes of the mask's stream.
  func maskSize(_ mask: TensorMask) -> UInt64 {
    switch mask.form {
    case .blocks: return (UInt64(strips) * UInt64(blocks) + 7) / 8
    case .pattern: return UInt64(rows) * UInt64(blocks) * 4
    case .columns: return UInt64(mask.first) * 4
    }
  }

  /// Whether `mask` fits a tensor of this shape.
  func allows(_ mask: TensorMask) -> Bool {
    let (first, second) = (mask.first, mask.second)
    switch mask.form {
    case .blocks:
      return first >= 1 && second <= blocks && second <= first
        && UInt64(first - second) <= UInt64(strips - 1) * UInt64(blocks)
        && (!hasGroupScales || group == 32)
    case .pattern:
      return second >= 2 && second <= 32 && second & (second - 1) == 0 && first >= 1
        && first < second && columns % second == 0 && !hasGroupOffsets
    case .columns:
      return second == 0 && first <= columns && UInt64(columns) <= 32 * UInt64(first)
        && !hasGroupOffsets
    }
  }
}
