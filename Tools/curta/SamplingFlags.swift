// Flags of `curta run` that say how the next token is chosen; here real numbers become integers.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CCurta
import CurtaEvaluate
import CurtaFormat

struct SamplingFlags: ParsableArguments {
  @Option(
    name: [.customLong("temp"), .customLong("temperature")],
    help: "0: the likeliest token; 1: as the model says (default: the file's, else 0).")
  var temperature: Double?

  @Option(help: "Choose among so many of the likeliest tokens; 0: all (default: the file's).")
  var topK: UInt32?

  @Option(help: "Choose among the likeliest tokens with this total probability; 1: all.")
  var topP: Double?

  @Option(help: "Leave out tokens below this share of the likeliest one's probability.")
  var minP: Double?

  @Option(help: "Divide the logits of recent tokens by this; 1: leave them.")
  var repeatPenalty: Double?

  @Option(help: "How many recent tokens the penalty sees.")
  var repeatWindow: UInt32 = 64

  @Option(
    name: .shortAndLong,
    help: "Seed of the random numbers; the same seed, the same text (default: 0).")
  var seed: UInt64?

  func validate() throws {
    for (name, value, range) in [
      ("--temp", temperature, 0...1000), ("--top-p", topP, 0...1), ("--min-p", minP, 0...1),
      ("--repeat-penalty", repeatPenalty, 0.001...1000),
    ] as [(String, Double?, ClosedRange<Double>)] {
      guard let value else { continue }
      guard range.contains(value) else {
        throw ValidationError("\(name) is from \(range.lowerBound) to \(range.upperBound).")
      }
    }
  }

  /// The integers of `curta.h`, with what the file suggests where nothing was asked for.
  func resolved(_ metadata: [InspectedFile.Entry]) -> curta_sampling {
    func suggested(_ key: String) -> UInt32? {
      metadata.first { $0.key == key }?.integer.map { UInt32(clamping: $0) }
    }
    func units(_ value: Double?, _ unit: Double) -> UInt32? {
      value.map { UInt32(clamping: Int64(($0 * unit).rounded())) }
    }
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    sampling.temperature =
      units(temperature, 0x1p16) ?? suggested("sampling.temperature.q16") ?? 0
    sampling.top_k = topK ?? suggested("sampling.top_k") ?? 0
    sampling.top_p = units(topP, 0x1p16) ?? suggested("sampling.top_p.q16") ?? 0
    sampling.min_p = units(minP, 0x1p16) ?? 0
    sampling.repetition_penalty = units(repeatPenalty, 0x1p14) ?? 0
    sampling.penalty_window = repeatWindow
    return sampling
  }
}
