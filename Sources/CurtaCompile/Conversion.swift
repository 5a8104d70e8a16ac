// From a checkpoint on disk to a .curta file on disk.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaWrite
import Foundation

/// A conversion: what to read, how to quantize it.
public struct Conversion: Sendable {
  /// A Hugging Face folder, a GGUF file, a llama2.c `.bin` or the weights of a vision transformer.
  public var source: String
  /// A tokenizer to use instead of the one beside the weights.
  public var tokenizer: String?
  /// The most positions of the file; nil: what the checkpoint says.
  public var context: Int?
  public var recipe: Recipe
  public var codec: CodecChoice
  public var vision = VisionOptions()
  /// What a recipe with a solver or a budget looks at.
  public var calibration = CalibrationInput()
  /// What the bits of the recipe's choices are shared out for; nil: every tensor has its rule.
  public var budget: Budget?
  /// What this conversion shares with others.
  public var work = WorkRequest()

  /// What a vision transformer is asked for.
  public struct VisionOptions: Sendable {
    /// A file that says what weights alone do not, in place of the one beside them.
    public var configuration: String?
    /// Edge of the square images; nil: the checkpoint's.
    public var imageSize: Int?
    /// Whether the head is left out.
    public var features = false

    /// Throws `ImportError`.
    func load(_ source: String) throws(ImportError) -> VisionCheckpoint {
      try loadVisionCheckpoint(
        source, configuration: configuration, imageSize: imageSize, features: features)
    }
  }

  public init(
    source: String, tokenizer: String? = nil, recipe: Recipe, codec: CodecChoice = .auto
  ) {
    self.source = source
    self.tokenizer = tokenizer
    self.recipe = recipe
    self.codec = codec
  }

  /// Sizes that the file will have before compression. Tensors are read only where there is a budget
  /// to share out. Throws `ImportError`, `ConversionError`.
  public func plan(progress: (ConversionStage) -> Void = { _ in }) throws -> ConversionPlan {
    if isVisionCheckpoint(source) {
      let checkpoint = try vision.load(source)
      return try ConversionPlan(
        checkpoint,
        recipe: recipe.allotted(checkpoint, budget, calibration, progress: progress),
        calibration: calibration)
    }
    let checkpoint = try loadCheckpoint(source, tokenizer: tokenizer, context: context)
    return try ConversionPlan(
      checkpoint, recipe: recipe.allotted(checkpoint, budget, calibration, progress: progress),
      calibration: calibration)
  }

  /// Converts and writes `output`, which appears whole or not at all.
  ///
  /// The finished bytes are given to `check` before they get their name. `progress` is told each
  /// stage as it begins. The same source and recipe give the same bytes, whatever was kept of an
  /// earlier run. Where layers are asked for, `output` becomes a part for `mergeParts`. Throws
  /// `ImportError`, `ConversionError`, `WorkError`, `WriteError`, or what `check` throws.
  public func run(
    to output: String, progress: (ConversionStage) -> Void = { _ in },
    check: (ByteView) throws -> Void = checkFormat
  ) throws -> ConversionReport {
    let clock = StageClock()
    return try withoutActuallyEscaping(progress) { progress in
      try run(to: output, clock, check: check) { stage in
        clock.enter(stage)
        progress(stage)
      }
    }
  }

