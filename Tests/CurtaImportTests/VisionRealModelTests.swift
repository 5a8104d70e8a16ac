// Real vision checkpoints in ../shared: transformers' outputs, and the accuracy they are known for.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct VisionRealModelTests {
  private static let data =
    URL(fileURLWithPath: Shared.models).deletingLastPathComponent().path
    + "/data"

  /// The `curta-vision.json` of weights that have none beside them.
  private static func configuration(_ name: String) -> String {
    TinyVision.reference.path + "/vision-shared/\(name).json"
  }

  static let python: String? = {
    let python = TinyModels.python(with: ["torch", "transformers", "safetensors", "numpy", "PIL"])
    if python == nil {
      print(
        "SKIPPED: no Python with torch, transformers, safetensors, numpy and Pillow (CURTA_PYTHON): "
          + "real vision models are not compared")
    }
    return python
  }()
  private static let hasReference = Shared.isPresent && python != nil

  private func reference(_ arguments: [String]) throws {
    let script = TinyVision.reference.path + "/vision_outputs.py"
    try #require(try TinyModels.run(#require(Self.python), [script] + arguments) == 0)
  }

  @Test(
    .enabled(if: hasReference, "SKIPPED: ../shared or Python with Pillow missing"),
    arguments: ["model.safetensors", "model_f16.safetensors"])
  func viTGivesTheLogitsOfTransformers(_ name: String) throws {
    let folder = Shared.models + "/vit-cifar10-curta"
    try withScratch { scratch in
      let out = scratch.path + "/expected.bin"
      try reference(["vit", folder, Self.data + "/cifar10-test-jpeg.tar", out])
      let checkpoint = try loadVisionCheckpoint(folder + "/" + name)
      #expect(checkpoint.weights.description.labels.first == "airplane")
      #expect(checkpoint.weights.description.resize == .stretch)
      let worst = TinyVision.worstError(checkpoint, try ExpectedOutputs(out))
      print("vit-cifar10-curta/\(name): largest error of a logit \(worst)")
      // The weights of the other file are rounded to float16.
      #expect(worst <= (name == "model.safetensors" ? 1e-3 : 2e-2))
    }
  }

  @Test(.enabled(if: hasReference, "SKIPPED: ../shared or Python with Pillow missing"))
  func dinov2GivesTheFeaturesOfTransformers() throws {
    let path = Shared.models + "/dinov2-vits14/dinov2_vits14_backbone_f16.safetensors"
    try withScratch { scratch in
      let out = scratch.path + "/expected.bin"
      try reference(["dinov2", path, Self.data + "/photos-100.tar", out])
      let checkpoint = try loadVisionCheckpoint(
        path, configuration: Self.configuration("dinov2-vits14"))
      let worst = TinyVision.worstError(checkpoint, try ExpectedOutputs(out))
      print("MEASURED vision_error.dinov2-vits14 \(worst)")
      #expect(worst <= 1e-3)
    }
  }

  /// Part of the images whose label is the largest logit.
  private func accuracy(
    _ weights: VisionWeights, _ images: [(label: Int, pixels: [UInt8])]
  ) -> Double {
    let model = FloatVision(weights)
    var right = 0
    for image in images {
      let logits = model.forward(image.pixels)
      if logits.firstIndex(of: logits.max() ?? 0) == image.label { right += 1 }
    }
    return Double(right) / Double(images.count)
  }

  @Test(.enabled(if: Shared.isPresent, Shared.message))
  func mnistIsRead() throws {
    let weights = try loadVisionCheckpoint(
      Shared.models + "/vit4mnist/vit4mnist.safetensors",
      configuration: Self.configuration("vit4mnist")
    ).weights
    let pixels = try gunzipped(Self.data + "/t10k-images-idx3-ubyte.gz")
    let labels = try gunzipped(Self.data + "/t10k-labels-idx1-ubyte.gz")
    let images = (0..<1000).map {
      (label: Int(labels[8 + $0]), pixels: Array(pixels[16 + $0 * 784..<16 + ($0 + 1) * 784]))
    }
    let accuracy = accuracy(weights, images)
    print("vit4mnist: \(accuracy) of 1000 images (all 10 000: 0.9791)")
    #expect(abs(accuracy - 0.9791) <= 0.015)
  }

  @Test(.enabled(if: hasReference, "SKIPPED: ../shared or Python with Pillow missing"))
  func postNormCIFAR10IsRead() throws {
    let weights = try loadVisionCheckpoint(
      Shared.models + "/vit-cifar10-postnorm/vit_cifar10.pth",
      configuration: Self.configuration("vit-cifar10-postnorm")
    ).weights
    try withScratch { scratch in
      let out = scratch.path + "/pixels"
      try reference(["pixels", Self.data + "/cifar10-test-jpeg.tar", "500", out])
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: out)))
      try #require(bytes.count == 500 * 3073)
      let images = (0..<500).map {
        (label: Int(bytes[$0 * 3073]), pixels: Array(bytes[$0 * 3073 + 1..<($0 + 1) * 3073]))
      }
      let accuracy = accuracy(weights, images)
      print("vit-cifar10-postnorm: \(accuracy) of 500 images (all 10 000: 0.7172)")
      // Three standard errors of 500 images; torch itself has 0.670 with these.
      #expect(abs(accuracy - 0.7172) <= 0.06)
    }
  }

  private func gunzipped(_ path: String) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["gzip", "-dc", path]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return [UInt8](data)
  }
}
