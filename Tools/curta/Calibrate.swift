// `curta calibrate`: a checkpoint's statistics become a file for any number of conversions.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile
import CurtaEvaluate
import CurtaQuantize

struct Calibrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure what enters a checkpoint's layers, for any number of conversions.",
    discussion: """
      Runs the float model and writes the second moments of the inputs of its linear layers. \
      `curta convert --statistics FILE` takes them in place of running the model, for every \
      calibrated recipe, and can convert a part of the layers. The model is run as it is, whereas \
      a conversion without --statistics runs the quantized layers, to which the next layers adapt.

      EXAMPLE:
        curta calibrate Examples/models/curta-stories -o stories.statistics
        curta convert Examples/models/curta-stories -o stories.curta --recipe best \\
          --statistics stories.statistics
      """)

  @Argument(help: "The checkpoint: a folder or a file.")
  var source: String

  @Option(name: .shortAndLong, help: "The file to write.")
  var output: String

  @Option(help: "A tokenizer.json or tokenizer .bin to use instead of the one beside the weights.")
  var tokenizer: String?

  @Option(
    help: ArgumentHelp(
      "A text, a JSON list of texts, or a folder or .tar of images (default: a text of the"
        + " converter's own; drawn images).", valueName: "path"))
  var calibration: String?

  @Option(
    help: ArgumentHelp(
      "Tokens of text, or images, to look at (default: 16384, 64).", valueName: "count"))
  var calibrationSize: Int?

  @Option(
    help: ArgumentHelp(
      "Of images: edge of the square that the model takes; positions are interpolated.",
      valueName: "pixels"))
  var imageSize: Int?

  @Option(
    help: ArgumentHelp(
      "Of images: what weights alone do not say, in place of curta-vision.json beside them.",
      valueName: "file"))
  var visionConfig: String?

  @Flag(help: "Print the result as JSON.")
  var json = false

  @Option(help: "Show progress: auto (on a terminal), always or never.")
  var progress: ProgressMode = .auto

  func validate() throws {
    if let calibrationSize, calibrationSize < 1 {
      throw ValidationError("--calibration-size is at least 1.")
    }
  }

  func run() throws {
    try reporting {
      var conversion = Conversion(source: source, tokenizer: tokenizer, recipe: .w8)
      conversion.vision.imageSize = imageSize
      conversion.vision.configuration = visionConfig
      try conversion.setCalibration(calibration, size: calibrationSize)
      let report = try measure(conversion)
      if json {
        try JSONOutput.print(StatisticsJSON(report, output))
      } else {
        Terminal.line(
          "\(printable(output)): \(grouped(report.fileBytes)) bytes, \(report.inputs) inputs over"
            + " \(grouped(report.rows)) rows")
        Terminal.line(report.times.text)
      }
    }
  }

  private func measure(_ conversion: Conversion) throws -> StatisticsReport {
    var line = ProgressLine(progress)
    defer { line.clear() }
    return try conversion.gatherStatistics(to: output) { stage in
      switch stage {
      case .measuring(let layer, let count):
        line.show("running layer \(layer + 1)", layer, of: count)
      case .writing: line.show("writing", 1, of: 1)
      default: line.show("reading \(source)", 0, of: 1)
      }
    }
  }
}

private struct StatisticsJSON: Encodable {
  let schema = "curta.calibrate/1"
  let file: String
  let inputs, rows, fileBytes: Int
  let seconds: Double
  let peakMemoryBytes: Int
  let stages: [String: StageJSON]

  init(_ report: StatisticsReport, _ output: String) {
    file = output
    inputs = report.inputs
    rows = report.rows
    fileBytes = report.fileBytes
    seconds = curta.seconds(report.times.duration)
    peakMemoryBytes = report.times.peakMemory
    stages = report.times.stagesJSON
  }
}
