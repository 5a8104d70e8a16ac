// From the metadata and tensors of a GGUF file to a checkpoint.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// A GGUF file with a decoder of any known architecture.
enum GGUFDecoder {
  /// Reads the file; `tokenizer` replaces the one in its metadata, `context` the context that it
  /// states.
  static func load(
    _ path: String, tokenizer: String?, context: Int?
  ) throws(ImportError) -> Checkpoint {
    let file = try GGUFFile(path)
    let hasTokenizer = tokenizer == nil && GGUFTokenizer.exists(in: file)
    // A damaged tokenizer is told after everything that is unsupported.
    var problems: [String] = []
    var damage: ImportError?
    if hasTokenizer {
      do throws(ImportError) { problems = try GGUFTokenizer.problems(file) } catch {
        damage = error
      }
    }
    let source = try source(file, context: context, problems: problems)
    if let damage { throw damage }
    let size = source.description.vocabularySize
    let tokenizerSource =
      hasTokenizer
      ? TokenizerSource.gguf(path: path)
      : try TokenizerSource.find(option: tokenizer, candidates: [], vocabularySize: size)
    let marks = try GGUFMarks(file, vocabularySize: size)
    var checkpoint = Checkpoint(
      source: source, tokenizer: tokenizerSource, bos: marks.begin, eos: marks.ends)
    checkpoint.addsBos = marks.addsBegin && marks.begin != nil
    checkpoint.sourceFiles = [SourceFile(file.file)]
    checkpoint.chat = try chatForm(gguf: file)
    if let tokenizer { checkpoint.sourceFiles.append(try SourceFile(at: tokenizer)) }
    return checkpoint
  }

  /// The decoder. Everything unsupported is in one error, after `problems`.
  static func source(
    _ file: GGUFFile, context: Int?, problems others: [String]
  ) throws(ImportError) -> DecoderSource {
    guard let architecture = try file.text("general.architecture") else {
      throw .bad(
        .missingField, file: file.path, field: "general.architecture", "is missing",
        advice: "check that this file holds a language model")
    }
    let catalog = TensorCatalog(file)
    let metadata = GGUFMetadata(file, architecture: architecture, context: context)
    try reportGeneral(metadata)
    guard let planner = Architectures.gguf[architecture] else {
      let supported = Architectures.gguf.keys.sorted().map { "\"\($0)\"" }
        .joined(separator: ", ")
      metadata.report(
        "general.architecture = \"\(printableName(architecture, limit: 64))\" "
          + "(supported: \(supported))")
      throw .unsupported(metadata.problems + catalog.undecodable() + others)
    }
    let plan: DecoderPlan
    do throws(ImportError) {
      plan = try planner(metadata, catalog)
    } catch {
      // What is unsupported explains more than a value that makes no sense to us.
      let problems = metadata.problems
      throw problems.isEmpty ? error : .unsupported(problems + catalog.undecodable() + others)
    }
    metadata.reportUnread()
    return try plan.source(catalog, problems: metadata.problems + others)
  }

  private static func reportGeneral(_ metadata: GGUFMetadata) throws(ImportError) {
    let file = metadata.file
    if let type = try file.text("general.type"), type != "model" {
      metadata.report(
        "general.type = \"\(printableName(type, limit: 64))\" (supported: \"model\")")
    }
    if let parts = file.metadata["split.count"]?.value.integer, parts > 1 {
      metadata.report(
        "split.count = \(parts) (supported: one file; join them with llama-gguf-split --merge)")
    }
  }
}
