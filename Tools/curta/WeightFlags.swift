// How much memory weights may take while a model runs, for the commands that run one.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `300M`
struct ByteCount: ExpressibleByArgument {
  let bytes: UInt64

  init?(argument: String) {
    let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
    let unit = argument.last.flatMap { units[$0] }
    guard let count = UInt64(unit == nil ? argument[...] : argument.dropLast()), count > 0
    else { return nil }
    let (bytes, isTooLarge) = count.multipliedReportingOverflow(by: unit ?? 1)
    guard !isTooLarge else { return nil }
    self.bytes = bytes
  }
}

struct WeightFlags: ParsableArguments {
  @Flag(
    help: """
      For a model that is larger than the memory: keep only the weights of the ops that run, and \
      bring those of the next ones in their place.
      """)
  var stream = false

  @Option(
    name: .customLong("weights"),
    help: ArgumentHelp(
      "The same, but keep so many bytes of weights, 300M or 2G.", valueName: "bytes"))
  var kept: ByteCount?

  func validate() throws {
    guard !stream || kept == nil else {
      throw ValidationError("--stream and --weights exclude each other: the first keeps the least.")
    }
  }

  /// The value of `HostOptions.weightLimit`.
  var limit: UInt64 { kept?.bytes ?? (stream ? 1 : 0) }
}
