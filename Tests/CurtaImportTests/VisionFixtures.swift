// Tiny random vision transformers and what somebody else computes with them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

/// What `make_vision.py` writes beside a model.
struct ExpectedOutputs {
  let height: Int
  let width: Int
  let channels: Int
  /// [images][height · width · channels]
  let images: [[UInt8]]
  /// [images][outputs]
  let outputs: [[Float]]

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    func word(_ offset: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }
    let count = Int(word(0))
    let outputCount = Int(word(16))
    height = Int(word(4))
    width = Int(word(8))
    channels = Int(word(12))
    let size = height * width * channels
    images = (0..<count).map { Array(bytes[20 + $0 * size..<20 + ($0 + 1) * size]) }
    outputs = (0..<count).map { image in
      (0..<outputCount).map {
        Float(bitPattern: word(20 + count * size + 4 * (image * outputCount + $0)))
      }
    }
  }
}

enum TinyVision {
  static let reference = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reference")
  static let recorded = reference.appendingPathComponent("vision")
  static let recordedNames = names(recorded)

  /// Those in a folder, sorted.
  static func names(_ folder: URL) -> [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return all.filter {
      FileManager.default.fileExists(atPath: folder.path + "/\($0)/expected.bin")
    }.sorted()
  }

  /// Largest difference of the outputs from the expected ones.
  static func worstError(
    _ checkpoint: VisionCheckpoint, _ expected: ExpectedOutputs
  ) -> Float {
    let d = checkpoint.weights.description
    guard checkpoint.weights.isConsistent, d.height == expected.height, d.width == expected.width,
      d.channels == expected.channels
    else { return .infinity }
    let model = FloatVision(checkpoint.weights)
    var worst: Float = 0
    for (image, wanted) in zip(expected.images, expected.outputs) {
      let outputs = model.forward(image)
      guard outputs.count == wanted.count else { return .infinity }
      worst = max(worst, zip(outputs, wanted).map { abs($0 - $1) }.max() ?? .infinity)
    }
    return worst
  }

  static func worstError(_ folder: URL) throws -> Float {
    worstError(
      try loadVisionCheckpoint(folder.path), try ExpectedOutputs(folder.path + "/expected.bin"))
  }
}
