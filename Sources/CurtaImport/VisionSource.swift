// Where a vision checkpoint is: its weights, and who says what they do not say.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The files of a vision checkpoint.
struct VisionSource {
  static let weightExtensions: Set<String> = ["safetensors", "pth", "pt", "bin"]

  let options: VisionOptions
  let folder: String
  let catalog: TensorCatalog
  var files: [SourceFile]

  init(_ path: String, _ options: VisionOptions) throws(ImportError) {
    self.options = options
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw .unreadable(file: path, reason: "no such file or folder")
    }
    folder =
      isFolder.boolValue ? path : URL(fileURLWithPath: path).deletingLastPathComponent().path
    if isFolder.boolValue {
      (catalog, files) = try Self.weights(folder: path)
    } else {
      catalog = try Self.catalog(file: path)
      files = [try SourceFile(at: path)]
    }
  }

  func load() throws(ImportError) -> VisionCheckpoint {
    let own = folder + "/" + VisionConfiguration.fileName
    let huggingFace = folder + "/config.json"
    func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
    if let path = options.configuration ?? (exists(own) ? own : nil) {
      return try loadRaw(ConfigurationReader(path))
    }
    guard exists(huggingFace) else {
      throw .unreadable(
        file: own,
        reason: "no such file, and no config.json either; it says what the weights do not: "
          + "image_mean and image_std at least, mostly num_attention_heads")
    }
    let reader = try ConfigurationReader(huggingFace)
    if reader.peek("model_type") == nil, reader.peek("architecture") != nil {
      return try loadTimm(reader)
    }
    return try loadHuggingFace(reader)
  }

  // MARK: - Weights

  /// The tensors of one file.
  static func catalog(file path: String) throws(ImportError) -> TensorCatalog {
    if URL(fileURLWithPath: path).pathExtension == "safetensors" {
      return TensorCatalog(try SafetensorsFile(path))
    }
    return TensorCatalog(try PyTorchFile(path))
  }

  /// model.safetensors with its shards, or the only file of weights in a folder.
  static func weights(
    folder: String
  ) throws(ImportError) -> (TensorCatalog, [SourceFile]) {
    for name in [SafetensorsFolder.singleName, SafetensorsFolder.indexName]
    where FileManager.default.fileExists(atPath: folder + "/" + name) {
      let files = try SafetensorsFolder(folder)
      return (TensorCatalog(files, place: folder), files.files.map { SourceFile($0.file) })
    }
    let all = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    // A .bin may be anything but for the name that transformers gave it once.
    let names = all.filter {
      let ending = URL(fileURLWithPath: $0).pathExtension
      return weightExtensions.contains(ending) && ending != "bin" || $0 == "pytorch_model.bin"
    }
    guard names.count == 1, let name = names.first else {
      throw .unreadable(
        file: folder,
        reason: names.isEmpty
          ? "no weights in it (.safetensors, .pth)"
          : "\(names.count) files of weights in it; give the path of one")
    }
    let path = folder + "/" + name
    return (try catalog(file: path), [try SourceFile(at: path)])
  }

  // MARK: - Configurations

  /// The tensors' names, or what they are not.
  func naming() throws(ImportError) -> (naming: VisionNaming, names: VisionNames) {
    guard let (naming, prefix) = VisionNaming.find(catalog.has) else {
      let known = VisionNaming.all.map(\.name).joined(separator: ", ")
      let sample = catalog.names.prefix(3).map { printableName($0, limit: 64) }
      throw .unsupported(
        [
          "\(catalog.place): the names of the tensors (\(sample.joined(separator: ", ")), …) are "
            + "those of no vision transformer that is known (supported: \(known))"
        ] + Self.knownTraits(catalog))
    }
    return (naming, naming.names(prefix, catalog.has))
  }

  /// What some well-known others have that we have not.
  private static func knownTraits(_ catalog: TensorCatalog) -> [String] {
    let traits = [
      ("relative_position_bias_table", "windows with relative positions (Swin)"),
      ("attn_pool.", "attention pooling (SigLIP)"), (".downsample.", "a hierarchy of resolutions"),
      ("running_mean", "batch norms: a convolutional network"),
    ]
    return traits.filter { trait in catalog.names.contains { $0.contains(trait.0) } }.map {
      "\($0.1) (supported: plain vision transformers)"
    }
  }

  /// Weights with a `curta-vision.json`.
  private func loadRaw(_ reader: ConfigurationReader) throws(ImportError) -> VisionCheckpoint {
    let (naming, names) = try naming()
    let assembly = VisionAssembly(
      catalog: catalog, naming: naming, names: names,
      configuration: try VisionConfiguration(reader), file: reader.path,
      preprocessing: { (channels) throws(ImportError) in
        try VisionPreprocessing(reader, channels: channels, absentFilter: .bilinear)
      }, options: options, givesFeatures: names.head == "visual_projection")
    return try load(assembly, [reader], unread: true)
  }

  /// Reads the weights of an assembly. Fields that nobody read in `readers` are refused where
  /// `unread` is set.
  func load(
    _ assembly: VisionAssembly, _ readers: [ConfigurationReader], unread: Bool = false,
    notes: [String] = []
  ) throws(ImportError) -> VisionCheckpoint {
    var problems: [String] = []
    func collect() {
      problems = readers.flatMap(\.problems)
      if unread {
        problems += readers.flatMap { reader in
          reader.unread.filter { !$0.hasPrefix("_") }.map {
            "\(reader.fileName): \(printableName($0, limit: 64)) is no field of this file"
          }
        }
      }
    }
    let plan: VisionPlan
    do throws(ImportError) {
      plan = try assembly.plan(&problems)
    } catch {
      // What is unsupported explains more than a field that makes no sense to us.
      let found = readers.flatMap(\.problems)
      guard !found.isEmpty else { throw error }
      if case .unsupported(let others) = error { throw .unsupported(found + others) }
      throw .unsupported(found)
    }
    collect()
    let reader = VisionReader(plan: plan, catalog: catalog)
    let weights = try reader.weights(problems: problems)
    var files: [SourceFile] = []
    for reader in readers where !files.contains(where: { $0.path == reader.path }) {
      files.append(try SourceFile(at: reader.path))
    }
    return VisionCheckpoint(
      weights: weights, sourceFiles: files + self.files, notes: notes + plan.notes)
  }
}

extension TensorCatalog {
  /// The tensors of one safetensors file.
  init(_ file: SafetensorsFile) {
    let stored = file.entries.mapValues { entry in
      StoredTensor(
        file: file.file, name: entry.name, shape: entry.shape, offset: entry.offset,
        count: entry.count, coding: entry.coding.map { .floats($0) }, typeName: entry.dataType,
        recordOffset: entry.offset)
    }
    self.init(stored, place: file.file.path, authority: "the configuration")
  }
}
