// Flags of `curta convert` about work that is shared with other conversions.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile

/// `first..last`, both counted in.
struct IndexRange: ExpressibleByArgument {
  let range: ClosedRange<Int>

  init?(argument: String) {
    let parts = argument.components(separatedBy: "..")
    guard parts.count == 2, let first = Int(parts[0]), let last = Int(parts[1]), first >= 0,
      first <= last
    else { return nil }
    range = first...last
  }
}

struct WorkFlags: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Keep every finished layer in this folder and take those that are there: after an interruption"
        + " the same command goes on and writes the same bytes.",
      valueName: "folder"))
  var keep: String?

  @Option(
    help: ArgumentHelp(
      "Take what a calibrated recipe measures from a file of `curta calibrate`. Layers then see the"
        + " inputs of the float model, not of the quantized layers before them.",
      valueName: "file"))
  var statistics: String?

  @Option(
    help: ArgumentHelp(
      "Convert only these layers, counted from 0, to a part for `curta merge`. The part of the first"
        + " layer has what comes before the layers, that of the last layer the rest, with a calibrated"
        + " recipe also a tied embedding. Calibrated recipes need --statistics.",
      valueName: "first..last"))
  var layers: IndexRange?

  var request: WorkRequest {
    var request = WorkRequest()
    request.keep = keep
    request.statistics = statistics
    request.layers = layers?.range
    return request
  }
}
