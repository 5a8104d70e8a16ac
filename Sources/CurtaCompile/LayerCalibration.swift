// Runs what a conversion is calibrated on through the layers, each behind the quantized ones before.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// The residual streams of all calibration inputs, on their way through a model.
///
/// A layer first runs with its float weights while the moments of its linear layers' inputs are
/// gathered (`watch`), then with the weights that the file will hold (`advance`), so that the next
/// layer sees what it will see in the end (as GPTQ does, Frantar et al. 2022). Activations are rounded
/// to codes in both. Where much is lost, as by pruning, `aim` does more in place of the two.
struct LayerCalibration {
  private let d: DecoderDescription
  private let parts: [LayerPart]
  private let spreading: Spreading
  /// Whether what a block gives is normed before it enters the sum.
  private let hasPostNorms: Bool
  private let exact: LayerRunner
  private let rounded: LayerRunner
  /// [rows][width] each.
  private(set) var streams: [Matrix]
  /// Those of the float model; nil where nothing aims at them.
  private var exactStreams: [Matrix]?

  /// `streams` are the rows that enter the first layer, `codes` those of the attention weights; `aims`
  /// says whether tensors are made by `aim`, `rounds` whether activations become codes.
  init(
    _ d: DecoderDescription, _ streams: [Matrix], codes: [ScoreCode] = [], aims: Bool = false,
    rounds: Bool = true
  ) {
    self.d = d
    parts = LayerPart.present(in: d.parts)
    spreading = Spreading(d)
    hasPostNorms = d.parts.contains(.postNorms)
    exact = LayerRunner(d)
    rounded =
      rounds ? LayerRunner(d, FakeQuantization.transform(spreading, codes: codes)) : exact
    self.streams = streams
    exactStreams = aims ? streams : nil
  }

  /// The moments of the inputs of layer `index` with its float weights; the streams stay. Throws
  /// `QuantizeError`.
  func watch(_ layer: DecoderLayer, _ index: Int) throws -> InputMoments {
    let moments = InputMoments(spreading)
    var passages = streams.map(LayerPassage.init)
    for stage in LayerStage.allCases {
      guard let site = stage.site else { break }
      passages = rounded.advance(passages, to: stage, layer, index)
      for passage in passages { try moments.gather(passage.rows, at: site) }
    }
    return moments
  }

  /// Takes the streams behind layer `index`, whose tensors are those of the file in its order.
  mutating func advance(_ layer: DecoderLayer, _ index: Int, as tensors: [PackedTensor]) {
    var quantized = layer
    for (part, tensor) in zip(parts, tensors) { part.set(tensor.values, in: &quantized) }
    streams = rounded.run(quantized, index, over: streams)
    if exactStreams != nil {
      exactStreams = exactStreams.map { exact.run(layer, index, over: $0) }
    }
  }

  /// Takes the streams behind layer `index` as it is.
  mutating func advance(_ layer: DecoderLayer, _ index: Int) {
    streams = rounded.run(layer, index, over: streams)
  }

  /// The tensors of layer `index`, each made for the sums to come closest to those of the float model;
  /// the streams stay.
  ///
  /// Within the layer, too, each linear layer sees the rows that the quantized ones before it make, and
  /// the float model runs beside, for what its outputs should be (`InputMoments.target`). `quantize` is
  /// called for the parts of the layer as their inputs become known, with their places among all.
  /// Throws what it throws, and `QuantizeError`.
  func aim(
    _ layer: DecoderLayer, _ index: Int,
    quantize: (Range<Int>, InputMoments) throws -> [PackedTensor]
  ) throws -> [PackedTensor] {
    var quantized = layer
    var tensors: [PackedTensor] = []
    var passages = streams.map(LayerPassage.init)
    var exactPassages = (exactStreams ?? streams).map(LayerPassage.init)
    for stage in LayerStage.allCases {
      guard let site = stage.site else { break }
      passages = rounded.advance(passages, to: stage, quantized, index)
      exactPassages = exact.advance(exactPassages, to: stage, layer, index)
      let moments = InputMoments(spreading, sumsAreNormed: hasPostNorms)
      for (passage, exact) in zip(passages, exactPassages) {
        try moments.gather(passage, exact: exact, at: site)
      }
      let own = parts.indices.filter { parts[$0].stage == stage }
      guard let first = own.first else { continue }
      let places = first..<first + own.count
      let made = try quantize(places, moments)
      for (place, tensor) in zip(places, made) { parts[place].set(tensor.values, in: &quantized) }
      tensors += made
    }
    return tensors
  }

