// Exit statuses and messages for everything that can be wrong.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import curta

@Suite struct ExitStatusTests {
  @Test(arguments: [
    [], ["abacus"], ["verify"], ["convert", "x", "--recipe", "w8"], ["run", "x", "--temp=-1"],
    ["run", "x", "-p", "a", "--tokens", "1"], ["run", "x", "--tokens", "1,b"],
    ["eval", "x", "--reference", "y", "--text", "z", "--stride", "0"],
    ["eval", "x", "--reference", "y", "--text", "z", "--last", "1", "--documents", "0..1"],
    ["convert", "x", "-o", "y", "--recipe", "flash4", "--size", "1M"],
    ["convert", "x", "-o", "y", "--recipe", "w9"], ["plan", "x", "--threads", "many"],
    ["plan", "x", "--weights", "0"], ["plan", "x", "--weights", "5T"],
    ["bench", "x", "--stream", "--weights", "5M"],
  ])
  func wrongUsageIs64(arguments: [String]) throws {
    let result = try Tool.run(arguments)
    // Without a subcommand the help is printed.
    #expect(result.status == (arguments.isEmpty ? 0 : 64))
    if !arguments.isEmpty { #expect(result.output == "") }
  }

  @Test(arguments: [
    ["verify"], ["inspect"], ["plan"], ["run", "-p", "x"],
    ["eval", "--reference", "/no/such/model", "--text", "/no/such/text"],
  ])
  func aFileThatIsNotThereIs1(command: [String]) throws {
    let result = try Tool.run([command[0], "/no/such/file"] + command.dropFirst())
    #expect(result.status == 1)
    #expect(result.output == "")
    #expect(result.errors.hasPrefix("curta: error: /no/such/"))
  }

  @Test func aFolderIsNoFile() throws {
    let result = try Tool.run("verify", "/tmp")
    #expect(result.status == 1)
    #expect(result.errors.contains("not a regular file"))
  }

  @Test func aDamagedFileIs2() throws {
    try withTemporaryFolder { folder in
      let good = try Data(contentsOf: URL(fileURLWithPath: smallFile(in: folder)))
      var flipped = good
      flipped[good.count - 1] ^= 1
      var version = [UInt8](good)
      version[8] = 2
      let hash = referenceXXH64(version[..<56])
      for i in 0..<8 { version[56 + i] = UInt8(truncatingIfNeeded: hash >> (8 * UInt64(i))) }
      for (name, bytes, status, word) in [
        ("empty", Data(), 2, "truncated"),
        ("text", Data(repeating: 0x20, count: 99), 2, "bad_magic"),
        ("cut", good.dropLast(), 2, "truncated"), ("long", good + [0], 2, "bad_layout"),
        ("flipped", flipped, 2, "bad_checksum"), ("version", Data(version), 3, "bad_version"),
      ] as [(String, Data, Int32, String)] {
        let path = folder.appendingPathComponent(name)
        try bytes.write(to: path)
        let result = try Tool.run("verify", path.path)
        #expect(result.status == status, "\(name)")
        #expect(result.errors.contains("(\(word), "), "\(name): \(result.errors)")
        let json = try Tool.run("verify", path.path, "--json")
        #expect(json.status == status)
        #expect(json.json["status"] as? String == word)
        #expect((json.json["advice"] as? String)?.isEmpty == false)
      }
    }
  }

  @Test func everyStatusHasItsWords() throws {
    for row in try Repository.table("Formats/registry.tsv") where row[0] == "status" {
      let status = try #require(Int32(row[1]).flatMap(Status.init(rawValue:)))
      let text = StatusText.of(status)
      #expect(text.name == row[2])
      #expect(text.sentence.hasSuffix(".") && text.advice.hasSuffix("."))
    }
  }

  /// Of the files that attack the format, one for each status.
  @Test func attacksAreNamed() throws {
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("vector.curta")
      for vectors in Dictionary(grouping: InvalidVector.all, by: \.status).values {
        let vector = vectors[0]
        try Data(vector.bytes).write(to: path)
        let result = try Tool.run("verify", path.path, "--json")
        #expect(result.status == 2 || result.status == 3, "\(vector)")
        #expect(result.json["status"] as? String == vector.status, "\(vector)")
      }
    }
  }

