// Runs the float model over what it is calibrated on and writes the moments of its inputs.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a run of `Conversion.gatherStatistics` gave.
public struct StatisticsReport: Sendable {
  /// Distinct inputs of linear layers.
  public var inputs: Int
  /// Rows of text or images behind each.
  public var rows: Int
  public var fileBytes: Int
  public var times: StageTimes
}

extension Conversion {
  /// Writes the statistics of the source to `output`, which appears whole or not at all.
  ///
  /// The recipe plays no part. All moments, 2 bytes for each pair of inputs, are in memory. Throws
  /// `ImportError`, `ConversionError`, `WriteError`.
  public func gatherStatistics(
    to output: String, progress: (ConversionStage) -> Void = { _ in }
  ) throws -> StatisticsReport {
    let clock = StageClock()
    return try withoutActuallyEscaping(progress) { progress in
      try gatherStatistics(to: output, clock) { stage in
        clock.enter(stage)
        progress(stage)
      }
    }
  }

  private func gatherStatistics(
    to output: String, _ clock: StageClock, progress: (ConversionStage) -> Void
  ) throws -> StatisticsReport {
    progress(.reading)
    try Conversion.checkTarget(output)
    if isVisionCheckpoint(source) {
      let checkpoint = try vision.load(source)
      try Conversion.check(output, isNoneOf: checkpoint.sourceFiles)
      try checkpoint.weights.description.checkLimits()
      let images = calibration.images ?? VisionCalibration.drawn(checkpoint.weights.description)
      return try Conversion.gatherStatistics(
        LayerStack(checkpoint.weights, images), ends: nil,
        metadata: Provenance.metadata(checkpoint, name: modelName, recipe: recipe), to: output,
        clock, progress)
    }
    let checkpoint = try loadCheckpoint(source, tokenizer: tokenizer, context: context)
    try Conversion.check(output, isNoneOf: checkpoint.sourceFiles)
    let source = checkpoint.source.foldingNormBiases()
    try source.description.checkLimits()
    let sequences = try CalibrationText.sequences(checkpoint, calibration)
    let ends = try source.ends()
    return try Conversion.gatherStatistics(
      LayerStack(source, ends, sequences), ends: ends,
      metadata: Provenance.metadata(checkpoint, name: modelName, recipe: recipe), to: output,
      clock, progress)
  }

  private static func gatherStatistics(
    _ stack: LayerStack, ends: DecoderEnds?, metadata: [String: MetadataValue],
    to output: String, _ clock: StageClock, _ progress: (ConversionStage) -> Void
  ) throws -> StatisticsReport {
    var plain = stack.d
    plain.spreadsRows = false
    let moments = InputMoments(Spreading(plain))
    let runner = LayerRunner(plain, moments.transform)
    var streams = stack.streams
    var tensors: [TensorContents] = []
    func take(layer: Int) throws {
      let gathered = try moments.all()
      let found = ActivationSite.linearInputs.compactMap { site in
        gathered[site].map { Statistics.tensor(site.statisticsName(layer: layer), $0) }
      }
      tensors += try TensorContents.packed(found, .forced(.stored))
      moments.reset()
    }
    for index in 0..<stack.d.layers {
      progress(.measuring(layer: index, count: stack.d.layers))
      let layer = try stack.layer(index)
      for i in streams.indices {
        var cache = LayerCache()
        runner.run(layer, index, &streams[i], from: 0, &cache)
      }
      try take(layer: index)
    }
    if let ends {
      for stream in streams { runner.headInput(stream, ends) }
      try take(layer: stack.d.layers)
    }
    progress(.writing)
    let rows = streams.reduce(0) { $0 + $1.rows }
    var entries = metadata
    entries["recipe"] = nil
    entries["work.rows"] = .integer(UInt64(rows))
    entries["work.sequence"] = .integer(UInt64(streams.map(\.rows).max() ?? 0))
    let sizes = try writeWork(
      .statistics, FileContents(metadata: entries, tensors: tensors, programBytes: [0]),
      to: output)
    return StatisticsReport(
      inputs: tensors.count, rows: rows, fileBytes: sizes.fileSize, times: clock.finish())
  }
}
