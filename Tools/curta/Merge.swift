// `curta merge`: the parts of a conversion become the file.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile
import CurtaEvaluate

struct Merge: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Join the parts of a conversion to a .curta file.",
    discussion: """
      Parts come from `curta convert --layers`, on one computer or several. The file has the very \
      bytes that one conversion of all layers writes; of calibrated recipes, where all computers \
      have the same kind of processor.

      EXAMPLE:
        curta convert model -o a.part --recipe w6 --layers 0..3
        curta convert model -o b.part --recipe w6 --layers 4..7
        curta merge a.part b.part -o model.curta
      """)

  @Argument(help: "The parts, in any order.")
  var parts: [String]

  @Option(name: .shortAndLong, help: "The file to write.")
  var output: String

  @Flag(help: "Print the result as JSON.")
  var json = false

  func run() throws {
    try reporting {
      let report = try mergeParts(parts, to: output) { bytes in
        try verifyFile(bytes, path: output)
      }
      if json { return try JSONOutput.print(MergeJSON(report, output, parts)) }
      Terminal.line(
        "\(printable(output)): \(grouped(report.sizes.fileSize)) bytes, recipe \(report.recipe),"
          + " \(decimal(report.bitsPerParameter, 2)) bits for each of"
          + " \(grouped(report.parameters)) parameters")
      Terminal.line(report.times.text)
    }
  }
}

private struct MergeJSON: Encodable {
  let schema = "curta.merge/1"
  let file, recipe: String
  let parts: [String]
  let fileBytes, parameters, peakMemoryBytes: Int
  let seconds: Double
  let stages: [String: StageJSON]

  init(_ report: ConversionReport, _ output: String, _ parts: [String]) {
    file = output
    recipe = report.recipe
    self.parts = parts
    fileBytes = report.sizes.fileSize
    parameters = report.parameters
    peakMemoryBytes = report.times.peakMemory
    seconds = curta.seconds(report.times.duration)
    stages = report.times.stagesJSON
  }
}