  private func run(
    to output: String, _ clock: StageClock, check: (ByteView) throws -> Void,
    progress: (ConversionStage) -> Void
  ) throws -> ConversionReport {
    progress(.reading)
    try Conversion.checkTarget(output)
    if isVisionCheckpoint(source) {
      let checkpoint = try vision.load(source)
      try Conversion.check(output, isNoneOf: checkpoint.sourceFiles)
      let metadata = try Provenance.metadata(checkpoint, name: modelName, recipe: recipe)
      let work = try ConversionWork(self.work, recipe: recipe, metadata: metadata)
      let contents = try Conversion.contents(
        checkpoint, metadata: metadata, recipe: recipe, codec: codec, calibration: calibration,
        budget: budget, work: work, progress: progress)
      let sizes = try write(contents, work, to: output, check, progress)
      return ConversionReport(
        sizes: sizes, recipe: recipe.name, parameters: checkpoint.weights.parameterCount,
        float32Bytes: 4 * checkpoint.weights.parameterCount, times: clock.finish(),
        notes: checkpoint.notes + work.notes)
    }
    let checkpoint = try loadCheckpoint(source, tokenizer: tokenizer, context: context)
    try Conversion.check(output, isNoneOf: checkpoint.sourceFiles)
    let metadata = try Provenance.metadata(checkpoint, name: modelName, recipe: recipe)
    let work = try ConversionWork(self.work, recipe: recipe, metadata: metadata)
    let contents = try Conversion.contents(
      checkpoint, metadata: metadata, recipe: recipe, codec: codec, calibration: calibration,
      budget: budget, work: work, progress: progress)
    let sizes = try write(contents, work, to: output, check, progress)
    return ConversionReport(
      sizes: sizes, recipe: recipe.name, parameters: checkpoint.source.parameterCount,
      float32Bytes: checkpoint.floatBytes, times: clock.finish(), chatNote: checkpoint.chat.note,
      notes: try CalibrationText.notes(checkpoint, recipe, work) + work.notes)
  }

  /// Writes a file, or a part of one. Throws `WriteError`, or what `check` throws.
  private func write(
    _ contents: consuming FileContents, _ work: ConversionWork, to output: String,
    _ check: (ByteView) throws -> Void, _ progress: (ConversionStage) -> Void
  ) throws -> SizeReport {
    if work.isPart { return try writeWork(.part, contents, to: output) }
    return try writeCurta(contents, to: output, codec: codec) { bytes in
      progress(.checking)
      try check(bytes)
    }
  }

  /// A conversion does not write over what it reads. Throws `WriteError`.
  static func check(
    _ output: String, isNoneOf files: [SourceFile]
  ) throws(WriteError) {
    let target = URL(fileURLWithPath: output).resolvingSymlinksInPath().path
    for file in files
    where URL(fileURLWithPath: file.path).resolvingSymlinksInPath().path == target {
      throw .system(operation: "write", path: output, reason: "it is a file of the checkpoint")
    }
  }

