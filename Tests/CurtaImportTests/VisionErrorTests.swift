// Vision checkpoints that cannot be read: what is said about them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct VisionErrorTests {
  /// A copy of a recorded model with other JSON fields; NSNull takes one away.
  private func changed(
    _ name: String, _ file: String, _ fields: [String: Any], _ body: (String) throws -> Void
  ) throws {
    try withScratch { scratch in
      let folder = scratch.appendingPathComponent("model")
      try FileManager.default.copyItem(
        at: TinyVision.recorded.appendingPathComponent(name), to: folder)
      let path = folder.appendingPathComponent(file)
      var object =
        try JSONSerialization.jsonObject(with: Data(contentsOf: path)) as? [String: Any] ?? [:]
      for (field, value) in fields {
        object[field] = value is NSNull ? nil : value
      }
      try JSONSerialization.data(withJSONObject: object).write(to: path)
      try body(folder.path)
    }
  }

  private func list(
    _ name: String, _ file: String, _ fields: [String: Any]
  ) throws -> [String] {
    var list: [String] = []
    try changed(name, file, fields) { path in
      list = unsupportedList { _ = try loadVisionCheckpoint(path) }
    }
    return list
  }

  private func reason(
    _ name: String, _ file: String, _ fields: [String: Any]
  ) throws -> Malformation? {
    var found: Malformation?
    try changed(name, file, fields) { path in
      found = malformation { _ = try loadVisionCheckpoint(path) }
    }
    return found
  }

  private let config = "config.json"
  private let preparation = "preprocessor_config.json"
  private let own = "curta-vision.json"

  @Test(arguments: ["swin", "swinv2", "siglip_vision_model", "beit", "resnet"])
  func otherVisionModelsAreRefusedAsSuch(_ type: String) throws {
    try changed("vit", config, ["model_type": type]) { path in
      #expect(isVisionCheckpoint(path))
      let list = unsupportedList { _ = try loadVisionCheckpoint(path) }
      #expect(list.first?.contains("\"\(type)\"") ?? false, "\(list)")
    }
  }

  @Test func allThatIsUnsupportedIsTold() throws {
    let list = try list("vit", preparation, ["resample": 0, "do_pad": true])
    #expect(list.count == 2, "\(list)")
    #expect(try self.list("vit", preparation, ["size": ["shortest_edge": 16]]).count == 1)
    #expect(try self.list("dinov2", preparation, ["do_resize": false]).count == 1)
    #expect(try self.list("dinov2", preparation, ["crop_size": 24]).count == 1)
    #expect(try self.list("vit", config, ["hidden_act": "mish"]).count == 1)
    #expect(try self.list("vit", config, ["quantization_config": ["bits": 4]]).count == 1)
    #expect(try self.list("vit", preparation, ["size": ["height": 20, "width": 20]]).count == 1)
    #expect(try self.list("timm-vit", config, ["global_pool": "map"]).count == 1)
    #expect(try self.list("timm-vit", config, ["architecture": "swin_tiny"]).count == 1)
    #expect(try self.list("timm-vit", config, ["model_args": ["mlp_layer": "x"]]).count == 1)
    #expect(try self.list("torch-behind", own, ["num_heads": 4]).count == 1, "no such field")
  }

  @Test func contradictionsAreTold() throws {
    func expect(_ field: String, _ value: Any) throws {
      let found = try reason("vit", config, [field: value])
      #expect(
        found?.reason == .contradiction && found?.field == field,
        "\(field): \(String(describing: found))")
    }
    try expect("hidden_size", 32)
    try expect("num_hidden_layers", 3)
    try expect("intermediate_size", 32)
    try expect("patch_size", 4)
    try expect("num_channels", 1)
    #expect(
      try reason("vit", config, ["id2label": ["0": "a"]])?.reason == .contradiction)
    #expect(
      try reason("vit", config, ["id2label": ["0": "a", "1": "b", "3": "c"]])?.reason == .wrongType)
    #expect(try reason("vit", config, ["model_type": "dinov2"])?.reason == .contradiction)
    #expect(try reason("vit", config, ["num_attention_heads": 3])?.reason == .outOfRange)
  }

  @Test func missingFieldsAreTold() throws {
    let missing = try reason("vit", preparation, ["image_mean": NSNull()])
    #expect(missing?.reason == .missingField && missing?.field == "image_mean")
    let three = try reason(
      "torch-behind", own,
      ["num_attention_heads": NSNull(), "hidden_act": NSNull(), "norm_placement": NSNull()])
    #expect(three?.field == "hidden_act, norm_placement, num_attention_heads")
    #expect(try reason("vit", preparation, ["image_std": [0.5, 0, 0.5]])?.reason == .outOfRange)
    #expect(try reason("vit", preparation, ["image_std": [0.5, 0.5]])?.reason == .outOfRange)
  }

  @Test func aFolderWithoutPreparationIsRefused() throws {
    try changed("vit", config, [:]) { path in
      try FileManager.default.removeItem(atPath: path + "/" + preparation)
      #expect(throws: ImportError.self) { try loadVisionCheckpoint(path) }
      do {
        _ = try loadVisionCheckpoint(path)
      } catch {
        #expect("\(error)".contains("image_mean"))
      }
    }
  }

  @Test func weightsAloneSayWhatTheyNeed() throws {
    try changed("torch-behind", own, [:]) { path in
      try FileManager.default.removeItem(atPath: path + "/" + own)
      do {
        _ = try loadVisionCheckpoint(path + "/weights.pth")
        Issue.record("was read")
      } catch {
        #expect("\(error)".contains("curta-vision.json"))
      }
      #expect(isVisionCheckpoint(path + "/weights.pth"))
    }
  }

  /// One more tensor, one fewer, and one of another shape.
  @Test func tensorsMustBeThose() throws {
    func reading(_ change: (inout String) -> Void) throws -> ImportError? {
      var found: ImportError?
      try changed("vit", config, [:]) { path in
        let url = URL(fileURLWithPath: path + "/model.safetensors")
        let data = try Data(contentsOf: url)
        let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        var header = String(decoding: data[8..<8 + length], as: UTF8.self)
        change(&header)
        try safetensorsBytes(header, Array(data[(8 + length)...])).write(to: url)
        do {
          _ = try loadVisionCheckpoint(path)
        } catch let error as ImportError {
          found = error
        }
      }
      return found
    }
    let other = try reading {
      $0 = $0.replacing("vit.layernorm.bias", with: "vit.layernorm.gamma")
    }
    guard case .unsupported(let list) = other else {
      Issue.record("\(String(describing: other))")
      return
    }
    #expect(list.first?.contains("vit.layernorm.gamma") ?? false)
    let shape = try reading {
      $0 = $0.replacing("[1,5,16]", with: "[1,16,5]").replacing("[1, 5, 16]", with: "[1, 16, 5]")
    }
    guard case .malformed(let found) = shape else {
      Issue.record("\(String(describing: shape))")
      return
    }
    #expect(found.reason == .wrongShape)
    let head = try reading { $0 = $0.replacing("classifier.", with: "vit.pooler.c") }
    guard case .malformed(let found) = head else {
      Issue.record("\(String(describing: head))")
      return
    }
    #expect(found.reason == .missingTensor && found.field == "classifier.weight")
  }

  // MARK: - Damaged

  private static let values = [
    "0", "1", "-1", "2", "3", "8", "1.5", "1e308", "true", "null", "[]", "{}", "\"\"", "16384",
    "65536", "9223372036854775807", "[1,2]", "[16,8]", "\"mean\"", "\"behind\"",
    "{\"height\":8,\"width\":16}", "{\"shortest_edge\":20}",
  ].map { Array($0.utf8) }

  /// Values of all JSON files and of headers become other values: any error will do, or consistent
  /// weights. CURTA_SEED replays it.
  @Test func damagedModelsAreSurvived() throws {
    var random = SeededRandom(
      ProcessInfo.processInfo.environment["CURTA_SEED"].flatMap { UInt64($0) } ?? 11)
    var read = 0
    for name in ["vit", "dinov2_with_registers", "clip", "timm-vit-registers", "torch-behind"] {
      try changed(name, name.hasPrefix("torch") ? own : config, [:]) { path in
        let files = try FileManager.default.contentsOfDirectory(atPath: path)
          .filter { $0 != "expected.bin" }.sorted()
        for _ in 0..<80 {
          let url = URL(fileURLWithPath: path + "/" + random.element(files))
          let sound = try Data(contentsOf: url)
          var bytes = [UInt8](sound)
          // The values of a JSON or of a header are behind a colon.
          let colons = bytes.prefix(4096).indices.filter { bytes[$0] == UInt8(ascii: ":") }
          if colons.isEmpty || random.chance(8) {
            bytes[random.below(min(bytes.count, 4096))] = UInt8(random.below(256))
          } else {
            let start = random.element(colons) + 1
            let end = bytes[start...].firstIndex { ",}\n".utf8.contains($0) } ?? bytes.count
            bytes.replaceSubrange(start..<end, with: random.element(Self.values))
          }
          try Data(bytes).write(to: url)
          do {
            #expect(try loadVisionCheckpoint(path).weights.isConsistent)
            read += 1
          } catch let error as ImportError {
            #expect(!error.description.isEmpty)
          }
          try sound.write(to: url)
        }
      }
    }
    #expect(read > 20)
  }
}
