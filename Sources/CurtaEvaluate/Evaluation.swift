// Measures a file against the float checkpoint that it came from, position by position.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaImport
import CurtaRuntime
import CurtaTensor

/// How to measure.
public struct EvaluationOptions: Sendable, Equatable {
  /// Tokens that the model sees at once; nil: the file's context.
  public var context: Int?
  /// Tokens from one window to the next; nil: half the context.
  public var stride: Int?
  /// Predictions to score at most; nil: all.
  public var tokens: Int?
  public var documents = DocumentSelection.all
  /// Whether documents end with the end token; nil: those of a list do.
  public var endToken: Bool?
  /// Whether to run the float-arithmetic simulation of the same codes as well.
  public var simulate = false
  /// Whether to compare the layers one by one, over about `layerTokens` tokens.
  public var layers = false
  public var layerTokens = 512
  public var threads: UInt32 = 1

  public init() {}
}

/// What was measured. Divergences are in nats and go from the float reference to the model.
public struct EvaluationResult: Sendable {
  /// Predictions that were scored.
  public var tokens: Int
  /// exp of the mean negative log-likelihood, of the integer program.
  public var perplexity: Double
  public var referencePerplexity: Double
  public var klMean: Double
  /// Share of positions, 0…1, where both have the same likeliest token.
  public var top1Agreement: Double
  public var simulationPerplexity: Double?
  public var simulationKLMean: Double?
  /// Empty where it was not asked for.
  public var layers: [LayerError]
  public var documents: Int
  public var context: Int
  public var stride: Int
  public var duration: Duration
}

/// A measurement that is set up: texts cut into windows, models loaded.
public struct Evaluation {
  private let session: HostSession
  private var reference: FloatDecoder
  private var simulation: FloatDecoder?
  private var comparison: LayerComparison?
  private let layerTokens: Int
  private let windows: [TokenWindow]
  private let documents: Int
  private let shape: TokenWindows

  /// Predictions that will be scored.
  public var tokens: Int { windows.reduce(0) { $0 + $1.scored } }

  /// Loads the file and its reference and tokenizes the text.
  ///
  /// Throws `HostError`, `ImportError` or `CurtaError`.
  public init(
    file path: String, reference checkpoint: Checkpoint, text: TextDocuments,
    _ options: EvaluationOptions = EvaluationOptions()
  ) throws {
    let mapping = try FileMapping(path)
    let plan = try planSession(mapping)
    let context = options.context ?? Int(plan.context)
    let stride = options.stride ?? max(1, context / 2)
    guard context >= 1, context <= Int(plan.context) else {
      throw HostError.request("a context of \(context); 1 to \(plan.context) are possible here")
    }
    guard stride >= 1, stride <= context else {
      throw HostError.request("a stride of \(stride); 1 to the context, \(context), are possible")
    }
    let description = checkpoint.source.description
    guard description.vocabularySize == Int(plan.vocabulary) else {
      throw HostError.request(
        "the file has \(plan.vocabulary) tokens, the reference \(description.vocabularySize);"
          + " give the checkpoint that the file was converted from")
    }
    var hostOptions = HostOptions()
    hostOptions.context = UInt32(context)
    hostOptions.chunk = UInt32(min(64, context))
    hostOptions.outputs = hostOptions.chunk
    hostOptions.threads = options.threads
    session = try HostSession(mapping, hostOptions)
    guard let tokenizer = session.session.tokenizer else {
      throw HostError.request("\(path) has no tokenizer; convert with --tokenizer to measure text")
    }

    let texts = try options.documents.apply(text)
    shape = TokenWindows(context: context, stride: stride)
    let end = options.endToken ?? text.isList ? checkpoint.eos.first : nil
    windows = try Evaluation.windows(
      texts, tokenizer, shape, end: end, limit: options.tokens)
    documents = texts.count
    reference = FloatDecoder(try DecoderWeights(checkpoint.source))
    layerTokens = options.layerTokens
    guard options.simulate || options.layers else { return }
    let model = try DequantizedModel(CurtaFile(mapping.bytes), like: description)
    if options.simulate {
      simulation = FloatDecoder(
        model.weights, transform: FakeQuantization.transform(model.spreading, codes: model.codes))
    }
    if options.layers {
      comparison = LayerComparison(
        reference: model.weights.description.turnsResidual
          ? try DecoderWeights(checkpoint.source.foldingNormBiases().turningResidual())
          : reference.weights,
        simulated: model)
    }
  }

