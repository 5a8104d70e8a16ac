// The shape and constants of a decoder-only language model, whatever file it came from.
// SPDX-License-Identifier: Apache-2.0

/// How a norm brings a row to size.
public enum DecoderNorm: String, Sendable, Equatable {
  /// x / rms(x) · weight
  case rms
  /// (x − mean(x)) / deviation(x) · weight + bias
  case layer
}

/// The non-linearity of the feed-forward network.
public enum DecoderActivation: String, Sendable, Equatable {
  /// x · sigmoid(x)
  case silu
  /// GELU in its tanh form ("gelu_new", "gelu_pytorch_tanh").
  case geluTanh
  /// GELU with the error function ("gelu").
  case geluErf
  /// x · sigmoid(1.702 x)
  case quickGelu
  case relu
}

/// Which parameters a decoder has besides those that all have.
public struct DecoderParts: OptionSet, Sendable, Hashable {
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }

  public static let queryBias = DecoderParts(rawValue: 1 << 0)
  public static let keyBias = DecoderParts(rawValue: 1 << 1)
  public static let valueBias = DecoderParts(rawValue: 1 << 2)
  public static let outputBias = DecoderParts(rawValue: 1 << 3)
  public static let gateBias = DecoderParts(rawValue: 1 << 4)
  public static let upBias = DecoderParts(rawValue: 1 << 5)
  public static let downBias = DecoderParts(rawValue: 1 << 6)
  public static let headBias = DecoderParts(rawValue: 1 << 7)
  /// The norms add a bias (the beta of layer norm).
  public static let normBias = DecoderParts(rawValue: 1 << 8)
  /// The feed-forward network is down(act(gate(x)) · up(x)); without it, down(act(up(x))).
  public static let gate = DecoderParts(rawValue: 1 << 9)
  /// RMS norms of every head of q and of k before they turn.
  public static let headNorms = DecoderParts(rawValue: 1 << 10)
  /// Norms of what attention and feed-forward network give, before it is added (Gemma 2).
  public static let postNorms = DecoderParts(rawValue: 1 << 11)
  /// A learned row for every position is added to the embedding (GPT-2).
  public static let positions = DecoderParts(rawValue: 1 << 12)
  /// Attention and feed-forward network read the same residual (GPT-NeoX).
  public static let parallel = DecoderParts(rawValue: 1 << 13)
  /// With `parallel`: both read the attention's norm, and there is no other (Phi).
  public static let sharedNorm = DecoderParts(rawValue: 1 << 14)
  /// The head is the embedding.
  public static let tiedHead = DecoderParts(rawValue: 1 << 15)
  /// The two norms come behind the sums: x = N1(x + attention(x)), x = N2(x + feedForward(x)).
  public static let normsBehind = DecoderParts(rawValue: 1 << 16)
}

/// How one layer attends.
public struct LayerAttention: Sendable, Equatable, Hashable {
  /// Index into `DecoderDescription.rotary`; nil: positions do not turn q and k.
  public var rotary: Int?
  /// A token sees this many tokens, itself included; nil: all before it.
  public var window: Int?

  public init(rotary: Int? = 0, window: Int? = nil) {
    self.rotary = rotary
    self.window = window
  }
}

/// The shape and constants of a decoder.
///
/// A layer computes, with N a norm and x the residual stream:
/// x += P1(output(attend(query(N1 x), key(N1 x), value(N1 x)))), then x += P2(feedForward(N2 x)); P1
/// and P2 are nothing without `postNorms`. With `parallel` both read the same x.
public struct DecoderDescription: Sendable, Equatable {
  /// Number of tokens.
  public var vocabularySize: Int
  /// Width of the residual stream ("hidden size").
  public var width: Int
  /// Inner width of the feed-forward network ("intermediate size").
  public var feedForwardWidth: Int
  public var layers: Int
  public var queryHeads: Int
  /// Divides `queryHeads`; equal to it without grouped-query attention.
  public var keyValueHeads: Int
  /// Elements of one head; even where a rotary table turns them all.
  public var headWidth: Int
  /// Tokens the model was trained to see at once.
  public var contextLength: Int
  public var norm: DecoderNorm
  /// Added to the mean square (or the variance) inside every norm.
  public var normEpsilon: Float
  public var activation: DecoderActivation
  public var parts: DecoderParts
  /// The rotary tables that layers choose from; at most a few.
  public var rotary: [RotaryTable]
  /// [layers]
  public var attention: [LayerAttention]
  /// q·k is multiplied by this before the softmax; mostly 1/√headWidth.
  public var scoreScale: Double
  /// s becomes cap · tanh(s / cap), after the scale (Gemma 2).
  public var scoreCap: Double?
  /// The same for the logits.
  public var logitCap: Double?
  /// Whether a token sees only those before it and itself; else all.
  public var isCausal = true
  /// Whether integer programs pass rows of activations through a Hadamard before they are quantized.
  /// Blocks of weights are pruned without one: it would spread every channel over its block.
  public var spreadsRows = true
  /// Whether weights turn the residual stream by a Hadamard, so that programs need not.
  public var turnsResidual = false

  /// A description of a plain decoder (RMS norm, gate, one rotary table, no bias), to change.
  public init(
    vocabularySize: Int, width: Int, feedForwardWidth: Int, layers: Int, queryHeads: Int,
    keyValueHeads: Int, headWidth: Int, contextLength: Int, norm: DecoderNorm = .rms,
    normEpsilon: Float = 1e-5, activation: DecoderActivation = .silu,
    parts: DecoderParts = [.gate], rotary: [RotaryTable]
  ) {
    self.vocabularySize = vocabularySize
    self.width = width
    self.feedForwardWidth = feedForwardWidth
    self.layers = layers
    self.queryHeads = queryHeads
    self.keyValueHeads = keyValueHeads
    self.headWidth = headWidth
    self.contextLength = contextLength
    self.norm = norm
    self.normEpsilon = normEpsilon
    self.activation = activation
    self.parts = parts
    self.rotary = rotary
    attention = [LayerAttention](
      repeating: LayerAttention(rotary: rotary.isEmpty ? nil : 0), count: layers)
    scoreScale = 1 / Double(headWidth).squareRoot()
    scoreCap = nil
    logitCap = nil
  }

  /// Elements of all query heads of one token.
  public var queryWidth: Int { queryHeads * headWidth }
  /// Elements of all key (or value) heads of one token.
  public var keyValueWidth: Int { keyValueHeads * headWidth }
  public var tiedHead: Bool { parts.contains(.tiedHead) }

  /// Whether the numbers fit together: heads, tables and layers.
  var isConsistent: Bool {
    keyValueHeads > 0 && queryHeads % keyValueHeads == 0 && headWidth > 0
      && attention.count == layers
      && rotary.allSatisfy { !$0.frequencies.isEmpty && 2 * $0.frequencies.count <= headWidth }
      && attention.allSatisfy { layer in
        layer.rotary.map { rotary.indices.contains($0) } ?? true
          && layer.window.map { $0 > 0 } ?? true
      }
      && (parts.contains(.parallel) || !parts.contains(.sharedNorm))
      && (!parts.contains(.normsBehind) || parts.isDisjoint(with: [.parallel, .postNorms]))
      && (isCausal || attention.allSatisfy { $0.window == nil })
  }
}
