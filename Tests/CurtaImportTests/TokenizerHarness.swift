// What the tokenizer tests share: a loaded section, Python, and where things are.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime
import CurtaTestSupport
import Foundation

/// A section in memory with the runtime's tokenizer on it.
final class LoadedTokenizer {
  let section: [UInt8]
  let tokenizer: Tokenizer
  private let memory: UnsafeMutableRawPointer

  init(_ section: [UInt8]) throws {
    self.section = section
    let memory = UnsafeMutableRawPointer.allocate(byteCount: section.count + 1, alignment: 64)
    self.memory = memory
    memory.copyMemory(from: section, byteCount: section.count)
    tokenizer = try Tokenizer(ByteView(memory, count: section.count))
  }

  deinit { memory.deallocate() }

  func encode(_ text: [UInt8], special: Bool, bos: Bool) throws -> [Int32] {
    let size = tokenizer.scratchBytes(forTextBytes: text.count)
    let capacity = tokenizer.tokenLimit(forTextBytes: text.count)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: size + 4, alignment: 4)
    defer { scratch.deallocate() }
    var ids = [Int32](repeating: 0, count: capacity)
    let count = try (text + [0]).withUnsafeBufferPointer { bytes in
      try ids.withUnsafeMutableBufferPointer {
        try tokenizer.encode(
          bytes.baseAddress!, text.count, addBos: bos, parseSpecial: special,
          into: $0.baseAddress!, capacity: capacity, scratch: scratch, scratchBytes: size)
      }
    }
    return Array(ids[..<count])
  }

  func decode(_ ids: [Int32], atStart: Bool = true, control: Bool = false) throws -> [UInt8] {
    var decoder = TokenDecoder(tokenizer, atStart: atStart, showControl: control)
    var room = [UInt8](repeating: 0, count: TokenizerLimits.decodedBytes)
    var out: [UInt8] = []
    for id in ids {
      out += room[..<(try decoder.decode(id, into: &room, capacity: room.count))]
    }
    return out + room[..<(try decoder.flush(into: &room, capacity: room.count))]
  }
}

/// Scripts run by `python3`, or by what CURTA_PYTHON names.
enum Python {
  static func run(_ arguments: [String], input: [UInt8] = []) throws -> (Int32, [UInt8]) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let python = ProcessInfo.processInfo.environment["CURTA_PYTHON"] ?? "python3"
    process.arguments = [python] + arguments
    // Files instead of pipes: neither side can wait for the other.
    let folder = FileManager.default.temporaryDirectory
    let name = "curta-\(UUID().uuidString)"
    let inputFile = folder.appendingPathComponent(name + ".in")
    let outputFile = folder.appendingPathComponent(name + ".out")
    defer {
      try? FileManager.default.removeItem(at: inputFile)
      try? FileManager.default.removeItem(at: outputFile)
    }
    try Data(input).write(to: inputFile)
    try Data().write(to: outputFile)
    process.standardInput = try FileHandle(forReadingFrom: inputFile)
    process.standardOutput = try FileHandle(forWritingTo: outputFile)
    try process.run()
    process.waitUntilExit()
    return (process.terminationStatus, [UInt8](try Data(contentsOf: outputFile)))
  }

  /// Whether PyPI `tokenizers` can be imported; says so loudly where not.
  static let hasTokenizers: Bool = {
    let found = (try? run(["-c", "import tokenizers"]))?.0 == 0
    if !found {
      print("SKIPPED: equality with PyPI `tokenizers` NOT CHECKED (pip install tokenizers)")
    }
    return found
  }()
}

extension Python {
  /// Whether `tokenizers` and `sentencepiece` can be imported; says so loudly where not.
  static let hasSentencePiece: Bool = {
    let modules = "import tokenizers, sentencepiece.sentencepiece_model_pb2"
    let found = (try? run(["-c", modules]))?.0 == 0
    if !found {
      print(
        "SKIPPED: equality with trained tokenizers and PyPI `sentencepiece` NOT CHECKED (pip "
          + "install tokenizers sentencepiece protobuf)")
    }
    return found
  }()
}

/// Where the tokenizers of real checkpoints are.
enum TokenizerFile {
  /// A file in Examples/models, else in the models beside the checkout; nil for neither, which is
  /// said.
  static func find(_ path: String) -> String? {
    let root = Repository.root
    let folders = [
      root.appendingPathComponent("Examples/models"),
      root.deletingLastPathComponent().appendingPathComponent("shared/models"),
    ]
    let found = folders.map { $0.appendingPathComponent(path).path }
      .first { FileManager.default.fileExists(atPath: $0) }
    if found == nil { print("SKIPPED: \(path) is not here") }
    return found
  }
}

/// One line of `Reference/tokenizer_reference.py`.
struct ReferenceLine: Decodable {
  var hex: String
  var ids: [Int32]
  var back: String

  static func all(_ output: [UInt8]) throws -> [ReferenceLine] {
    try output.split(separator: 0x0A).map {
      try JSONDecoder().decode(ReferenceLine.self, from: Data($0))
    }
  }
}

/// The bytes of a string of hexadecimal digits.
func bytes(hex: String) -> [UInt8] {
  var out: [UInt8] = []
  var high: UInt8?
  for digit in hex.utf8 {
    let value = digit < 0x3A ? digit - 0x30 : digit - 0x61 + 10
    if let first = high { out.append(first << 4 | value) }
    high = high == nil ? value : nil
  }
  return out
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
