// `curta bench`: how fast a model runs, with the hash of what it computed.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate

enum BenchFormat: String, ExpressibleByArgument, CaseIterable {
  case table, md, csv, json, jsonl
}

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how fast a model runs.",
    discussion: """
      A row is pp128 (a prompt of 128 tokens), tg64 (64 tokens one after the other), either of \
      them with @2000 (after 2000 tokens that are not timed), or img224 (an image; img for any \
      size). Each row is run once unmeasured, then -r times; the hash is that of its last logits, \
      and the same whatever the threads and the instruction set.

      With the rows - their names come from the standard input, a line each, and each is run once \
      when it comes: so that something else can be measured in between.

      EXAMPLES:
        curta bench model.curta --rows pp128,tg64,tg64@2000 -t 1,2 -r 7
        curta bench vit.curta --rows img -o jsonl
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Option(help: "What to run (default: pp128,tg64, or img).")
  var rows: BenchRows?

  @Option(name: .shortAndLong, help: "Threads; a list for several.")
  var threads = BenchNumbers([1])

  @Option(
    help: "CPUs to run on, one a thread; a list as 0,1 (default: where the system puts them).")
  var cpus: BenchNumbers?

  @Option(name: .customShort("r"), help: ArgumentHelp("Times of each row.", valueName: "count"))
  var repeats: Int = 5

  @Option(help: "Most tokens of a prompt in a step (default: 128).")
  var chunk: UInt32?

  @OptionGroup(title: "Memory")
  var weights: WeightFlags

  @Option(
    help: """
      Instruction set: auto, scalar, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod,
      neon_i8mm.
      """)
  var kernels = "auto"

  @Option(name: .customShort("o"), help: "How to print.")
  var format = BenchFormat.table

  func validate() throws {
    guard repeats >= 1 else { throw ValidationError("-r is at least 1.") }
    guard !threads.values.contains(0) else { throw ValidationError("--threads is at least 1.") }
    if let cpus, let most = threads.values.max(), cpus.values.count < most {
      throw ValidationError("--cpus has \(cpus.values.count) CPUs for \(most) threads.")
    }
    guard rows?.rows != nil || rows == nil || format == .jsonl else {
      throw ValidationError("The rows - need -o jsonl.")
    }
  }

  func run() throws {
    try reporting {
      var results: [BenchResult] = []
      for threads in threads.values {
        let clock = ContinuousClock()
        let start = clock.now
        let mapping = try FileMapping(file, forRunning: weights.limit == 0)
        let session = try HostSession(mapping, options(mapping, threads))
        if let cpus { try session.pin(to: cpus.values) }
        let load = seconds(clock.now - start)
        let rows = rows ?? BenchRows(argument: session.session.image == nil ? "pp128,tg64" : "img")!
        guard let named = rows.rows else {
          try serve(session, load)
          continue
        }
        for row in named {
          let result = try measure(row, session, load)
          if format == .jsonl { try JSONOutput.event(result) }
          results.append(result)
        }
      }
      try show(results)
    }
  }

  private func options(_ mapping: FileMapping, _ threads: UInt32) throws -> HostOptions {
    var options = HostOptions()
    options.threads = threads
    options.weightLimit = weights.limit
    options.chunk = chunk ?? 0
    options.kernels = try HostSession.kernels(named: kernels)
    // No more positions than the rows need; those of images are the model's.
    let needed = rows.map { $0.rows?.map(\.positions).max() ?? 0 } ?? 128
    if needed > 0 {
      let plan = try planSession(mapping)
      let most = plan.context
      guard plan.chunk > 0 else { return options }
      guard needed <= Int(most) else {
        throw HostError.request("the rows need \(needed) positions, \(file) has \(most)")
      }
      options.context = min(most, max(UInt32(needed), options.chunk, min(most, 64)))
    }
    return options
  }

  private func measure(
    _ row: BenchRow, _ session: HostSession, _ load: Double
  ) throws -> BenchResult {
    let hash = try row.run(session).hash
    var times: [BenchTime] = []
    for _ in 0..<repeats {
      let time = try row.run(session)
      guard time.hash == hash else { throw HostError.request("\(row.name): two runs differ") }
      times.append(time)
    }
    return BenchResult(row, session, file, load, times)
  }

  /// Runs what the standard input names.
  private func serve(_ session: HostSession, _ load: Double) throws {
    while let line = readLine() {
      guard let row = BenchRow(argument: line) else {
        throw HostError.request("no row: \(line)")
      }
      try JSONOutput.event(BenchResult(row, session, file, load, [row.run(session)]))
    }
  }

  private func show(_ results: [BenchResult]) throws {
    switch format {
    case .jsonl: break
    case .json: try JSONOutput.print(BenchReport(results: results))
    case .csv:
      Terminal.line(BenchResult.columns.joined(separator: ","))
      for result in results { Terminal.line(result.cells.joined(separator: ",")) }
    case .md:
      Terminal.line("| " + BenchResult.columns.joined(separator: " | ") + " |")
      Terminal.line("|" + BenchResult.columns.map { _ in "---|" }.joined())
      for result in results { Terminal.line("| " + result.cells.joined(separator: " | ") + " |") }
    case .table:
      var table = Table(["row", ">threads", ">per second", ">least", ">most", ">ms", "hash"])
      for result in results {
        table.add(Array(result.cells[1...6]) + [String(result.hash.prefix(16))])
      }
      Terminal.write(table.text)
    }
  }
}

/// What was measured of a row.
struct BenchResult: Encodable {
  let model, row, kernels, hash: String
  let threads: UInt32
  let repeats: Int
  /// Tokens or images a second: of the median time, the longest and the shortest.
  let perSecond, least, most: Double
  /// Milliseconds of the row, the median.
  let milliseconds: Double
  /// The same of the processor, all threads together.
  let processorMilliseconds: Double
  let loadSeconds: Double
  let arenaBytes: UInt64

  init(
    _ row: BenchRow, _ session: HostSession, _ model: String, _ load: Double, _ times: [BenchTime]
  ) {
    func medianOf(_ sorted: [Double]) -> Double {
      let half = sorted.count / 2
      return sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
    }
    let sorted = times.map(\.seconds).sorted()
    let median = medianOf(sorted)
    self.model = model
    self.row = row.name
    kernels = session.kernelsName
    hash = times[0].hash
    threads = session.plan.threads
    repeats = times.count
    perSecond = Double(row.count) / median
    least = Double(row.count) / sorted[sorted.count - 1]
    most = Double(row.count) / sorted[0]
    milliseconds = 1000 * median
    processorMilliseconds = 1000 * medianOf(times.map(\.processor).sorted())
    loadSeconds = load
    arenaBytes = session.plan.arena_bytes
  }

  static let columns = [
    "model", "row", "threads", "per second", "least", "most", "ms", "kernels", "load s", "hash",
  ]

  var cells: [String] {
    [
      model, row, String(threads), decimal(perSecond, 2), decimal(least, 2), decimal(most, 2),
      decimal(milliseconds, 3), kernels, decimal(loadSeconds, 3), hash,
    ]
  }
}

private struct BenchReport: Encodable {
  let schema = "curta.bench/1"
  let results: [BenchResult]
}