  @Test func whatCannotBeConvertedIs3() throws {
    try withTemporaryFolder { folder in
      try Data(#"{"model_type": "mixtral"}"#.utf8)
        .write(to: folder.appendingPathComponent("config.json"))
      let result = try Tool.run(
        "convert", folder.path, "-o", folder.path + "/x.curta", "--recipe", "w8")
      #expect(result.status == 3)
      #expect(result.errors.contains("mixtral"))
      try Data("{".utf8).write(to: folder.appendingPathComponent("config.json"))
      let bad = try Tool.run(
        "convert", folder.path, "-o", folder.path + "/x.curta", "--recipe", "w8")
      #expect(bad.status == 2)
      #expect(!FileManager.default.fileExists(atPath: folder.path + "/x.curta"))
    }
  }

  @Test func tooMuchMemoryIs4() throws {
    try withTemporaryFolder { folder in
      // 256 layers of caches for 2^20 positions: 2.2 TB.
      let path = try smallFile(in: folder, layers: 256, heads: 16, headWidth: 256, context: 1 << 20)
      let result = try Tool.run("plan", path)
      #expect(result.status == 4)
      #expect(result.errors.contains("--context"))
      #expect(try Tool.run("run", path, "--tokens", "1").status == 4)
      let short = try Tool.run("plan", path, "-c", "8", "--json")
      #expect(short.status == 0)
      let states = (short.json["state_bytes"] as? Int) ?? 0
      #expect(states == 512 * (16 * 256 * 8 + 16 * 8 * 8))
    }
  }

  @Test func controlCharactersAreEscaped() throws {
    try withTemporaryFolder { folder in
      let path = try smallFile(in: folder, name: "red\u{1B}[31m\u{202E}\n")
      for flags in [["--tensors"], ["--program"], ["--metadata"], []] {
        let result = try Tool.run(["inspect", path] + flags)
        #expect(result.status == 0)
        #expect(!result.output.contains("\u{1B}"))
        #expect(!result.output.contains("\u{202E}"))
      }
      #expect(try Tool.run("inspect", path, "--tensors").output.contains("red\\u{1B}[31m"))
    }
  }
}

/// A file whose layers share their weights: as small as a file with so many caches can be.
func smallFile(
  in folder: URL, name: String = "embedding", layers: Int = 1, heads: Int = 1,
  headWidth: Int = 32, context: Int = 64
) throws -> String {
  let width = heads * headWidth
  func grid(_ name: String, _ rows: Int, _ columns: Int) -> TensorContents {
    TensorContents(
      name: name, rows: rows, columns: columns,
      payload: .grid(
        .init(
          bits: 2, group: 0, exponent: 16, codes: [Int8](repeating: 1, count: rows * columns),
          mantissas: [UInt16](repeating: 40000, count: rows))))
  }
  let tensors = [
    grid(name, 4, 32), grid("in", width, 32), grid("out", 32, width),
    TensorContents(
      name: "gamma", rows: 1, columns: 32,
      payload: .wide(
        .init(
          exponent: 30, codes: [Int16](repeating: 32767, count: 32), mantissas: [32768]))),
  ]
  let buffers = [
    BufferDescription(.fixed(fraction: 16), width: 32),
    BufferDescription(.codes8(scales: 1), width: 32),
    BufferDescription(.scaled, width: width),
    BufferDescription(.codes8(scales: heads), width: width),
    BufferDescription(.codes8(scales: 1), width: width),
    BufferDescription(.fixed(fraction: 16), rows: .outputs, width: 32),
    BufferDescription(.codes8(scales: 1), rows: .outputs, width: 32),
    BufferDescription(.fixed(fraction: 16), rows: .outputs, width: 4),
  ]
  var ops: [ProgramOp] = [.embed(weight: 0, out: 0)]
  for layer in 0..<layers {
    ops += [
      .normQuant(input: 0, gamma: 3, out: 1, norm: NormOperands(kind: .rms, epsilon: 1)),
      .linear(input: 1, parts: [LinearPart(weight: 1, out: 2)]),
      .headQuant(input: 2, out: 3, rotation: nil),
      .cacheAppend(input: 2, state: 2 * layer, rotation: nil),
      .cacheAppend(input: 2, state: 2 * layer + 1, rotation: nil),
      .attend(
        query: 3, keys: 2 * layer, values: 2 * layer + 1, out: 4, window: 0, mantissa: 32768,
        exponent: 17),
      .linearAdd(input: 4, weight: 2, sum: 0),
    ]
  }
  ops += [
    .select(input: 0, out: 5),
    .normQuant(input: 5, gamma: 3, out: 6, norm: NormOperands(kind: .rms, epsilon: 1)),
    .logits(input: 6, weight: 0, out: 7),
  ]
  var program = ProgramDescription(
    buffers: buffers,
    states: [StateDescription](
      repeating: StateDescription(heads: heads, width: headWidth), count: 2 * layers),
    ops: ops, context: context, vocabulary: 4, output: 7)
  try program.assignSlots()
  let path = folder.appendingPathComponent("small.curta").path
  try writeCurta(
    FileContents(metadata: ["name": .text(name)], tensors: tensors, program: program), to: path
  ) { _ in }
  return path
}
