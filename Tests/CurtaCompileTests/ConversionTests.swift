// From a checkpoint on disk to a file on disk: sizes, determinism, and what goes wrong.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@Suite struct ConversionTests {
  @Test(arguments: ["w8", "rtn4"])
  func thePlanIsWhatComes(recipe: String) throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let conversion = Conversion(
        source: source, recipe: try Recipe.load(recipe), codec: .forced(.stored))
      let plan = try conversion.plan()
      var stages: [ConversionStage] = []
      let output = folder.appendingPathComponent("tiny.curta").path
      let report = try conversion.run(to: output) { stages.append($0) }

      #expect(report.sizes.tensors.map(\.name) == plan.tensors.map(\.name))
      #expect(report.sizes.tensors.map(\.decodedSize) == plan.tensors.map(\.bytes))
      #expect(report.sizes.tensorStoredSize == plan.tensorBytes)
      #expect(report.sizes.tokenizerStoredSize == plan.tokenizerBytes)
      #expect(report.parameters == plan.parameters)
      #expect(report.float32Bytes == 4 * plan.parameters)
      let size = try FileManager.default.attributesOfItem(atPath: output)[.size] as? Int
      #expect(report.sizes.fileSize == size)
      #expect(stages.first == .reading)
      #expect(stages.suffix(2) == [.writing, .checking])
      let names = stages.compactMap { stage in
        if case .quantizing(let name, _, _) = stage { name } else { nil }
      }
      #expect(names.sorted() == plan.tensors.map(\.name).sorted())
      #expect(
        report.times.stages.map(\.name).sorted()
          == ["calibrate", "check", "compress", "read", "solve", "write"])
      #expect(report.times.stages.allSatisfy { $0.peakMemory > 1 << 20 })
      #expect(report.times.layers.keys.sorted() == [0, 1])
    }
  }

  @Test func theSameSourceGivesTheSameBytes() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let conversion = Conversion(source: source, recipe: .rtn4)
      let outputs = ["a", "b"].map { folder.appendingPathComponent($0 + ".curta") }
      for output in outputs { _ = try conversion.run(to: output.path) }
      #expect(try Data(contentsOf: outputs[0]) == Data(contentsOf: outputs[1]))
    }
  }

  @Test func metadataSaysWhereItCameFrom() throws {
    try withTemporaryFolder { folder in
      let tiny = TinyCheckpoint()
      let checkpoint = try loadCheckpoint(tiny.write(to: folder))
      let metadata = try Conversion.contents(checkpoint, name: "tiny", recipe: .w8).metadata
      let listing =
        "\(sha256(tiny.bytes))  model.bin\n\(sha256(tiny.tokenizerBytes))  tokenizer.bin\n"
      #expect(metadata["source.files"] == .text(listing))
      #expect(metadata["source.hash"] == .text(sha256(Array(listing.utf8))))
      #expect(metadata["recipe"] == .text("w8"))
      #expect(metadata["name"] == .text("tiny"))
      #expect(metadata["parameters"] == .integer(UInt64(checkpoint.source.parameterCount)))
    }
  }

  @Test func aFileThatFailsItsCheckIsNotLeftBehind() throws {
    struct Refused: Error {}
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let before = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      #expect(throws: Refused.self) {
        try Conversion(source: source, recipe: .w8)
          .run(to: folder.path + "/tiny.curta", check: { _ in throw Refused() })
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == before)
    }
  }

  @Test func aCheckpointIsNotOverwritten() throws {
    try withTemporaryFolder { folder in
      let tiny = TinyCheckpoint()
      let source = try tiny.write(to: folder)
      #expect(throws: WriteError.self) {
        try Conversion(source: source, recipe: .w8).run(to: source)
      }
      #expect(try Data(contentsOf: URL(fileURLWithPath: source)) == Data(tiny.bytes))
    }
  }

  @Test func errorsComeBeforeTheWork() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      var stages: [ConversionStage] = []
      for output in ["/no/such/folder/x.curta", folder.path] {
        #expect(throws: WriteError.self) {
          try Conversion(source: source, recipe: .w8).run(to: output) { stages.append($0) }
        }
      }
      #expect(stages.allSatisfy { $0 == .reading })
      #expect(throws: ImportError.self) {
        try Conversion(source: folder.path + "/nothing", recipe: .w8).plan()
      }
      #expect(throws: RecipeError.self) { try Recipe.load("w9") }
    }
  }
}
