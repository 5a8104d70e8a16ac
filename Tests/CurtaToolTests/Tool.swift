// Runs the built `curta` as a person would.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What a call of `curta` gave.
struct ToolResult {
  let status: Int32
  let output: String
  let errors: String

  /// The output as a JSON object.
  var json: [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(output.utf8))) as? [String: Any] ?? [:]
  }
}

enum Tool {
  /// `curta` lies beside the test program.
  static let path: URL = {
    let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let folder = URL(fileURLWithPath: own ?? CommandLine.arguments[0]).deletingLastPathComponent()
    return folder.appendingPathComponent("curta")
  }()

  /// Calls `curta` with 80 columns and no terminal.
  static func run(_ arguments: String...) throws -> ToolResult { try run(arguments) }

  /// `input` is the standard input; nothing without it.
  static func run(_ arguments: [String], input: String) throws -> ToolResult {
    try run(arguments, bytes: Array(input.utf8))
  }

  /// Interrupts the tool, as Ctrl-C does, once its output has the text `interruptAfter`.
  static func run(
    _ arguments: [String], bytes: [UInt8]? = nil, interruptAfter: String? = nil
  ) throws -> ToolResult {
    // Files, not pipes: a full pipe would stop the tool.
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("curta-tool-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = ["out", "err"].map { folder.appendingPathComponent($0) }
    for file in files { try Data().write(to: file) }
    let process = Process()
    process.executableURL = path
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment
      .merging(["COLUMNS": "80"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    if let bytes {
      let file = folder.appendingPathComponent("in")
      try Data(bytes).write(to: file)
      process.standardInput = try FileHandle(forReadingFrom: file)
    }
    process.standardOutput = try FileHandle(forWritingTo: files[0])
    process.standardError = try FileHandle(forWritingTo: files[1])
    try process.run()
    if let interruptAfter {
      let limit = Date().addingTimeInterval(60)
      while process.isRunning, Date() < limit,
        try !String(decoding: Data(contentsOf: files[0]), as: UTF8.self).contains(interruptAfter)
      {
        usleep(2000)
      }
      process.interrupt()
    }
    process.waitUntilExit()
    let texts = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
    return ToolResult(status: process.terminationStatus, output: texts[0], errors: texts[1])
  }
}
