// `curta convert`: a checkpoint becomes a .curta file.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile
import CurtaEvaluate
import CurtaFormat
import CurtaQuantize
import CurtaWrite

/// Names of `--codec`.
enum CodecName: String, ExpressibleByArgument, CaseIterable {
  case auto, stored, zstd, lz4

  var choice: CodecChoice {
    switch self {
    case .auto: .auto
    case .stored: .forced(.stored)
    case .zstd: .forced(.zstd)
    case .lz4: .forced(.lz4)
    }
  }
}

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Turn a checkpoint into a .curta file.",
    discussion: """
      The source is a Hugging Face folder (config.json, *.safetensors, tokenizer.json), a GGUF \
      file, a llama2.c .bin with its tokenizer beside it, or a vision transformer: a folder of \
      Hugging Face or timm, or its weights alone (.safetensors, .pth). The same source and recipe \
      give the same bytes.

      EXAMPLES:
        curta convert Examples/models/curta-stories -o stories.curta --recipe w8
        curta convert vit-folder -o vit.curta --recipe w6
      """)

  @Argument(help: "The checkpoint: a folder or a file.")
  var source: String

  @Option(name: .shortAndLong, help: "The file to write; needed unless --dry-run.")
  var output: String?

  @Option(
    help: ArgumentHelp(
      "\(Recipe.builtIn.map(\.name).joined(separator: ", ")), or the path of a recipe in JSON.",
      valueName: "name"))
  var recipe: String

  @Option(help: "A tokenizer.json or tokenizer .bin to use instead of the one beside the weights.")
  var tokenizer: String?

  @Option(
    name: .shortAndLong,
    help: "The most positions of the file (default: what the checkpoint was trained for).")
  var context: Int?

  @Option(
    help: ArgumentHelp(
      "Of images: edge of the square that the model takes; positions are interpolated.",
      valueName: "pixels"))
  var imageSize: Int?

  @Flag(help: "Of images: leave out the head; the file gives features.")
  var features = false

  @Option(
    help: ArgumentHelp(
      "Of images: what weights alone do not say, in place of curta-vision.json beside them.",
      valueName: "file"))
  var visionConfig: String?

  @Option(
    help: ArgumentHelp(
      "What a calibrated recipe looks at: a text, a JSON list of texts, or a folder or .tar of images"
        + " (default: a text of the converter's own; drawn images).",
      valueName: "path"))
  var calibration: String?

  @Option(
    help: ArgumentHelp(
      "Tokens of text, or images, to calibrate on (default: 16384, 64).", valueName: "count"))
  var calibrationSize: Int?

  @Option(
    help: ArgumentHelp(
      "Share out the recipe's choices of bits so that the file has at most so many bytes before"
        + " compression (k, M and G are understood).", valueName: "bytes"))
  var size: String?

  @Option(
    help: ArgumentHelp(
      "The same for so many bits of tensors for each parameter.", valueName: "number"))
  var bits: Double?

  @Option(
    help: ArgumentHelp(
      "The same for an expected KL divergence of so many nats, with as few bytes as that takes; for"
        + " flash4 and flash3 after compression.",
      valueName: "nats"))
  var maxKl: Double?

  @OptionGroup(title: "Shared work") var work: WorkFlags

  @Option(help: "How to store sections; auto takes the smallest form of each.")
  var codec: CodecName = .auto

  @Flag(help: "Only say what the file will hold; write nothing.")
  var dryRun = false

  @Flag(help: "List every tensor instead of every kind of tensor.")
  var tensors = false

  @Flag(
    help: "List what each step of a calibrated recipe left of each tensor's error, and its time.")
  var steps = false

  @Flag(help: "Print the result as JSON.")
  var json = false

  @Option(help: "Show progress: auto (on a terminal), always or never.")
  var progress: ProgressMode = .auto

  func validate() throws {
    guard dryRun || output != nil else {
      throw ValidationError("Missing --output <output>: the file to write.")
    }
    if let context, context < 1 { throw ValidationError("--context is at least 1.") }
    let budgets = [size != nil, bits != nil, maxKl != nil].count { $0 }
    guard budgets <= 1 else {
      throw ValidationError("--size, --bits and --max-kl exclude one another.")
    }
    if let size, ByteCount(argument: size) == nil {
      throw ValidationError("--size is a number of bytes, such as 80M.")
    }
    if let bits, !(bits > 0) { throw ValidationError("--bits is above 0.") }
    if let maxKl, !(maxKl > 0) { throw ValidationError("--max-kl is above 0.") }
    if let calibrationSize, calibrationSize < 1 {
      throw ValidationError("--calibration-size is at least 1.")
    }
  }

  func run() throws {
    try reporting {
      var conversion = Conversion(
        source: source, tokenizer: tokenizer, recipe: try Recipe.load(recipe),
        codec: codec.choice)
      conversion.context = context
      conversion.vision.imageSize = imageSize
      conversion.vision.features = features
      conversion.vision.configuration = visionConfig
      if conversion.recipe.loss != nil, let maxKl {
        conversion.recipe.loss = maxKl
      } else {
        conversion.budget = try budget(conversion.recipe)
      }
      conversion.work = work.request
      let measures = conversion.recipe.isCalibrated && work.statistics == nil
      if conversion.budget != nil || measures && (!dryRun || calibration != nil) {
        try conversion.setCalibration(calibration, size: calibrationSize)
      } else if calibration != nil, !conversion.recipe.isCalibrated {
        throw ValidationError(
          "--calibration has no use: recipe \(conversion.recipe.name) rounds to nearest.")
      } else if calibration != nil, work.statistics != nil {
        throw ValidationError("--calibration has no use beside --statistics.")
      }
      if let calibrationSize { conversion.calibration.tokens = calibrationSize }
      if dryRun {
        let plan = try conversion.plan()
        try json ? JSONOutput.print(PlanJSON(plan, recipe: conversion.recipe.name)) : show(plan)
      } else if let output {
        let (report, solved) = try convert(conversion, to: output)
        if let note = report.chatNote {
          Terminal.note("curta: note: chat template: \(printable(note))")
        }
        for note in report.notes { Terminal.note("curta: note: \(printable(note))") }
        if json {
          try JSONOutput.print(ReportJSON(report, solved, output: output))
        } else {
          if steps { show(solved) }
          show(report, output)
        }
      }
    }
  }

  var budgetIsAsked: Bool { size != nil || bits != nil || maxKl != nil }

  /// What was asked for by --size, --bits or --max-kl.
  private func budget(_ recipe: Recipe) throws -> Budget? {
    var budget: Budget?
    if let size { budget = .bytes(ByteCount(argument: size)?.bytes ?? 0) }
    if let bits { budget = .bits(bits) }
    if let maxKl { budget = .loss(maxKl) }
    guard budget == nil || recipe.loss == nil else {
      throw ValidationError(
        "recipe \(recipe.name) has a loss, not bits to share out; try --max-kl in place of"
          + " --size and --bits.")
    }
    guard budget == nil || recipe.choices.count > 1 else {
      throw ValidationError(
        "recipe \(recipe.name) has no 'choices' of bits to share out; try --recipe best.")
    }
    return budget
  }

  private func convert(
    _ conversion: Conversion, to output: String
  ) throws -> (ConversionReport, SolvingRecord) {
    var line = ProgressLine(progress)
    defer { line.clear() }
    var hasBegun = false
    var solved = SolvingRecord()
    let report = try conversion.run(to: output) { stage in
      switch stage {
      // These come back for every layer.
      case .reading: if !hasBegun { line.show("reading \(source)", 0, of: 100) }
      case .calibrating: if !hasBegun { line.show("measuring activations", 1, of: 100) }
      case .compressing: break
      case .measuring(let layer, let count):
        line.show("measuring layer \(layer + 1)", layer, of: count)
      case .quantizing(let name, let index, let count):
        hasBegun = true
        line.show(name, 5 + 85 * index / max(1, count), of: 100)
      case .quantized(let name, let steps): solved.tensors.append((name, steps))
      case .learned(let report): solved.layers.append(report)
      case .writing: line.show("writing", 90, of: 100)
      case .checking: line.show("checking", 95, of: 100)
      }
    } check: { bytes in
      // The runtime's own checks: nothing is written that cannot be run.
      try verifyFile(bytes, path: output)
    }
    return (report, solved)
  }
}

/// What each step left of the errors of tensors, and what learning layers led to.
struct SolvingRecord {
  var tensors: [(name: String, steps: [SolvingStep])] = []
  var layers: [BlockReport] = []
}