  /// The tensors of layer `index` learned together, in place of `tensors`, which solvers made, for the
  /// sums of the float model; the streams stay. For those that the float layer makes of the quantized rows
  /// less is won (curta-stories, 3 bits, 4 096 tokens: KL 0.171 without learning, 0.163 so, 0.142 for the
  /// float model's). Throws `ConversionError`, `QuantizeError`.
  func learn(
    _ tensors: [PackedTensor], of layer: DecoderLayer, _ index: Int, _ rule: BlockRule
  ) throws -> (tensors: [PackedTensor], report: BlockReport) {
    guard streams.count > 1 else {
      throw ConversionError.unsupported([
        "'blocks' with one input to look at: some are learned from and others held out"
      ])
    }
    let targets = exact.run(layer, index, over: exactStreams ?? streams)
    let learning = BlockLearning(
      rule: rule, d: d, parts: parts, runner: rounded, layer: layer, index: index)
    return try learning.run(
      tensors, zip(streams, targets).map { BlockLearning.Sample(input: $0, target: $1) })
  }

  /// Gathers the moments of the head's input.
  func watchHead(_ ends: DecoderEnds) throws -> InputMoments {
    let moments = InputMoments(spreading)
    for stream in streams {
      try moments.gather(rounded.headInput(stream, ends), at: .headInput)
    }
    return moments
  }
}

extension LayerStage {
  /// Where its rows become codes; nil at the end.
  var site: ActivationSite? {
    switch self {
    case .attentionInput: .attentionInput
    case .attentionOutput: .attentionOutput
    case .feedForwardInput: .feedForwardInput
    case .feedForwardProduct: .feedForwardProduct
    case .end: nil
    }
  }
}

extension LayerPart {
  /// The stage whose rows it multiplies, or that comes before it is needed. Parts come in the order of
  /// their stages.
  fileprivate var stage: LayerStage {
    switch self {
    case .attentionNorm, .attentionNormBias, .query, .queryBias, .queryNorm, .key, .keyBias,
      .keyNorm, .value, .valueBias:
      .attentionInput
    case .output, .outputBias, .attentionPostNorm, .feedForwardNorm, .feedForwardNormBias:
      .attentionOutput
    case .gate, .gateBias, .up, .upBias: .feedForwardInput
    case .down, .downBias, .feedForwardPostNorm: .feedForwardProduct
    }
  }
}

extension LayerRunner {
  /// The way of several streams to `stage` in layer `index`, each from position 0, on all cores.
  fileprivate func advance(
    _ passages: [LayerPassage], to stage: LayerStage, _ layer: DecoderLayer, _ index: Int
  ) -> [LayerPassage] {
    SingleThreadedBLAS.run {
      concurrentMap(passages.count) { i in
        var (passage, cache) = (passages[i], LayerCache())
        advance(&passage, to: stage, layer, index, from: 0, &cache)
        return passage
      }
    }
  }

  /// Several streams behind layer `index`, each from position 0, on all cores.
  func run(_ layer: DecoderLayer, _ index: Int, over streams: [Matrix]) -> [Matrix] {
    SingleThreadedBLAS.run {
      concurrentMap(streams.count) { i in
        var (stream, cache) = (streams[i], LayerCache())
        run(layer, index, &stream, from: 0, &cache)
        return stream
      }
    }
  }
}
