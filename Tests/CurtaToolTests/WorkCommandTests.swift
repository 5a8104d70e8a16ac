// Conversions that are killed, sharded or calibrated beforehand, as a person would do it.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@Suite struct WorkCommandTests {
  private func bytes(_ path: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path))
  }

  /// Kept parts under a folder.
  private func parts(_ folder: String) -> [String] {
    (FileManager.default.subpaths(atPath: folder) ?? []).filter { $0.hasSuffix(".part") }
  }

  @Test func aKilledConversionGoesOn() throws {
    try withTemporaryFolder { folder in
      var tiny = TinyCheckpoint()
      tiny.layers = 24
      tiny.feedForwardWidth = 512
      let source = try tiny.write(to: folder)
      let paths = ["plain", "out", "keep"].map { folder.appendingPathComponent($0).path }
      let flags = ["--recipe", "gptq", "--calibration-size", "512"]
      #expect(try Tool.run(["convert", source, "-o", paths[0]] + flags).status == 0)

      let process = Process()
      process.executableURL = Tool.path
      process.arguments = ["convert", source, "-o", paths[1], "--keep", paths[2]] + flags
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      try process.run()
      while process.isRunning, parts(paths[2]).count < 3 { usleep(1000) }
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
      #expect(process.terminationReason == .uncaughtSignal, "it was done before it was killed")
      #expect(!FileManager.default.fileExists(atPath: paths[1]))
      let left = parts(paths[2]).count
      #expect(left >= 3 && left < 24)

      let again = try Tool.run(["convert", source, "-o", paths[1], "--keep", paths[2]] + flags)
      #expect(again.status == 0)
      #expect(again.errors.contains("note: \(left) of 26 kept parts were taken"))
      #expect(try bytes(paths[1]) == bytes(paths[0]))
    }
  }

  @Test(arguments: [true, false])
  func calibrateConvertMerge(vision: Bool) throws {
    try withTemporaryFolder { folder in
      let source =
        try vision
        ? TinyVisionFolder.write(to: folder) : TinyCheckpoint().write(to: folder)
      func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
      let made = try Tool.run(
        "calibrate", source, "-o", path("statistics"), "--calibration-size", vision ? "16" : "256",
        "--json")
      #expect(made.status == 0, "\(made.errors)")
      #expect(made.json["inputs"] as? Int == (vision ? 8 : 9))
      #expect(try made.json["file_bytes"] as? Int == bytes(path("statistics")).count)
      let flags = [source, "--recipe", "gptq", "--statistics", path("statistics"), "-o"]
      #expect(try Tool.run(["convert"] + flags + [path("whole")]).status == 0)
      for layer in 0..<2 {
        let part = try Tool.run(
          ["convert"] + flags + [path("\(layer).part"), "--layers", "\(layer)..\(layer)"])
        #expect(part.status == 0, "\(part.errors)")
        #expect(part.output.contains("a part for curta merge"))
      }
      let merged = try Tool.run(
        "merge", path("1.part"), path("0.part"), "-o", path("merged"), "--json")
      #expect(merged.status == 0, "\(merged.errors)")
      #expect(try bytes(path("merged")) == bytes(path("whole")))
      #expect(try merged.json["file_bytes"] as? Int == bytes(path("whole")).count)

      let missing = try Tool.run("merge", path("0.part"), "-o", path("x"))
      #expect(missing.status == 1 && missing.errors.contains("layers 1..1 of 2"))
      // A runtime takes neither.
      for name in ["0.part", "statistics"] {
        let wrong = try Tool.run("verify", path(name))
        #expect(wrong.status == 2 && wrong.errors.contains("bad_magic"))
      }
    }
  }

  @Test func stepsAreReported() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let path = folder.appendingPathComponent("out").path
      let flags = ["convert", source, "-o", path, "--recipe", "best", "--calibration-size", "256"]
      let solved = try Tool.run(flags + ["--json"]).json["solved"] as? [[String: Any]] ?? []
      #expect(solved.count { ($0["name"] as? String ?? "").hasPrefix("layers.1.") } == 7)
      for tensor in solved {
        let steps = tensor["steps"] as? [[String: Any]] ?? []
        #expect(
          steps.map { $0["step"] as? String } == ["nearest", "gptq", "quantease", "decoupleq"])
        let errors = steps.compactMap { $0["error"] as? Double }
        #expect(errors[3] > 0 && errors[3] < 0.1)
        #expect(errors == errors.sorted(by: >), "\(tensor)")
      }
      let table = try Tool.run(flags + ["--steps"]).output
      #expect(table.contains("layers.0.query") && table.contains("quantease"))
    }
  }

  @Test func stagesAreReported() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let path = folder.appendingPathComponent("out").path
      let flags = ["convert", source, "--recipe", "gptq", "--calibration-size", "256"]
      let result = try Tool.run(flags + ["-o", path, "--json"])
      let stages = result.json["stages"] as? [String: [String: Any]] ?? [:]
      #expect(
        Set(stages.keys) == ["read", "calibrate", "solve", "compress", "write", "check"])
      let sum = stages.values.compactMap { $0["seconds"] as? Double }.reduce(0, +)
      #expect(abs(sum - (result.json["seconds"] as? Double ?? 0)) < 1e-6)
      let peaks = stages.values.compactMap { $0["peak_memory_bytes"] as? Int }
      #expect(peaks.max() == result.json["peak_memory_bytes"] as? Int)
      #expect((result.json["layer_seconds"] as? [Any])?.count == 2)
      #expect(try Tool.run(flags + ["-o", path]).output.contains("(most for layer "))

      let plan = try Tool.run(flags + ["--dry-run", "--json"])
      let measuring = plan.json["measuring"] as? [String: Any] ?? [:]
      #expect(measuring["rows"] as? Int == 256)
      // Two copies of 256 rows of 48; inputs of 48, 48, 48 and 80.
      #expect(measuring["row_bytes"] as? Int == 2 * 4 * 256 * 48)
      #expect(measuring["moment_bytes"] as? Int == 24 * (3 * 48 * 48 + 80 * 80))
      #expect(plan.json["tensor_bytes"] as? Int == result.json["tensor_decoded_bytes"] as? Int)
      #expect(try Tool.run(flags + ["--dry-run"]).output.contains("to be measured: 256 rows"))
    }
  }

  @Test func wrongFlagsAreNamed() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let flags = ["convert", source, "-o", folder.path + "/x", "--recipe"]
      let alone = try Tool.run(flags + ["gptq", "--layers", "0..0"])
      #expect(alone.status == 1 && alone.errors.contains("curta calibrate"))
      #expect(try Tool.run(flags + ["rtn4", "--layers", "1..0"]).status == 64)
      let outside = try Tool.run(flags + ["rtn4", "--layers", "0..2"])
      #expect(outside.status == 1 && outside.errors.contains("the model has 2"))
      let both = try Tool.run(flags + ["gptq", "--statistics", source, "--calibration", source])
      #expect(both.status == 64)
      let wrong = try Tool.run(flags + ["gptq", "--statistics", source])
      #expect(wrong.status == 2 && wrong.errors.contains("not a file of the converter's own"))
    }
  }
}
