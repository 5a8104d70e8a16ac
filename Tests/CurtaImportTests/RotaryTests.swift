// Rotary tables against those of `transformers`, for configurations old and new.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct RotaryTests {
  /// The plan for a configuration, without any weights.
  static func plan(_ config: [String: Any], context: Int? = nil) throws -> DecoderPlan {
    try withScratch { folder in
      try FolderBytes.write(folder, config: config, tensors: [])
      let reader = try ConfigurationReader(folder.path + "/config.json", context: context)
      let catalog = TensorCatalog(try SafetensorsFolder(folder.path), place: folder.path)
      let type = try #require(config["model_type"] as? String)
      let planner = try #require(Architectures.folder[type])
      let plan = try planner(reader, catalog)
      guard reader.problems.isEmpty else { throw ImportError.unsupported(reader.problems) }
      return plan
    }
  }

  /// Compares every case of a file that make_rotary.py has written.
  static func compare(_ path: String) throws -> (cases: Int, worst: Double) {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let cases = try #require(JSONSerialization.jsonObject(with: data) as? [[String: Any]])
    var worst = 0.0
    for (index, entry) in cases.enumerated() {
      let config = try #require(entry["config"] as? [String: Any])
      let tables = try #require(entry["tables"] as? [[Any]])
      let d = try plan(config, context: entry["context"] as? Int).description
      try #require(d.rotary.count == tables.count, "case \(index)")
      var magnitude = 1.0
      for (table, expected) in zip(d.rotary, tables) {
        let frequencies = try #require(expected[0] as? [Double])
        magnitude = try #require((expected[1] as? NSNumber)?.doubleValue)
        try #require(table.frequencies.count == frequencies.count, "case \(index)")
        #expect(table.pairing == .halfSplit)
        for (a, b) in zip(table.frequencies, frequencies) { worst = max(worst, abs(a / b - 1)) }
      }
      let scale =
        config["model_type"] as? String == "gemma3_text"
        ? 1 / 256.0.squareRoot() : 1 / Double(d.headWidth).squareRoot()
      let error = abs(d.scoreScale / (scale * magnitude * magnitude) - 1)
      #expect(error < 1e-6, "case \(index): attention factor \(magnitude)")
    }
    return (cases.count, worst)
  }

  /// `transformers` computes in float32, so its own tables have an error of some 1e-7.
  @Test func tablesEqualTransformers() throws {
    let (cases, worst) = try Self.compare(TinyModels.reference.path + "/rotary.json")
    print("rotary: \(cases) tables, largest relative error of a frequency \(worst)")
    #expect(cases >= 28)
    #expect(worst < 2e-6)
  }

  @Test(.enabled(if: ArchitectureTests.python != nil, "SKIPPED: no Python with transformers"))
  func recordedTablesAreStillTrue() throws {
    let python = try #require(ArchitectureTests.python)
    try withScratch { folder in
      let path = folder.path + "/rotary.json"
      let command = "\"$0\" \"$1\" > \"$2\""
      let script = TinyModels.reference.path + "/make_rotary.py"
      try #require(try TinyModels.run("/bin/sh", ["-c", command, python, script, path]) == 0)
      #expect(try Self.compare(path).worst < 2e-6)
    }
  }

  // MARK: - Refusals

  private var base: [String: Any] {
    [
      "model_type": "llama", "vocab_size": 32, "hidden_size": 64, "intermediate_size": 24,
      "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 4096,
    ]
  }

  @Test func whatIsInexactIsRefused() throws {
    var config = base
    config["partial_rotary_factor"] = 0.5
    // No Llama of `transformers` turns a part of a head.
    let whole = unsupportedList { _ = try Self.plan(config) }
    #expect(whole.count == 1)
    #expect(whole.first?.contains("8 of 16 elements") == true, "\(whole)")
    config["model_type"] = "phi"
    config["rope_scaling"] =
      [
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024,
      ] as [String: Any]
    let list = unsupportedList { _ = try Self.plan(config) }
    #expect(list.count == 1)
    #expect(list.first?.contains("only a part of a head turns") == true, "\(list)")
    // With an attention factor of 1 it is exact.
    config["rope_scaling"] =
      [
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024,
        "attention_factor": 1.0,
      ] as [String: Any]
    #expect(try Self.plan(config).description.rotary[0].frequencies.count == 4)
  }

  @Test func nonsenseIsNamed() {
    let cases: [([String: Any], String)] = [
      (["type": "linear"], "rope_scaling.factor"), (["type": "linear", "factor": 0.5], "factor"),
      (["type": "linear", "factor": "4"], "rope_scaling.factor"),
      (["type": "llama3", "factor": 8], "rope_scaling.low_freq_factor"),
      (
        ["type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1],
        "rope_scaling.high_freq_factor"
      ),
      (["type": "longrope"], "rope_scaling.short_factor"),
      (["type": "longrope", "short_factor": [1, 2]], "rope_scaling.short_factor"),
      (
        ["type": "longrope", "short_factor": [0, 1, 1, 1, 1, 1, 1, 1]], "rope_scaling.short_factor"
      ),
      (["type": "yarn", "factor": 1e40], "rope_scaling.factor"),
      (["rope_theta": -1], "rope_scaling.rope_theta"),
      (["partial_rotary_factor": 1.5], "head_dim"), (["partial_rotary_factor": 0.2], "head_dim"),
      (["partial_rotary_factor": 9_223_372_036_854_775_807], "head_dim"),
      (["type": "yarn", "factor": 2, "attention_factor": 1e9], "rope_scaling.attention_factor"),
    ]
    for (scaling, field) in cases {
      var config = base
      config["rope_scaling"] = scaling
      let found = malformation { _ = try Self.plan(config) }
      #expect(found?.field?.hasSuffix(field) == true, "\(scaling): \(String(describing: found))")
    }
    var config = base
    config["rope_scaling"] = "linear"
    #expect(malformation { _ = try Self.plan(config) }?.reason == .wrongType)
  }

  @Test func unknownFieldsAreNotDropped() {
    var config = base
    config["rope_scaling"] = ["type": "linear", "factor": 4, "low_freq_factor": 1, "spiral": true]
    let list = unsupportedList { _ = try Self.plan(config) }
    #expect(list.count == 2)
    #expect(list.contains { $0.contains("rope_scaling.spiral = true") }, "\(list)")
  }
}
