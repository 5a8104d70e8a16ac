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
    if let size, byteCount(size) == nil {
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

  private var budgetIsAsked: Bool { size != nil || bits != nil || maxKl != nil }

  /// What was asked for by --size, --bits or --max-kl.
  private func budget(_ recipe: Recipe) throws -> Budget? {
    var budget: Budget?
    if let size { budget = .bytes(byteCount(size) ?? 0) }
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

  /// 80M is 80 000 000.
  private func byteCount(_ text: String) -> Int? {
    let units: [Character: Double] = ["k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9]
    let unit = text.last.flatMap { units[$0] }
    guard let number = Double(unit == nil ? text : String(text.dropLast())), number > 0 else {
      return nil
    }
    let bytes = number * (unit ?? 1)
    return bytes < 1e15 ? Int(bytes) : nil
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
private struct SolvingRecord {
  var tensors: [(name: String, steps: [SolvingStep])] = []
  var layers: [BlockReport] = []
}

// MARK: - For people

extension Convert {
  private func show(_ plan: ConversionPlan) {
    var table = SizeTable(groupsLayers: !tensors)
    for tensor in plan.tensors {
      table.add(
        tensor.name, tensor.rows, tensor.columns,
        form: SizeTable.form(bits: tensor.bits, group: tensor.group), parameters: tensor.isLearnt,
        bytes: tensor.bytes)
    }
    Terminal.write(table.text(last: "bytes"))
    Terminal.line()
    let total = plan.tensorBytes + plan.tokenizerBytes
    Terminal.line(
      "tensors \(grouped(plan.tensorBytes)) bytes + tokenizer \(grouped(plan.tokenizerBytes))"
        + " = \(grouped(total)), before compression")
    Terminal.line(
      "\(grouped(plan.parameters)) parameters, float32 \(grouped(plan.float32Bytes)) bytes:"
        + " \(decimal(Double(plan.float32Bytes) / Double(total), 2)) times smaller")
    if budgetIsAsked { Terminal.line("bits were shared out by what a few inputs showed") }
    if let measuring = plan.measuring {
      Terminal.line(
        work.statistics == nil
          ? "to be measured: \(grouped(measuring.rows)) rows at most, behind the quantized layers;"
            + " \(grouped(measuring.rowBytes >> 20)) MiB of rows and"
            + " \(grouped(measuring.momentBytes >> 20)) MiB of moments in memory"
          : "measured already: \(grouped(measuring.momentBytes >> 20)) MiB of moments in memory")
      if measuring.prunes {
        Terminal.line("which blocks are left out is measured: the sizes are those before")
      }
    }
  }

  private func show(_ solved: SolvingRecord) {
    var table = Table(["tensor", "step", ">error of outputs", ">seconds"])
    for tensor in solved.tensors {
      for step in tensor.steps {
        table.add([tensor.name, step.name, decimal(step.error, 6), decimal(step.seconds, 3)])
      }
    }
    Terminal.write(table.text)
    Terminal.line()
    guard !solved.layers.isEmpty else { return }
    var layers = Table(["layer", "tensors", ">error", ">held out", "kept", ">seconds"])
    for layer in solved.layers {
      for (kind, errors) in layer.errors {
        let isKept = kind == layer.kept
        layers.add([
          layer.name, kind.rawValue, decimal(errors.seen, 6), decimal(errors.held, 6),
          isKept ? "yes" : "", isKept ? decimal(layer.seconds, 3) : "",
        ])
      }
    }
    Terminal.write(layers.text)
    Terminal.line()
  }

  private func show(_ report: ConversionReport, _ output: String) {
    let sizes = report.sizes
    var table = SizeTable(groupsLayers: !tensors)
    for tensor in sizes.tensors {
      table.add(
        tensor.name, tensor.rows, tensor.columns, form: "\(tensor.bits) bits",
        parameters: tensor.bits != 32, bytes: tensor.storedSize, codecs: Set(tensor.codecs))
    }
    if sizes.tokenizerStoredSize > 0 {
      table.add(part: "tokenizer", bytes: sizes.tokenizerStoredSize)
    }
    let rest = sizes.fileSize - sizes.tensorStoredSize - sizes.tokenizerStoredSize
    table.add(part: "program, metadata, directory, padding", bytes: rest)
    Terminal.write(table.text(last: "bytes"))
    Terminal.line()
    Terminal.line(
      "\(printable(output)): \(grouped(sizes.fileSize)) bytes, recipe \(report.recipe),"
        + (work.layers == nil
          ? " \(decimal(report.bitsPerParameter, 2)) bits for each of"
            + " \(grouped(report.parameters)) parameters" : " a part for curta merge"))
    if work.layers == nil {
      Terminal.line(
        "float32: \(grouped(report.float32Bytes)) bytes, \(decimal(report.ratio, 2)) times as much")
    }
    Terminal.line(report.times.text)
  }
}

/// Sizes by tensor, or by kind of tensor over all layers.
private struct SizeTable {
  private struct Row {
    var name: String
    var count = 0
    var shape: String
    var form: String
    var bytes = 0
    var floatBytes = 0
    var codecs: Set<Codec> = []

    /// `8 bits, stored+zstd`
    var text: String {
      let names = codecs.sorted { $0.rawValue < $1.rawValue }.map { "\($0)" }
      return names.isEmpty ? form : form + ", " + names.joined(separator: "+")
    }
  }

  private let groupsLayers: Bool
  private var rows: [Row] = []

  init(groupsLayers: Bool) { self.groupsLayers = groupsLayers }

  static func form(bits: Int, group: Int) -> String {
    bits >= 16 ? "\(bits) bits" : "\(bits) bits, " + (group == 0 ? "row" : "group \(group)")
  }

  /// `parameters` says whether the tensor was learnt, and so takes room as float32 as well.
  mutating func add(
    _ name: String, _ rows: Int, _ columns: Int, form: String, parameters: Bool, bytes: Int,
    codecs: Set<Codec> = []
  ) {
    let row = Row(
      name: groupsLayers ? kind(name) : name, shape: "\(rows) x \(columns)", form: form)
    add(row, bytes: bytes, floatBytes: parameters ? 4 * rows * columns : 0, codecs: codecs)
  }

  /// A part of the file that is no tensor.
  mutating func add(part: String, bytes: Int) {
    add(Row(name: part, shape: "", form: ""), bytes: bytes, floatBytes: 0)
  }

  private mutating func add(
    _ row: Row, bytes: Int, floatBytes: Int, codecs: Set<Codec> = []
  ) {
    let known = rows.firstIndex {
      $0.name == row.name && $0.shape == row.shape && $0.form == row.form
    }
    let index = known ?? rows.count
    if known == nil { rows.append(row) }
    rows[index].count += 1
    rows[index].bytes += bytes
    rows[index].floatBytes += floatBytes
    rows[index].codecs.formUnion(codecs)
  }

  /// `layers.3.query` is one of the `layers.*.query`.
  private func kind(_ name: String) -> String {
    name.split(separator: ".").map { $0.allSatisfy(\.isNumber) ? "*" : String($0) }
      .joined(separator: ".")
  }

  func text(last: String) -> String {
    var table = Table(["tensor", ">count", ">shape", "form", ">float32", ">\(last)", ">smaller"])
    for row in rows {
      let ratio = row.floatBytes > 0 ? decimal(Double(row.floatBytes) / Double(row.bytes), 2) : ""
      table.add([
        row.name, "\(row.count)", row.shape, row.text,
        row.floatBytes > 0 ? grouped(row.floatBytes) : "", grouped(row.bytes), ratio,
      ])
    }
    return table.text
  }
}

extension ConversionPlan.Tensor {
  /// Whether it was learnt; the phases of rotary positions were not.
  fileprivate var isLearnt: Bool { bits != 32 }
}

// MARK: - For programs

private struct PlanJSON: Encodable {
  struct Tensor: Encodable {
    let name: String
    let rows, columns, bits, group, bytes: Int
  }

  let schema = "curta.convert-plan/1"
  let recipe: String
  let tensors: [Tensor]
  let tensorBytes, tokenizerBytes, parameters, float32Bytes: Int
  /// Absent for a recipe that rounds to nearest.
  let measuring: Measuring?

  struct Measuring: Encodable {
    let rows, rowBytes, momentBytes: Int
    let prunes: Bool
  }

  init(_ plan: ConversionPlan, recipe: String) {
    self.recipe = recipe
    tensors = plan.tensors.map {
      Tensor(
        name: $0.name, rows: $0.rows, columns: $0.columns, bits: $0.bits, group: $0.group,
        bytes: $0.bytes)
    }
    tensorBytes = plan.tensorBytes
    tokenizerBytes = plan.tokenizerBytes
    parameters = plan.parameters
    float32Bytes = plan.float32Bytes
    measuring = plan.measuring.map {
      Measuring(
        rows: $0.rows, rowBytes: $0.rowBytes, momentBytes: $0.momentBytes, prunes: $0.prunes)
    }
  }
}

private struct ReportJSON: Encodable {
  struct Tensor: Encodable {
    let name: String
    let rows, columns, bits, storedBytes, decodedBytes: Int
    let codecs: [String]
  }

  struct Step: Encodable {
    let step: String
    let error, seconds: Double
  }

  struct Solved: Encodable {
    let name: String
    let steps: [Step]
  }

  struct Learned: Encodable {
    struct Errors: Encodable { let error, heldOut: Double }
    let name, kept: String
    let errors: [String: Errors]
    let seconds: Double
  }

  let schema = "curta.convert/1"
  let file, recipe: String
  let tensors: [Tensor]
  let fileBytes, tensorBytes, tensorDecodedBytes, tokenizerBytes, overheadBytes: Int
  let parameters, float32Bytes: Int
  let ratio, bitsPerParameter, seconds: Double
  let peakMemoryBytes: Int
  let stages: [String: StageJSON]
  let layerSeconds: [LayerTimeJSON]
  /// What each step left of the error of outputs, over their mean square, and seconds over all cores.
  let solved: [Solved]
  /// What learning the tensors of layers together left of the error of their sums, over the mean square:
  /// of inputs that were learned from, and of those that were held out.
  let learned: [Learned]

  init(_ report: ConversionReport, _ solved: SolvingRecord, output: String) {
    let sizes = report.sizes
    file = output
    recipe = report.recipe
    learned = solved.layers.map { layer in
      let errors = layer.errors.map {
        ($0.kind.rawValue, Learned.Errors(error: $0.errors.seen, heldOut: $0.errors.held))
      }
      return Learned(
        name: layer.name, kept: layer.kept.rawValue,
        errors: Dictionary(uniqueKeysWithValues: errors),
        seconds: layer.seconds)
    }
    self.solved = solved.tensors.map {
      Solved(
        name: $0.name,
        steps: $0.steps.map { Step(step: $0.name, error: $0.error, seconds: $0.seconds) })
    }
    tensors = sizes.tensors.map {
      Tensor(
        name: $0.name, rows: $0.rows, columns: $0.columns, bits: $0.bits,
        storedBytes: $0.storedSize, decodedBytes: $0.decodedSize,
        codecs: $0.codecs.map { "\($0)" })
    }
    fileBytes = sizes.fileSize
    tensorBytes = sizes.tensorStoredSize
    tensorDecodedBytes = sizes.tensorDecodedSize
    tokenizerBytes = sizes.tokenizerStoredSize
    overheadBytes = sizes.fileSize - sizes.tensorStoredSize - sizes.tokenizerStoredSize
    parameters = report.parameters
    float32Bytes = report.float32Bytes
    ratio = report.ratio
    bitsPerParameter = report.bitsPerParameter
    seconds = curta.seconds(report.times.duration)
    peakMemoryBytes = report.times.peakMemory
    stages = report.times.stagesJSON
    layerSeconds = report.times.layersJSON
  }
}
