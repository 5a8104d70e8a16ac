// The overlays of a tensor: numbers of 8 bits that are added to those of its base.
// SPDX-License-Identifier: Apache-2.0

/// A modifier record of kind 2 or 3, `curta-encodings.md` section 6.
public struct TensorOverlay: Sendable {
  /// p: values are in units of 2^p.
  public let step: UInt32
  /// Columns, or entries of a residual.
  public let count: UInt32
  /// A: the largest sum of abs(v) * 2^p over a row.
  public let bound: UInt32

  public static let largestStep: UInt32 = 15
  /// Entries in a row of a residual at most.
  public static let largestCount: UInt32 = 65535
}

/// Kinds of modifiers (`registry.tsv`, table `modifier`); a tensor has them in this order.
public enum ModifierKind: UInt16, Sendable {
  case mask = 1
  case outlierColumns = 2
  case sparseResidual = 3

  /// Data sections of such a modifier.
  public var streams: Int {
    switch self {
    case .mask: return 1
    case .outlierColumns: return 2
    case .sparseResidual: return 3
    }
  }

  /// The number that is reserved.
  static let inputTransform: UInt16 = 5
}

extension TensorDescriptor {
  /// Whether its numbers are not those of its base alone.
  public var hasModifiers: Bool { mask != nil || outliers != nil || residual != nil }

  /// Streams of the base; that of a mask is next.
  public var baseStreams: UInt32 {
    switch encoding {
    case .grid: return 2 + (hasGroupScales ? 1 : 0) + (hasGroupOffsets ? 1 : 0)
    case .wide: return 2
    case .words: return 1
    }
  }

  /// The first stream of the outlier columns: columns, then values.
  public var outlierStream: UInt32 { baseStreams + (mask == nil ? 0 : 1) }

  /// The first stream of the residual: counts, then gaps, then values.
  public var residualStream: UInt32 { outlierStream + (outliers == nil ? 0 : 2) }

  /// All streams.
  var streams: UInt32 { residualStream + (residual == nil ? 0 : 3) }

  /// Decoded bytes of stream `i`, which belongs to an overlay.
  func overlaySize(_ i: UInt32) -> UInt64 {
    if let outliers, i < outlierStream + 2 {
      return i == outlierStream ? 4 * UInt64(outliers.count) : UInt64(rows) * UInt64(outliers.count)
    }
    return i == residualStream ? 2 * UInt64(rows) : UInt64(residual?.count ?? 0)
  }

  /// Whether an overlay of that kind fits a tensor of this shape.
  func allows(_ overlay: TensorOverlay, _ kind: ModifierKind) -> Bool {
    let most =
      kind == .outlierColumns
      ? UInt64(columns) : UInt64(rows) * UInt64(min(columns, TensorOverlay.largestCount))
    return overlay.step <= TensorOverlay.largestStep && overlay.count >= 1
      && UInt64(overlay.count) <= most
  }
}