  /// Windows of texts, each followed by `end` where there is one. Throws where nothing is left to
  /// predict.
  static func windows(
    _ texts: [String], _ tokenizer: Tokenizer, _ shape: TokenWindows, end: Int32?, limit: Int?
  ) throws -> [TokenWindow] {
    var tokens: [[Int32]] = []
    for text in texts {
      tokens.append(try tokenizer.tokens(of: text) + (end.map { [$0] } ?? []))
    }
    let windows = shape.windows(of: tokens, limit: limit)
    guard !windows.isEmpty else { throw HostError.request("the text is too short to measure on") }
    return windows
  }

  /// Runs it; `progress` is told the number of predictions scored so far.
  public mutating func run(progress: (Int) -> Void = { _ in }) throws -> EvaluationResult {
    let clock = ContinuousClock()
    let start = clock.now
    var integer = ScoreSum()
    var float = ScoreSum()
    var simulated = ScoreSum()
    let vocabulary = reference.description.vocabularySize
    var p = LogProbabilities(vocabulary: vocabulary)
    var q = LogProbabilities(vocabulary: vocabulary)
    for window in windows {
      let expected = Evaluation.logits(of: window, &reference)
      let approximate = simulation != nil ? Evaluation.logits(of: window, &simulation!) : nil
      try forEachScored(window) { position, logits in
        let target = window.targets[position]
        let row = position - (window.inputs.count - window.scored)
        p.set(expected.row(row))
        float.add(p, target: target, reference: nil)
        q.set(logits)
        integer.add(q, target: target, reference: p)
        if let approximate {
          q.set(approximate.row(row))
          simulated.add(q, target: target, reference: p)
        }
      }
      progress(integer.positions)
    }
    var layers: [LayerError] = []
    if let comparison {
      var left = layerTokens
      let some = windows.prefix { window in
        defer { left -= window.inputs.count }
        return left > 0
      }
      layers = comparison.run(Array(some))
    }
    return EvaluationResult(
      tokens: integer.positions, perplexity: integer.perplexity,
      referencePerplexity: float.perplexity, klMean: integer.meanDivergence,
      top1Agreement: integer.agreement,
      simulationPerplexity: simulation == nil ? nil : simulated.perplexity,
      simulationKLMean: simulation == nil ? nil : simulated.meanDivergence,
      layers: layers, documents: documents, context: shape.context, stride: shape.stride,
      duration: clock.now - start)
  }

  /// Float logits of the scored positions of a window, [scored][vocabulary].
  static func logits(of window: TokenWindow, _ decoder: inout FloatDecoder) -> Matrix {
    var state = FloatDecoderState(decoder.description)
    return decoder.forward(tokens: window.inputs, outputs: window.scored, state: &state)
  }

  /// Runs the integer program over a window and gives the scored rows with their positions.
  private func forEachScored(
    _ window: TokenWindow, _ body: (Int, UnsafeBufferPointer<Int32>) -> Void
  ) throws {
    try session.rewind()
    let first = window.inputs.count - window.scored
    var at = 0
    while at < window.inputs.count {
      let count = min(Int(session.plan.chunk), window.inputs.count - at)
      // Only the rows that are scored, but a step makes at least one.
      let outputs = max(1, min(count, at + count - first))
      try session.step(window.inputs[at..<at + count], outputs: outputs)
      for row in 0..<outputs where at + count - outputs + row >= first {
        body(at + count - outputs + row, session.logits(row))
      }
      at += count
    }
  }
}

/// Perplexity of a float checkpoint alone, over windows.
public func floatPerplexity(_ weights: DecoderWeights, _ windows: [TokenWindow]) -> Double {
  var decoder = FloatDecoder(weights)
  var sum = ScoreSum()
  var p = LogProbabilities(vocabulary: weights.description.vocabularySize)
  for window in windows {
    let logits = Evaluation.logits(of: window, &decoder)
    let first = window.inputs.count - window.scored
    for row in 0..<window.scored {
      p.set(logits.row(row))
      sum.add(p, target: window.targets[first + row], reference: nil)
    }
  }
  return sum.perplexity
}
