// `curta plan`: how much memory a session takes, to the byte, before anything runs.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CCurta
import CurtaEvaluate

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say how much memory a session will take, to the byte.")

  @Argument(help: "The .curta file.")
  var file: String

  @Option(name: .shortAndLong, help: "Positions, prompt and answer together (default: the file's).")
  var context: UInt32?

  @Option(help: "Most tokens in a step (default: 128).")
  var chunk: UInt32?

  @Option(help: "Most rows of logits in a step (default: 1).")
  var outputs: UInt32?

  @Option(name: .shortAndLong, help: "Threads.")
  var threads: UInt32 = 1

  @OptionGroup(title: "Memory")
  var weights: WeightFlags

  @Flag(help: "Print the result as JSON.")
  var json = false

  func run() throws {
    try reporting {
      var options = HostOptions()
      options.context = context ?? 0
      options.chunk = chunk ?? 0
      options.outputs = outputs ?? 0
      options.threads = threads
      options.weightLimit = weights.limit
      let plan = try planSession(FileMapping(file), options)
      json ? try JSONOutput.print(SessionPlanJSON(file, plan)) : show(plan)
      guard plan.arena_bytes <= HostSession.physicalMemory else {
        throw HostError.memory(needed: plan.arena_bytes, available: HostSession.physicalMemory)
      }
    }
  }

  private func show(_ plan: curta_plan_info) {
    var table = Table(["part", ">bytes", "what"])
    for (name, bytes, what) in [
      ("session", plan.session_bytes, "tables"),
      ("weights", plan.weight_bytes, "decoded sections; stored ones are used where they lie"),
      ("buffers", plan.buffer_bytes, "activations of one step"),
      ("states", plan.state_bytes, "key and value caches"),
      ("scratch", plan.scratch_bytes, "of threads, sampling and tokenizer"),
      ("arena", plan.arena_bytes, "all of it: the only memory that the session uses"),
      ("check", plan.check_bytes, "for `curta verify` and curta_check, in place of the arena"),
    ] {
      table.add([name, grouped(bytes), what])
    }
    Terminal.write(table.text)
    Terminal.line()
    // Of images nothing is cut into chunks.
    guard plan.chunk > 0 else {
      return Terminal.line(
        "images of \(plan.context) rows, \(plan.outputs) in a step, threads \(plan.threads),"
          + " numbers in a row of output \(plan.vocabulary)")
    }
    Terminal.line(
      "context \(plan.context), chunk \(plan.chunk), outputs \(plan.outputs),"
        + " threads \(plan.threads), vocabulary \(plan.vocabulary)")
  }
}

private struct SessionPlanJSON: Encodable {
  let schema = "curta.plan/1"
  let file, identity: String
  let context, chunk, outputs, threads, vocabulary: UInt32
  let arenaBytes, sessionBytes, weightBytes, bufferBytes, stateBytes, scratchBytes: UInt64
  let checkBytes: UInt64

  init(_ file: String, _ plan: curta_plan_info) {
    self.file = file
    identity = hexadecimal(plan.identity)
    context = plan.context
    chunk = plan.chunk
    outputs = plan.outputs
    threads = plan.threads
    vocabulary = plan.vocabulary
    arenaBytes = plan.arena_bytes
    sessionBytes = plan.session_bytes
    weightBytes = plan.weight_bytes
    bufferBytes = plan.buffer_bytes
    stateBytes = plan.state_bytes
    scratchBytes = plan.scratch_bytes
    checkBytes = plan.check_bytes
  }
}

/// A hash as 16 hexadecimal digits.
func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
