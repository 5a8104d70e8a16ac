// How much memory weights may take while a model runs, for the commands that run one.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

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
  var limit: UInt64 { kept.map { UInt64($0.bytes) } ?? (stream ? 1 : 0) }
}
