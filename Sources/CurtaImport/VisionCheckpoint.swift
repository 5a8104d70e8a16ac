// A vision transformer as the converter sees it, whatever format it came in.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// The float weights of a vision transformer with everything needed to run it.
public struct VisionCheckpoint: Sendable {
  public var weights: VisionWeights
  public var sourceFiles: [SourceFile]
  /// What a person should know: where the import had to choose, or left something out.
  public var notes: [String]

  public init(weights: VisionWeights, sourceFiles: [SourceFile], notes: [String] = []) {
    self.weights = weights
    self.sourceFiles = sourceFiles
    self.notes = notes
  }
}

/// Reads a vision transformer: a Hugging Face folder (vit, deit, dinov2, clip), a timm folder, or a
/// state dict in a `.safetensors` or `.pth` file whose names are known.
///
/// What weights alone do not say is in `curta-vision.json` beside them (`VisionConfiguration`),
/// which stands for config.json and preprocessor_config.json where it is there.
///
/// - Parameters:
///   - configuration: path of a file to use in place of `curta-vision.json`.
///   - imageSize: edge of the square images, where the checkpoint's own is not wanted; positions
///     are interpolated as `transformers` does.
///   - features: leave out the head, so that the pooled row is the output.
/// - Throws: only `ImportError`; what is unsupported is all in one error.
public func loadVisionCheckpoint(
  _ path: String, configuration: String? = nil, imageSize: Int? = nil, features: Bool = false
) throws(ImportError) -> VisionCheckpoint {
  if let imageSize, imageSize < 1 || imageSize > VisionLimit.imageEdge {
    throw .unsupported(["images of \(imageSize) pixels (supported: 1 to \(VisionLimit.imageEdge))"])
  }
  let options = VisionOptions(
    configuration: configuration, imageSize: imageSize, features: features)
  let source = try VisionSource(path, options)
  return try source.load()
}

/// Whether `loadVisionCheckpoint` is the one to ask: a folder whose config.json names a vision
/// model, or weights with the names of one. It does not say that the checkpoint is sound.
public func isVisionCheckpoint(_ path: String) -> Bool {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return false }
  guard isFolder.boolValue else {
    guard VisionSource.weightExtensions.contains(URL(fileURLWithPath: path).pathExtension),
      let catalog = try? VisionSource.catalog(file: path)
    else { return false }
    return VisionNaming.find(catalog.has) != nil
  }
  if FileManager.default.fileExists(atPath: path + "/" + VisionConfiguration.fileName) {
    return true
  }
  guard let config = try? StrictJSON.file(path + "/config.json") else {
    guard let (catalog, _) = try? VisionSource.weights(folder: path) else { return false }
    return VisionNaming.find(catalog.has) != nil
  }
  let names =
    [config["model_type"]?.text, config["architecture"]?.text]
    + (config["architectures"]?.array ?? []).map(\.text)
  return names.contains { $0.map(VisionSource.isVisionName) ?? false }
}

/// What a caller asks of an import.
struct VisionOptions {
  var configuration: String?
  var imageSize: Int?
  var features = false
}

/// Limits of what we believe a checkpoint.
enum VisionLimit {
  /// Pixels of an edge.
  static let imageEdge = 1 << 14
  /// Rows of an image, prefix and patches.
  static let rows = 1 << 16
  /// Numbers in a table of positions, also between two of its grids.
  static let tableElements = 1 << 28
}
