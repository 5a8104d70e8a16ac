// A parser of the container written from curta-file.md alone, for the tests of the writer.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// A section as the parser found it.
struct ParsedSection {
  var kind: UInt32
  var index: UInt32
  var codec: UInt32
  var size: Int
  var stored: [UInt8]
}

/// Where the bytes break a rule.
struct ParseFailure: Error {
  var rule: String
}

private func number(_ bytes: [UInt8], _ at: Int, _ width: Int) -> UInt64 {
  (0..<width).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
}

private func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
  Array(bytes).withUnsafeBytes { xxh64(ByteView($0.baseAddress!, count: $0.count)) }
}

/// The sections of a file, or the first rule that it breaks.
func parseFile(_ bytes: [UInt8]) throws -> [ParsedSection] {
  func rule(_ text: String, _ holds: Bool) throws {
    if !holds { throw ParseFailure(rule: text) }
  }
  try rule("header", bytes.count > 64)
  try rule("magic", Array(bytes[0..<8]) == [0x89, 0x43, 0x55, 0x52, 0x54, 0x41, 0x0D, 0x0A])
  try rule("version", number(bytes, 8, 2) == 1 && number(bytes, 10, 2) == 0)
  try rule("file size", number(bytes, 16, 8) == UInt64(bytes.count))
  try rule("table set", number(bytes, 32, 4) == 1)
  try rule("reserved", bytes[36..<56].allSatisfy { $0 == 0 })
  try rule("header hash", number(bytes, 56, 8) == hash(bytes[0..<56]))
  let count = Int(number(bytes, 12, 4))
  let directoryEnd = 64 + 48 * count
  try rule("directory hash", number(bytes, 24, 8) == hash(bytes[64..<directoryEnd]))
  var sections: [ParsedSection] = []
  var end = directoryEnd
  for i in 0..<count {
    let at = 64 + 48 * i
    let start = (end + 63) / 64 * 64
    try rule("offset", number(bytes, at + 16, 8) == UInt64(start))
    try rule("padding", bytes[end..<start].allSatisfy { $0 == 0 })
    end = start + Int(number(bytes, at + 24, 8))
    try rule("end", end <= bytes.count && end > start)
    let stored = bytes[start..<end]
    try rule("flags", number(bytes, at + 12, 4) == 1)
    try rule("hash", number(bytes, at + 40, 8) == hash(stored))
    let section = ParsedSection(
      kind: UInt32(number(bytes, at, 4)), index: UInt32(number(bytes, at + 4, 4)),
      codec: UInt32(number(bytes, at + 8, 4)), size: Int(number(bytes, at + 32, 8)),
      stored: Array(stored))
    if let last = sections.last {
      try rule(
        "order",
        (last.kind, last.index) < (section.kind, section.index)
          && (section.kind == 5 || section.index == 0))
    }
    if section.codec == 0 { try rule("size", section.size == section.stored.count) }
    if [1, 3, 4].contains(section.kind) { try rule("codec", section.codec == 0) }
    sections.append(section)
  }
  try rule("last section", end == bytes.count)
  return sections
}
