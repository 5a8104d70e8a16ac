// A decoder whose parameters are read when they are asked for, a layer at a time.
// SPDX-License-Identifier: Apache-2.0

/// The parameters of a decoder, still in their file: nobody needs memory for all of them at once.
public struct DecoderSource: Sendable {
  public let description: DecoderDescription
  /// Number of parameters; a tied head counts once.
  public let parameterCount: Int
  private let readEnds: @Sendable () throws -> DecoderEnds
  private let readLayer: @Sendable (Int) throws -> DecoderLayer

  /// `ends` and `layer` give tensors of the shapes that the description asks for, the same ones
  /// however often they are called; they throw where the file turns out to be damaged.
  public init(
    description: DecoderDescription, parameterCount: Int,
    ends: @escaping @Sendable () throws -> DecoderEnds,
    layer: @escaping @Sendable (Int) throws -> DecoderLayer
  ) {
    self.description = description
    self.parameterCount = parameterCount
    readEnds = ends
    readLayer = layer
  }

  /// Parameters that are in memory already.
  public init(_ weights: DecoderWeights) {
    self.init(
      description: weights.description, parameterCount: weights.parameterCount,
      ends: { weights.ends }, layer: { weights.layers[$0] })
  }

  /// Embedding, final norm and head.
  public func ends() throws -> DecoderEnds { try readEnds() }
  /// Layer `index`, 0 ..< layers.
  public func layer(_ index: Int) throws -> DecoderLayer { try readLayer(index) }
}
