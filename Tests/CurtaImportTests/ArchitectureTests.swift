// The float decoder against `transformers`, on a tiny random model of every architecture.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct ArchitectureTests {
  /// Largest difference of a logit that we take for rounding; logits are of size 3 to 14.
  private static let tolerance: Float = 1e-4

  @Test(arguments: TinyModels.recordedNames)
  func logitsEqualTransformers(_ name: String) throws {
    let worst = try TinyModels.worstError(TinyModels.recorded.appendingPathComponent(name))
    print("MEASURED error.\(name) \(worst)")
    #expect(worst <= Self.tolerance)
  }

  /// Every model type we claim has a recorded model, or is one of another under a second name.
  @Test func everyArchitectureIsRecorded() throws {
    var types: Set<String> = []
    for name in TinyModels.recordedNames {
      let path = TinyModels.recorded.path + "/\(name)/config.json"
      types.insert(try #require(try StrictJSON.file(path)["model_type"]?.text))
    }
    // "mingpt" is tested with the real model of ../shared and in FolderLayoutTests; "gemma3" wraps
    // "gemma3_text", and is made by the script below.
    #expect(types.union(["mingpt", "gemma3"]) == Set(Architectures.folder.keys))
  }

  static let python: String? = {
    let python = TinyModels.python(with: ["torch", "transformers", "safetensors", "gguf", "numpy"])
    if python == nil {
      print(
        "SKIPPED: no Python with torch, transformers, safetensors and gguf (CURTA_PYTHON): "
          + "only the recorded models are tested")
    }
    return python
  }()

  /// The recorded models and all their variants, made by `transformers` now.
  @Test(.enabled(if: python != nil, "SKIPPED: no Python with transformers (CURTA_PYTHON)"))
  func newModelsEqualTransformers() throws {
    let python = try #require(Self.python)
    try withScratch { folder in
      let script = TinyModels.reference.path + "/make_architectures.py"
      try #require(try TinyModels.run(python, [script, folder.path]) == 0)
      let names = TinyModels.names(folder)
      #expect(names.count >= 20)
      for name in names {
        let worst = try TinyModels.worstError(folder.appendingPathComponent(name))
        print("MEASURED error.\(name) \(worst)")
        #expect(worst <= Self.tolerance, "\(name)")
      }
      let other = folder.appendingPathComponent("gguf")
      let converter = TinyModels.reference.path + "/make_gguf.py"
      try #require(try TinyModels.run(python, [converter, folder.path, other.path]) == 0)
      var compared = 0
      for name in names {
        let path = other.path + "/\(name).gguf"
        guard FileManager.default.fileExists(atPath: path) else { continue }
        try GGUFArchitectureTests.compare(path, folder.path + "/" + name)
        compared += 1
      }
      #expect(compared >= 19)
    }
  }
}
