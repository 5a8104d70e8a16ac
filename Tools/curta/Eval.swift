// `curta eval`: how close a file is to the checkpoint that it came from.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import CurtaImport
import Foundation

/// `A..B`, both included, counted from 0.
struct DocumentRange: ExpressibleByArgument {
  let range: ClosedRange<Int>

  init?(argument: String) {
    let parts = argument.components(separatedBy: "..")
    guard parts.count == 2, let first = Int(parts[0]), let last = Int(parts[1]), first >= 0,
      first <= last
    else { return nil }
    range = first...last
  }
}

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a file against its float checkpoint on a text.",
    discussion: """
      The text is cut into windows of --context tokens that begin --stride tokens apart; of each \
      window but the first of a document only the last --stride predictions count. Every \
      document begins with the begin token where the tokenizer says so.

      perplexity            of the integer program
      reference_perplexity  of the float checkpoint
      kl_mean               KL(reference || integer) per token, in nats
      top1_agreement        share of positions with the same likeliest token
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Option(help: "The checkpoint that the file was converted from.")
  var reference: String

  @Option(help: "Plain text, or a .json list of documents.")
  var text: String

  @Option(help: "A tokenizer for a reference that has none beside it.")
  var tokenizer: String?

  @Option(name: .shortAndLong, help: "Tokens in a window (default: the file's context).")
  var context: Int?

  @Option(help: "Tokens from one window to the next (default: half the context).")
  var stride: Int?

  @Option(help: "Predictions to score at most (default: all).")
  var tokens: Int?

  @Option(help: ArgumentHelp("Documents of a list, counted from 0.", valueName: "first..last"))
  var documents: DocumentRange?

  @Option(help: ArgumentHelp("Only the last documents of a list.", valueName: "count"))
  var last: Int?

  @Flag(
    inversion: .prefixedNo,
    help: "End documents with the end token (default: those of a list).")
  var endToken: Bool?

  @Flag(help: "Run the float-arithmetic simulation of the same codes as well.")
  var simulate = false

  @Option(name: .shortAndLong, help: "Threads of the integer program.")
  var threads: UInt32 = 1

  @Flag(help: "Print the result as JSON.")
  var json = false

  @Option(help: "Show progress: auto (on a terminal), always or never.")
  var progress: ProgressMode = .auto

  func validate() throws {
    guard documents == nil || last == nil else {
      throw ValidationError("--documents and --last exclude each other.")
    }
    for (name, value) in [
      ("--context", context), ("--stride", stride), ("--tokens", tokens), ("--last", last),
    ] {
      if let value, value < 1 { throw ValidationError("\(name) is at least 1.") }
    }
  }

  func run() throws {
    try reporting {
      var options = EvaluationOptions()
      options.context = context
      options.stride = stride
      options.tokens = tokens
      options.endToken = endToken
      options.simulate = simulate
      options.threads = threads
      if let documents { options.documents = .range(documents.range) }
      if let last { options.documents = .last(last) }
      var evaluation = try Evaluation(
        file: file, reference: loadCheckpoint(reference, tokenizer: tokenizer),
        text: TextDocuments(text), options)
      var line = ProgressLine(progress)
      let total = evaluation.tokens
      let result = try evaluation.run { done in line.show("\(done) tokens", done, of: total) }
      line.clear()
      try json ? JSONOutput.print(EvaluationJSON(file, result)) : show(result)
    }
  }

  private func show(_ result: EvaluationResult) {
    var table = Table(["measure", ">value"])
    table.add(["tokens", grouped(result.tokens)])
    table.add(["perplexity", decimal(result.perplexity, 4)])
    table.add(["reference_perplexity", decimal(result.referencePerplexity, 4)])
    table.add(["kl_mean", decimal(result.klMean, 6)])
    table.add(["top1_agreement", decimal(result.top1Agreement, 4)])
    if let value = result.simulationPerplexity {
      table.add(["simulation_perplexity", decimal(value, 4)])
    }
    if let value = result.simulationKLMean {
      table.add(["simulation_kl_mean", decimal(value, 6)])
    }
    Terminal.write(table.text)
    Terminal.note(
      "\(result.documents) documents, context \(result.context), stride \(result.stride),"
        + " \(decimal(seconds(result.duration), 1)) s")
  }
}

private struct EvaluationJSON: Encodable {
  let schema = "curta.eval/1"
  let file: String
  let tokens, documents, context, stride: Int
  let perplexity, referencePerplexity, klMean, top1Agreement, seconds: Double
  let simulationPerplexity, simulationKlMean: Double?

  init(_ file: String, _ result: EvaluationResult) {
    self.file = file
    tokens = result.tokens
    documents = result.documents
    context = result.context
    stride = result.stride
    perplexity = result.perplexity
    referencePerplexity = result.referencePerplexity
    klMean = result.klMean
    top1Agreement = result.top1Agreement
    seconds = curta.seconds(result.duration)
    simulationPerplexity = result.simulationPerplexity
    simulationKlMean = result.simulationKLMean
  }
}
