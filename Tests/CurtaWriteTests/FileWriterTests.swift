// Whole files: layout, determinism, three readers, and what is left when writing fails.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaWrite

/// A folder that is removed with the value's owner.
private final class Folder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "curta-write-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
}

/// Reads everything in a file that the reader of the runtime checks.
private func readAll(_ bytes: ByteView) throws {
  let file = try CurtaFile(bytes)
  try file.verifyPayload()
  _ = try file.metadata()
  _ = try file.program(file.tensors())
}

@Suite struct FileWriterTests {
  private struct Refusal: Error {}

  private static let choices: [CodecChoice] = [
    .auto, .forced(.stored), .forced(.zstd), .forced(.lz4),
  ]

  @Test(arguments: choices)
  func theFileIsWhatWasMeant(choice: CodecChoice) throws {
    var generator = SeededRandom.announced("file \(choice)")
    var contents = try plannedContents(&generator)
    contents.tokenizer = Array("any bytes at all, any bytes at all, any bytes".utf8)
    let bytes = try fileBytes(contents, codec: choice)
    #expect(try fileBytes(contents, codec: choice) == bytes)

    let sections = try parseFile(bytes)
    let decoded = sections.map { section in
      Codec(rawValue: section.codec).flatMap { decode($0, section.stored, size: section.size) }
    }
    let streams = contents.tensors.flatMap { tensor in
      (0..<tensor.streamCount).map { tensor.stream($0) }
    }
    let expected: [[UInt8]] =
      [
        try metadataSection(contents.metadata), contents.tokenizer!,
        try tensorSection(contents.tensors), try programSection(contents.program),
      ] + streams
    #expect(decoded == expected)
    #expect(sections.map(\.kind) == [1, 2, 3, 4] + streams.map { _ in 5 })
    if case .forced(let codec) = choice {
      #expect(sections.allSatisfy { [1, 3, 4].contains($0.kind) || $0.codec == codec.rawValue })
    }
  }

  @Test(arguments: choices)
  func theReaderAcceptsIt(choice: CodecChoice) throws {
    var generator = SeededRandom.announced("reader \(choice)")
    let contents = try plannedContents(&generator)
    let folder = try Folder()
    let path = folder.path + "/sample.curta"
    let report = try writeCurta(contents, to: path, codec: choice, verify: readAll)
    #expect(folder.names == ["sample.curta"])
    let written = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect([UInt8](written) == (try fileBytes(contents, codec: choice)))

    #expect(report.fileSize == written.count)
    #expect(report.tensors.map(\.name) == contents.tensors.map(\.name))
    let query = report.tensors[3]
    #expect(query.bits == 4 && query.rows == 64 && query.columns == 64)
    #expect(query.codecs.count == 3)
    #expect(query.decodedSize == 64 * 32 + 64 * 2 + 64 * 2)
    #expect(report.tensorStoredSize + report.overheadSize < report.fileSize)
  }

  /// The numpy reference, written from the specification alone.
  @Test(arguments: choices)
  func theReferenceAcceptsIt(choice: CodecChoice) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
    let reference = root + "/Formats/reference/curta_reference.py"
    guard FileManager.default.fileExists(atPath: reference) else { return }
    var generator = SeededRandom.announced("reference \(choice)")
    let folder = try Folder()
    let path = folder.path + "/sample.curta"
    try writeCurta(try plannedContents(&generator), to: path, codec: choice, verify: readAll)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-B", reference, "--verify", path]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    // Its zstd is an optional package.
    if text.contains("codec_missing") { return }
    #expect(process.terminationStatus == 0, "\(text)")
  }

  // MARK: - Failures

  @Test func aRefusedFileLeavesTheOldOne() throws {
    var generator = SeededRandom(5)
    let contents = try plannedContents(&generator)
    let folder = try Folder()
    let path = folder.path + "/model.curta"
    try Data("old".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: Refusal.self) {
      try writeCurta(contents, to: path) { _ in
        #expect(folder.names.contains { $0.hasPrefix(".model.curta.partial-") })
        throw Refusal()
      }
    }
    #expect(folder.names == ["model.curta"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("old".utf8))
    try writeCurta(contents, to: path, verify: readAll)
    #expect(folder.names == ["model.curta"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count > 1000)
  }

  @Test func badContentsLeaveNothing() throws {
    var generator = SeededRandom(6)
    var contents = try plannedContents(&generator)
    contents.tensors[0].name = ""
    let folder = try Folder()
    #expect(throws: WriteError.self) {
      try writeCurta(contents, to: folder.path + "/model.curta") { _ in }
    }
    #expect(folder.names.isEmpty)
  }

  @Test func placesThatCannotBeWrittenAreNamed() throws {
    var generator = SeededRandom(7)
    let contents = try plannedContents(&generator)
    let folder = try Folder()
    let file = folder.path + "/file"
    try Data().write(to: URL(fileURLWithPath: file))
    let taken = folder.path + "/taken"
    try FileManager.default.createDirectory(atPath: taken, withIntermediateDirectories: false)
    for (path, reason) in [
      ("/proc/model.curta", "cannot write"), (folder.path + "/absent/model.curta", "No such file"),
      (file + "/model.curta", "Not a directory"), (taken, "directory"),
      (folder.path + "/", "names no file"),
    ] {
      let error = #expect(throws: WriteError.self, "\(path)") {
        try writeCurta(contents, to: path) { _ in }
      }
      #expect("\(error!)".contains(path) && "\(error!)".contains(reason), "\(error!)")
    }
    #expect(folder.names.sorted() == ["file", "taken"])
  }

  /// A disk that takes no more than 1000 bytes, as a limit of a process of its own.
  @Test func aFullDiskLeavesNothing() async {
    await #expect(processExitsWith: .success) {
      var generator = SeededRandom(8)
      let contents = try plannedContents(&generator)
      let folder = try Folder()
      let path = folder.path + "/model.curta"
      try Data("old".utf8).write(to: URL(fileURLWithPath: path))
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 1000, rlim_max: 1000)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      do {
        try writeCurta(contents, to: path) { _ in }
        exit(1)
      } catch let error as WriteError {
        guard "\(error)".contains("File too large"),
          "\(error)".contains(path) || "\(error)".contains("partial")
        else { exit(2) }
      }
      guard folder.names == ["model.curta"],
        try Data(contentsOf: URL(fileURLWithPath: path)) == Data("old".utf8)
      else { exit(3) }
    }
  }

  /// What a dead process of the same number left is no obstacle.
  @Test func leftoversAreReplaced() throws {
    var generator = SeededRandom(9)
    let contents = try plannedContents(&generator)
    let folder = try Folder()
    let leftover = folder.path + "/.model.curta.partial-\(getpid())"
    try Data("half".utf8).write(to: URL(fileURLWithPath: leftover))
    try writeCurta(contents, to: folder.path + "/model.curta", verify: readAll)
    #expect(folder.names == ["model.curta"])
  }
}
