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
      let images =
        calibration.images
        ?? DrawnScenes.images(checkpoint.weights.description, count: calibration.drawnImages)
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
    var calibration = LayerCalibration(plain, stack.streams, rounds: false)
    var tensors: [TensorContents] = []
    func take(_ moments: InputMoments, layer: Int) throws {
      let found = ActivationSite.linearInputs.filter { $0.isPresent(in: plain) }.flatMap { site in
        moments.all[site].map { Statistics.tensors(site.statisticsName(layer: layer), $0) } ?? []
      }
      tensors += try TensorContents.packed(found, .forced(.stored))
    }
    for index in 0..<stack.d.layers {
      progress(.measuring(layer: index, count: stack.d.layers))
      let layer = try stack.layer(index)
      try take(calibration.watch(layer, index), layer: index)
      calibration.advance(layer, index)
    }
    if let ends { try take(calibration.watchHead(ends), layer: stack.d.layers) }
    progress(.writing)
    let rows = stack.streams.reduce(0) { $0 + $1.rows }
    var entries = metadata
    entries["recipe"] = nil
    entries["work.rows"] = .integer(UInt64(rows))
    entries["work.sequence"] = .integer(UInt64(stack.streams.map(\.rows).max() ?? 0))
    let sizes = try writeWork(
      .statistics, FileContents(metadata: entries, tensors: tensors, programBytes: [0]),
      to: output)
    return StatisticsReport(
      inputs: tensors.count / 2, rows: rows, fileBytes: sizes.fileSize, times: clock.finish())
  }
}
