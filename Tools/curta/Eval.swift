// `curta eval`: how close a file is to the checkpoint that it came from.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import CurtaImport
import Foundation

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a file against its float checkpoint on a text or on images.",
    discussion: """
      TEXT (--text) is cut into windows of --context tokens that begin --stride tokens apart; of each \
      window but the first of a document only the last --stride predictions count. Every \
      document begins with the begin token where the tokenizer says so.

      perplexity            of the integer program
      reference_perplexity  of the float checkpoint
      kl_mean               KL(reference || integer) per token, in nats
      top1_agreement        share of positions with the same likeliest token

      With --layers, for each layer in decibels, over the first 512 tokens and in the simulation: \
      `own` is what the layer adds over its error when it gets the exact stream, `gathered` the \
      stream over all errors up to there. 3 dB less is twice the error.

      IMAGES (--images) are a folder with a folder for each class, or a .tar of such folders. \
      Folders have the names of the model's labels, or are in their order. The float checkpoint \
      sees the pixels that the integer program sees; without --reference only the accuracy is \
      measured.

      accuracy, top5_accuracy  share whose label comes first, or in five
      reference_accuracy       of the float checkpoint
      kl_mean, top1_agreement  as for texts, per image
      cosine_mean, _worst      of the features and those of the float checkpoint
      probe_accuracy           of a linear classifier (ridge regression) on the features, each \
      image judged by the one that is fitted to all others; reference_ on the float features
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Option(help: "The checkpoint that the file was converted from.")
  var reference: String?

  @Option(help: "Plain text, or a .json list of documents.")
  var text: String?

  @OptionGroup(title: "Images") var images: ImageEvaluationFlags

  @Option(help: "A tokenizer for a reference that has none beside it.")
  var tokenizer: String?

  @Option(name: .shortAndLong, help: "Tokens in a window (default: the file's context).")
  var context: Int?

  @Option(help: "Tokens from one window to the next (default: half the context).")
  var stride: Int?

  @Option(help: "Predictions to score at most (default: all).")
  var tokens: Int?

  @Option(help: ArgumentHelp("Documents of a list, counted from 0.", valueName: "first..last"))
  var documents: IndexRange?

  @Option(help: ArgumentHelp("Only the last documents of a list, or images.", valueName: "count"))
  var last: Int?

  @Flag(
    inversion: .prefixedNo,
    help: "End documents with the end token (default: those of a list).")
  var endToken: Bool?

  @Flag(help: "Run the float-arithmetic simulation of the same codes as well.")
  var simulate = false

  @Option(name: .shortAndLong, help: "Threads of the integer program.")
  var threads: UInt32 = 1

  @Flag(help: "Compare the layers one by one as well: where quality is lost.")
  var layers = false

  @Flag(help: "Print the result as JSON.")
  var json = false

  @Flag(help: "Print the result as Markdown tables.")
  var markdown = false

  @Option(help: "Show progress: auto (on a terminal), always or never.")
  var progress: ProgressMode = .auto

  func validate() throws {
    guard (text == nil) != (images.images == nil && images.mnist.isEmpty) else {
      throw ValidationError("Give either --text, or --images or --mnist.")
    }
    guard text == nil || reference != nil else {
      throw ValidationError("--text needs --reference.")
    }
    guard documents == nil || last == nil else {
      throw ValidationError("--documents and --last exclude each other.")
    }
    guard !json || !markdown else {
      throw ValidationError("--json and --markdown exclude each other.")
    }
    for (name, value) in [
      ("--context", context), ("--stride", stride), ("--tokens", tokens), ("--last", last),
    ] {
      if let value, value < 1 { throw ValidationError("\(name) is at least 1.") }
    }
  }

  func run() throws {
    try reporting {
      guard let text, let reference else { return try runImages() }
      var options = EvaluationOptions()
      options.context = context
      options.stride = stride
      options.tokens = tokens
      options.endToken = endToken
      options.simulate = simulate
      options.layers = layers
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
      let report = EvaluationReport(file: file, result: result)
      try json ? JSONOutput.print(report.json) : report.show(markdown: markdown)
    }
  }

  private func runImages() throws {
    var set = try images.load()
    if let last { set.keep(last: last) }
    var options = VisionEvaluationOptions()
    options.threads = threads
    options.batch = images.batch
    options.probe = images.probe
    let evaluation = try VisionEvaluation(
      file: file, reference: reference.map { try images.checkpoint($0) }, images: set, options)
    var line = ProgressLine(progress)
    let result = try evaluation.run { done in
      line.show("\(done) images", done, of: evaluation.count)
    }
    line.clear()
    let report = VisionReport(file: file, result: result, showsConfusion: images.confusion)
    try json ? JSONOutput.print(report.json) : report.show(markdown: markdown)
  }
}
