// The float vision transformer against `transformers`, timm and torchvision, on tiny random models.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct VisionTests {
  /// Largest difference of an output that we take for rounding; outputs are of size 1 to 10.
  private static let tolerance: Float = 1e-4

  @Test(arguments: TinyVision.recordedNames)
  func outputsEqualTheReference(_ name: String) throws {
    let folder = TinyVision.recorded.appendingPathComponent(name)
    let worst = try TinyVision.worstError(folder)
    print("MEASURED vision_error.\(name) \(worst)")
    #expect(worst <= Self.tolerance)
    #expect(isVisionCheckpoint(folder.path))
  }

  /// The model of Examples, of its real size: logits of the drawn pictures by `transformers`, recorded.
  @Test func theExampleEqualsTheReference() throws {
    let checkpoint = try loadVisionCheckpoint(
      Repository.root.path + "/Examples/models/vit-cifar10")
    let expected = try ExpectedOutputs(TinyVision.reference.path + "/vision-drawn/expected.bin")
    #expect(expected.images.count == 10)
    let worst = TinyVision.worstError(checkpoint, expected)
    print("MEASURED vision_error.vit-cifar10 \(worst)")
    #expect(worst <= Self.tolerance)
    for (place, logits) in expected.outputs.enumerated() {
      #expect(logits.firstIndex(of: logits.max() ?? 0) == place, "picture \(place)")
    }
  }

  static let python: String? = {
    let python = TinyModels.python(with: ["torch", "transformers", "safetensors", "numpy"])
    if python == nil {
      print(
        "SKIPPED: no Python with torch, transformers and safetensors (CURTA_PYTHON): only the "
          + "recorded vision models are tested")
    }
    return python
  }()

  /// The recorded models and all their variants, made now.
  @Test(.enabled(if: python != nil, "SKIPPED: no Python with transformers (CURTA_PYTHON)"))
  func newModelsEqualTheReference() throws {
    let python = try #require(Self.python)
    try withScratch { folder in
      let script = TinyVision.reference.path + "/make_vision.py"
      try #require(try TinyModels.run(python, [script, folder.path]) == 0)
      let names = TinyVision.names(folder)
      #expect(names.count >= 13)
      for name in names {
        let worst = try TinyVision.worstError(folder.appendingPathComponent(name))
        print("MEASURED vision_error.made-now-\(name) \(worst)")
        #expect(worst <= Self.tolerance, "\(name)")
      }
    }
  }

  @Test func aFolderSaysHowPicturesComeIn() throws {
    let vit = try loadVisionCheckpoint(TinyVision.recorded.path + "/vit").weights.description
    #expect(vit.resize == .stretch && vit.filter == .bilinear)
    #expect(vit.mean == [0.5, 0.4, 0.3] && vit.deviation == [0.25, 0.5, 0.75])
    #expect(vit.labels == ["cat", "dog", "fish"])
    let dino = try loadVisionCheckpoint(TinyVision.recorded.path + "/dinov2").weights.description
    #expect(dino.resize == .crop(edge: 20) && dino.filter == .bicubic)
    #expect(dino.labels == [] && !dino.hasHead && dino.body.vocabularySize == 16)
    let deit = try loadVisionCheckpoint(TinyVision.recorded.path + "/deit")
    #expect(deit.weights.description.resize == .crop(edge: 20))
    #expect(deit.weights.description.prefixRows == 2)
    #expect(deit.notes.count == 1)
    #expect(deit.weights.description.labels == [], "nobody named LABEL_0")
  }

  @Test func anImageSizeIsChosen() throws {
    let path = TinyVision.recorded.path + "/dinov2"
    let larger = try loadVisionCheckpoint(path, imageSize: 40).weights
    #expect(larger.isConsistent && larger.description.rows == 26)
    #expect(larger.description.resize == .crop(edge: 50))
    #expect(try loadVisionCheckpoint(path, imageSize: 40).notes.count == 1)
    #expect(unsupportedList { _ = try loadVisionCheckpoint(path, imageSize: 41) }.count == 1)
  }

  @Test func featuresAreTheModelWithoutItsHead() throws {
    let path = TinyVision.recorded.path + "/vit"
    let weights = try loadVisionCheckpoint(path, features: true).weights
    #expect(weights.isConsistent && !weights.description.hasHead)
    #expect(weights.description.body.vocabularySize == 16 && weights.ends.head == nil)
  }

  @Test func otherCheckpointsAreNoVision() throws {
    #expect(!isVisionCheckpoint(TinyVision.recorded.path))
    #expect(!isVisionCheckpoint("/nowhere"))
    #expect(isVisionCheckpoint(TinyVision.recorded.path + "/vit/model.safetensors"))
    #expect(isVisionCheckpoint(TinyVision.recorded.path + "/torch-behind/weights.pth"))
    for name in TinyModels.recordedNames {
      #expect(!isVisionCheckpoint(TinyModels.recorded.path + "/" + name), "\(name)")
    }
  }
}
