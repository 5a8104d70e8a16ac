// What the tokenizer tests share: a section in guarded memory, calls with arrays, random texts.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime
import CurtaTestSupport
import Foundation

/// A section that ends where unreadable memory begins, with the runtime's tokenizer on it.
final class GuardedTokenizer {
  let tokenizer: Tokenizer
  private let memory: GuardedMemory

  convenience init(_ section: [UInt8]) throws(CurtaError) {
    try self.init(GuardedMemory(section.count), section)
  }

  /// Uses `memory` again for another section of at most its size.
  init(_ memory: GuardedMemory, _ section: [UInt8]) throws(CurtaError) {
    self.memory = memory
    tokenizer = try Tokenizer(ByteView(memory.put(section), count: section.count))
  }

  func encode(
    _ text: [UInt8], special: Bool = false, bos: Bool = true, capacity: Int? = nil,
    scratchBytes: Int? = nil
  ) throws(CurtaError) -> [Int32] {
    let needed = tokenizer.scratchBytes(forTextBytes: text.count)
    let room = capacity ?? tokenizer.tokenLimit(forTextBytes: text.count)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: needed + 4, alignment: 4)
    let input = UnsafeMutablePointer<UInt8>.allocate(capacity: text.count + 1)
    let ids = UnsafeMutablePointer<Int32>.allocate(capacity: room + 1)
    defer {
      scratch.deallocate()
      input.deallocate()
      ids.deallocate()
    }
    for (i, byte) in text.enumerated() { input[i] = byte }
    ids[room] = 0x5A5A_5A5A
    scratch.storeBytes(of: 0xA5A5_A5A5, toByteOffset: needed, as: UInt32.self)
    let count = try tokenizer.encode(
      input, text.count, addBos: bos, parseSpecial: special, into: ids, capacity: room,
      scratch: scratch, scratchBytes: scratchBytes ?? needed)
    precondition(ids[room] == 0x5A5A_5A5A, "written past the capacity")
    precondition(
      scratch.load(fromByteOffset: needed, as: UInt32.self) == 0xA5A5_A5A5, "written past scratch")
    return (0..<count).map { ids[$0] }
  }

  func decode(
    _ ids: [Int32], atStart: Bool = true, showControl: Bool = false
  ) throws(CurtaError) -> [UInt8] {
    var decoder = TokenDecoder(tokenizer, atStart: atStart, showControl: showControl)
    var room = [UInt8](repeating: 0, count: TokenizerLimits.decodedBytes)
    var out: [UInt8] = []
    for id in ids {
      let count = try decoder.decode(id, into: &room, capacity: room.count)
      // What a caller sees is whole characters at any time.
      precondition(String(validating: room[..<count], as: UTF8.self) != nil, "half a character")
      out += room[..<count]
    }
    return out + room[..<(try decoder.flush(into: &room, capacity: room.count))]
  }
}

/// Memory whose last byte is the last of a page before one that cannot be read: sections have no
/// alignment, so that not one byte is between them and the guard.
final class GuardedMemory {
  private let base: UnsafeMutableRawPointer
  private let size: Int
  private static let page = 4096

  /// Room for sections of up to `count` bytes.
  init(_ count: Int) {
    size = (count + GuardedMemory.page) / GuardedMemory.page * GuardedMemory.page
    let address = mmap(
      nil, size + GuardedMemory.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    base = address!
    mprotect(base + size, GuardedMemory.page, PROT_NONE)
  }

  /// Copies `bytes` so that the guard follows them.
  func put(_ bytes: [UInt8]) -> UnsafeRawPointer {
    let start = base + (size - bytes.count)
    start.copyMemory(from: bytes, byteCount: bytes.count)
    return UnsafeRawPointer(start)
  }

  deinit { munmap(base, size + GuardedMemory.page) }
}

extension SeededRandom {
  /// Up to 40 pieces that the test tokenizers know; every eighth is a byte of any value unless
  /// the text is to be valid UTF-8.
  mutating func tokenizerText(valid: Bool = false) -> [UInt8] {
    let pieces = [
      "a", "b", "c", "ab", "bb", "aa", " ", "  ", "\t\n", "1", "12", "²", "é", "中", "é中", "😀",
      "\u{3000}", "\u{2581}", "'s", "'ll", "!", "one", "two", "été", ":", "<end>", "<x>", "<xy>",
      "<s>", "<x", "\u{1D7CE}", "e\u{301}",
    ]
    var out: [UInt8] = []
    for _ in 0..<below(41) {
      out += !valid && chance(8) ? bytes(1) : Array(element(pieces).utf8)
    }
    return out
  }
}

/// `Formats/reference/curta_tokenizer.py` on a section.
enum PythonReader {
  /// One output line for each input line of its `batch` command; nil where Python is missing.
  static func batch(_ section: [UInt8], _ lines: [String]) throws -> [String]? {
    let folder = FileManager.default.temporaryDirectory.path + "/curta-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let files = ["section", "in", "out"].map { URL(fileURLWithPath: folder + "/" + $0) }
    try Data(section).write(to: files[0])
    try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: files[1])
    try Data().write(to: files[2])
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", script, files[0].path, "batch"]
    process.standardInput = try FileHandle(forReadingFrom: files[1])
    process.standardOutput = try FileHandle(forWritingTo: files[2])
    try process.run()
    process.waitUntilExit()
    if process.terminationStatus == 127 { return nil }
    return String(decoding: try Data(contentsOf: files[2]), as: UTF8.self)
      .split(separator: "\n").map(String.init)
  }

  private static let script = Repository.root.path + "/Formats/reference/curta_tokenizer.py"
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
