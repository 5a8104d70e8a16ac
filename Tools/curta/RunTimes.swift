// How long a run took, and how that is said.
// SPDX-License-Identifier: Apache-2.0

/// Tokens and the time that they took.
struct RunTimes {
  var load = Duration.zero
  var promptTokens = 0
  var prompt = Duration.zero
  var decodedTokens = 0
  var decode = Duration.zero

  static func rate(_ count: Int, _ time: Duration) -> Double {
    time > .zero ? Double(count) / seconds(time) : 0
  }

  /// What was added since `before`; the load is always that of the run.
  func since(_ before: RunTimes) -> RunTimes {
    var times = self
    times.promptTokens -= before.promptTokens
    times.prompt -= before.prompt
    times.decodedTokens -= before.decodedTokens
    times.decode -= before.decode
    return times
  }

  /// The lines on the standard error.
  func note() {
    Terminal.note("load in \(decimal(seconds(load), 3)) s")
    note("prompt", promptTokens, prompt)
    note("decode", decodedTokens, decode)
  }

  private func note(_ name: String, _ count: Int, _ time: Duration) {
    Terminal.note(
      "\(name) \(count) tokens in \(decimal(seconds(time), 3)) s,"
        + " \(decimal(RunTimes.rate(count, time), 1)) tokens/s")
  }
}
