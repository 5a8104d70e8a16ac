// The places where the integer runtime quantizes activations, and hooks on them.
// SPDX-License-Identifier: Apache-2.0

/// A place in the decoder where the integer runtime turns activations into codes.
public enum ActivationSite: String, Sendable, CaseIterable, Hashable {
  /// Input of the query, key and value projections, after the norm; one row per token.
  case attentionInput
  /// Queries after rotation; one row per (token, head).
  case query
  /// Keys after rotation, as they enter the cache; one row per (token, head).
  case key
  /// Values as they enter the cache; one row per (token, head).
  case value
  /// What values are weighted with, behind the softmax; one row per (head, token), a call per head.
  case attentionWeights
  /// Input of the output projection; one row per token.
  case attentionOutput
  /// Input of the gate and up projections, after the norm; one row per token.
  case feedForwardInput
  /// act(gate)·up, the input of the down projection; one row per token.
  case feedForwardProduct
  /// Input of the head, after the final norm; one row per token.
  case headInput
  /// The residual stream after the embedding and after every add; one row per token. Its largest
  /// magnitude sets a fixed point: look, don't change.
  case residual
  // Rows that are numbers in fixed point where a bias, a norm of the heads or a post norm needs it;
  // one row per token. Look, don't change.
  /// Queries, keys and values as the projections give them.
  case queryRow, keyRow, valueRow
  /// The projections in front of the activation.
  case gateRow, upRow
  /// What the post norms read.
  case attentionResult, feedForwardResult
}

/// What a caller does to the activations of every site, in place.
///
/// Called with the site, the layer, the values [rows][rowWidth] and the row width. The layer is
/// 0…layers−1; the embedding's residual counts as layer 0 and the head input as the last layer.
public struct SiteTransform {
  public typealias Body = (
    _ site: ActivationSite, _ layer: Int, _ values: inout [Float], _ rowWidth: Int
  ) -> Void

  private let body: Body?

  public init(_ body: @escaping Body) {
    self.body = body
  }

  private init() {
    body = nil
  }

  /// Leaves everything as it is.
  public static var none: SiteTransform { SiteTransform() }

  /// This transform, then the other.
  public func then(_ next: SiteTransform) -> SiteTransform {
    SiteTransform { site, layer, values, rowWidth in
      self.apply(site, layer, &values, rowWidth)
      next.apply(site, layer, &values, rowWidth)
    }
  }

  func apply(_ site: ActivationSite, _ layer: Int, _ values: inout [Float], _ rowWidth: Int) {
    body?(site, layer, &values, rowWidth)
  }
}

/// Keeps the largest magnitude seen at every site of every layer; changes nothing.
public final class ActivationRecorder {
  private struct Key: Hashable {
    let site: ActivationSite
    let layer: Int
  }

  private var maxima: [Key: Float] = [:]

  public init() {}

  /// The hook to give to a decoder; it records into this object.
  public var transform: SiteTransform {
    SiteTransform { site, layer, values, _ in
      let found = largestMagnitude(values)
      self.maxima[Key(site: site, layer: layer), default: 0].formMaximum(found)
    }
  }

  /// Largest |x| at the site of one layer; 0 where nothing was seen.
  public func maximum(_ site: ActivationSite, layer: Int) -> Float {
    maxima[Key(site: site, layer: layer)] ?? 0
  }

  /// Largest |x| at the site over all layers; 0 where nothing was seen.
  public func maximum(_ site: ActivationSite) -> Float {
    maxima.reduce(0) { $1.key.site == site ? max($0, $1.value) : $0 }
  }
}

extension Float {
  fileprivate mutating func formMaximum(_ other: Float) {
    self = Swift.max(self, other)
  }
}