  /// Says before the work begins that it could not be written. Throws `WriteError`.
  static func checkTarget(_ output: String) throws(WriteError) {
    let folder = URL(fileURLWithPath: output).deletingLastPathComponent().path
    var isFolder: ObjCBool = false
    let files = FileManager.default
    guard files.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
      throw .system(operation: "write", path: output, reason: "there is no folder \(folder)")
    }
    guard files.isWritableFile(atPath: folder) else {
      throw .system(operation: "write", path: output, reason: "\(folder) is not writable")
    }
    guard !files.fileExists(atPath: output, isDirectory: &isFolder) || !isFolder.boolValue else {
      throw .system(operation: "write", path: output, reason: "it is a folder")
    }
  }

  /// Everything that goes into the file of a checkpoint, its tensors compressed with `codec`.
  public static func contents(
    _ checkpoint: Checkpoint, name: String, recipe: Recipe, codec: CodecChoice = .auto,
    calibration: CalibrationInput = CalibrationInput(), budget: Budget? = nil,
    progress: (ConversionStage) -> Void = { _ in }
  ) throws -> FileContents {
    try contents(
      checkpoint, metadata: Provenance.metadata(checkpoint, name: name, recipe: recipe),
      recipe: recipe, codec: codec, calibration: calibration, budget: budget, work: .none,
      progress: progress)
  }

  private static func contents(
    _ checkpoint: Checkpoint, metadata: [String: MetadataValue], recipe: Recipe,
    codec: CodecChoice, calibration: CalibrationInput, budget: Budget?, work: ConversionWork,
    progress: (ConversionStage) -> Void
  ) throws -> FileContents {
    let tokenizer = try tokenizerSection(of: checkpoint)
    let recipe = try recipe.allotted(checkpoint, budget, calibration, progress: progress)
    let sequences =
      recipe.isCalibrated && work.statistics == nil
      ? try CalibrationText.sequences(checkpoint, calibration) : []
    try work.begin(
      recipe: recipe, codec: codec, model: checkpoint.source.description,
      spreading: Spreading(checkpoint.source.description),
      inputs: hashText(Array("\(sequences)".utf8)), metadata: metadata)
    let rates = try recipe.rates(checkpoint, sequences, progress: progress)
    let lowered = try withoutActuallyEscaping(progress) { progress in
      try Lowering(
        source: checkpoint.source, recipe: recipe, codec: codec, begin: checkpoint.bos,
        sequences: sequences, rates: rates, work: work, progress: progress
      ).run()
    }
    progress(.writing)
    var metadata = metadata
    metadata.record(lowered)
    return try work.contents(
      metadata: metadata, tokenizer: tokenizer.isEmpty ? nil : tokenizer,
      tensors: lowered.tensors, program: lowered.program)
  }

  /// The same of a vision transformer.
  private static func contents(
    _ checkpoint: VisionCheckpoint, metadata: [String: MetadataValue], recipe: Recipe,
    codec: CodecChoice, calibration: CalibrationInput, budget: Budget?, work: ConversionWork,
    progress: (ConversionStage) -> Void
  ) throws -> FileContents {
    let recipe = try recipe.allotted(checkpoint, budget, calibration, progress: progress)
    return try contents(
      checkpoint.weights, metadata: metadata, recipe: recipe, codec: codec,
      images: calibration.images ?? [], drawn: calibration.drawnImages, work: work,
      progress: progress)
  }

  /// Everything that goes into the file of a vision transformer in memory. `images`, of the model's
  /// size, are measured besides the drawn ones to place the fixed points.
  public static func contents(
    _ weights: VisionWeights, metadata: [String: MetadataValue] = [:], recipe: Recipe,
    codec: CodecChoice = .auto, images: [[UInt8]] = [], drawn: Int = CalibrationInput.imageCount,
    progress: (ConversionStage) -> Void = { _ in }
  ) throws -> FileContents {
    try contents(
      weights, metadata: metadata, recipe: recipe, codec: codec, images: images, drawn: drawn,
      work: .none, progress: progress)
  }

  private static func contents(
    _ weights: VisionWeights, metadata: [String: MetadataValue], recipe: Recipe,
    codec: CodecChoice, images: [[UInt8]], drawn: Int, work: ConversionWork,
    progress: (ConversionStage) -> Void
  ) throws -> FileContents {
    var metadata = metadata.merging(Provenance.visionMetadata(weights.description)) { own, _ in own
    }
    try work.begin(
      recipe: recipe, codec: codec, model: weights.description,
      spreading: Spreading(weights.description.body),
      inputs: hashText(images.isEmpty ? Array("drawn \(drawn)".utf8) : images.flatMap { $0 }),
      metadata: metadata)
    let rates = try recipe.rates(weights, images, progress: progress)
    let lowered = try withoutActuallyEscaping(progress) { progress in
      try VisionLowering(
        weights: weights, recipe: recipe, codec: codec, images: images, drawn: drawn,
        rates: rates, work: work, progress: progress
      ).run()
    }
    progress(.writing)
    metadata.record(lowered)
    return try work.contents(
      metadata: metadata, tokenizer: nil, tensors: lowered.tensors, program: lowered.program)
  }

  /// Name of the source without its folder and ending.
  var modelName: String {
    let url = URL(fileURLWithPath: source).standardizedFileURL
    return ["bin", "gguf", "safetensors", "pth", "pt"].contains(url.pathExtension)
      ? url.deletingPathExtension().lastPathComponent : url.lastPathComponent
  }

  /// Everything that a reader checks short of running the file: layout, all hashes, metadata,
  /// tensors and program.
  public static func checkFormat(_ bytes: ByteView) throws {
    let file = try CurtaFile(bytes)
    _ = try file.metadata()
    _ = try file.program(file.tensors())
    try file.verifyPayload()
  }
}

/// What a conversion gave.
public struct ConversionReport: Sendable {
  public var sizes: SizeReport
  public var recipe: String
  public var parameters: Int
  /// Bytes of all parameters as float32.
  public var float32Bytes: Int
  /// Where time and memory went.
  public var times: StageTimes
  /// What the chat template has that the file has not; nil when nothing is left out.
  public var chatNote: String? = nil
  /// What else a person should know of the import, and of what was kept.
  public var notes: [String] = []

  /// How many times smaller the file is than its parameters as float32.
  public var ratio: Double { Double(float32Bytes) / Double(sizes.fileSize) }
  /// Bits of the file for each parameter.
  public var bitsPerParameter: Double { Double(sizes.fileSize) * 8 / Double(parameters) }
}
