// Files of texts and of images that a conversion is calibrated on.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaImport
import CurtaQuantize
import Foundation

extension Conversion {
  /// Takes what a calibrated recipe looks at from a file: texts for a decoder, images for a vision
  /// transformer; nil: the converter's own.
  ///
  /// `size` is the number of tokens or of images, evenly out of all of the file; nil: 16 384, 64.
  /// Throws `HostError`, and what a conversion throws.
  public mutating func setCalibration(_ path: String?, size: Int?) throws {
    guard isVisionCheckpoint(source) else {
      if let size { calibration.tokens = size }
      if let path { calibration.texts = try TextDocuments(path).texts }
      return
    }
    let count = size ?? CalibrationInput.imageCount
    guard let path else {
      calibration.drawnImages = count
      return
    }
    var images = try ImageSet(path)
    images.keep(count)
    calibration.images = try fitted(images)
  }

  /// The images as the model will see them: resized by the program of a file made for that.
  private func fitted(_ images: ImageSet) throws -> [[UInt8]] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "curta-\(UUID().uuidString)")
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    } catch {
      throw HostError.system(path: folder.path, reason: error.localizedDescription)
    }
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("model.curta").path
    var plain = self
    plain.recipe = .w8
    _ = try plain.run(to: file)
    let model = try ImageModel(file)
    var pixels: [[UInt8]] = []
    for entry in images.entries {
      _ = try model.run([try images.image(entry)], names: [entry.name])
      pixels.append(model.pixels(0))
    }
    return pixels
  }
}
