// The help texts, compared with what was recorded: CURTA_RECORD=1 swift test --filter HelpTests.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@Suite struct HelpTests {
  static let commands = [
    "", "convert", "calibrate", "merge", "run", "classify", "embed", "eval", "bench", "inspect",
    "verify", "plan",
  ]

  @Test(arguments: commands)
  func helpIsAsRecorded(command: String) throws {
    let result = try Tool.run(command.isEmpty ? ["--help"] : [command, "--help"])
    #expect(result.status == 0)
    #expect(result.errors == "")
    let name = command.isEmpty ? "curta" : "curta-\(command)"
    let golden = Repository.root.appendingPathComponent("Tests/Golden/help/\(name).txt")
    if ProcessInfo.processInfo.environment["CURTA_RECORD"] == "1" {
      try FileManager.default.createDirectory(
        at: golden.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(result.output.utf8).write(to: golden)
    }
    #expect(try result.output == String(contentsOf: golden, encoding: .utf8))
  }

  @Test func versionIsPrinted() throws {
    #expect(try Tool.run("--version").output == "curta 0.1.0\n")
  }
}
