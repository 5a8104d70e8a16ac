// Safetensors: exact values of every float type, and hostile files with the error each must give.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import CurtaImport

/// A file that must be refused.
struct HostileFile: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let bytes: Data
  let reason: Malformation.Reason

  init(
    _ name: String, _ header: String, data: Int = 8, length: UInt64? = nil,
    _ reason: Malformation.Reason
  ) {
    testDescription = name
    bytes = safetensorsBytes(header, [UInt8](repeating: 0, count: data), length: length)
    self.reason = reason
  }

  static func tensor(_ name: String, _ type: String, _ shape: String, _ range: String) -> String {
    "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":\(range)}"
  }

  static let all: [HostileFile] = [
    .init("header beyond the file", "{}", length: 1000, .truncated),
    .init("header over the limit", "{}", length: 100_000_001, .headerTooLarge),
    .init("header of 2^63", "{}", length: 1 << 63, .headerTooLarge),
    .init("header of 2^64-1", "{}", length: .max, .headerTooLarge),
    .init("empty header", "", .notJSON),
    .init("leading space", " {}", .notJSON),
    .init("a list", "[]", .notJSON),
    .init("unterminated", "{\"a\":", .notJSON),
    .init("no tensor for the data", "{}", .trailingBytes),
    .init("metadata of a number", "{\"__metadata__\":{\"a\":1}}", data: 0, .wrongType),
    .init("tensor is a list", "{\"a\":[]}", .wrongType),
    .init("no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", .missingField),
    .init("dtype", "{" + tensor("a", "F31", "[2]", "[0,8]") + "}", .unknownDataType),
    .init("shape of text", "{" + tensor("a", "F32", "\"2\"", "[0,8]") + "}", .wrongType),
    .init("negative shape", "{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", .outOfRange),
    .init("fractional shape", "{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", .outOfRange),
    .init(
      "shape of 2^64", "{" + tensor("a", "F32", "[18446744073709551616]", "[0,8]") + "}",
      .outOfRange),
    .init(
      "product overflow",
      "{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", .sizeOverflow),
    .init(
      "overflow by the element", "{" + tensor("a", "F32", "[4611686018427387904]", "[0,8]") + "}",
      .sizeOverflow),
    .init("rank", "{" + tensor("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") + "}", .rankTooHigh),
    .init("negative offset", "{" + tensor("a", "F32", "[2]", "[-8,0]") + "}", .outOfRange),
    .init("reversed offsets", "{" + tensor("a", "F32", "[2]", "[8,0]") + "}", .outOfRange),
    .init("one offset", "{" + tensor("a", "F32", "[2]", "[8]") + "}", .outOfRange),
    .init(
      "offsets near 2^63",
      "{" + tensor("a", "F32", "[2]", "[9223372036854775799,9223372036854775807]") + "}",
      .outOfRange),
    .init("size", "{" + tensor("a", "F32", "[3]", "[0,8]") + "}", .sizeMismatch),
    .init("beyond the end", "{" + tensor("a", "F32", "[3]", "[0,12]") + "}", .truncated),
    .init("leftover", "{" + tensor("a", "F32", "[1]", "[0,4]") + "}", .trailingBytes),
    .init("hole in front", "{" + tensor("a", "F32", "[1]", "[4,8]") + "}", .hole),
    .init(
      "hole between",
      "{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[4]", "[4,8]") + "}",
      .hole),
    .init(
      "overlap",
      "{" + tensor("a", "U8", "[6]", "[0,6]") + "," + tensor("b", "U8", "[4]", "[4,8]") + "}",
      .overlap),
    .init(
      "the same bytes twice",
      "{" + tensor("a", "F32", "[2]", "[0,8]") + "," + tensor("b", "F32", "[2]", "[0,8]") + "}",
      .overlap),
    .init(
      "the same name twice",
      "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("a", "U8", "[4]", "[4,8]") + "}",
      .duplicateName),
  ]
}

@Suite struct SafetensorsTests {
  @Test(arguments: HostileFile.all)
  func hostileFileIsRefused(_ hostile: HostileFile) throws {
    try withScratch { folder in
      let path = folder.appendingPathComponent("model.safetensors").path
      try hostile.bytes.write(to: URL(fileURLWithPath: path))
      let found = malformation { _ = try SafetensorsFile(path) }
      #expect(found?.reason == hostile.reason)
      #expect(found?.file == path)
    }
  }

  @Test func everyPrefixIsRefused() throws {
    let bytes = safetensorsBytes([TensorBytes("a", [2], value: 1), TensorBytes("b", [1], value: 2)])
    try withScratch { folder in
      let url = folder.appendingPathComponent("model.safetensors")
      for count in 0..<bytes.count {
        try bytes.prefix(count).write(to: url)
        #expect(malformation { _ = try SafetensorsFile(url.path) } != nil, "\(count) bytes")
      }
      try bytes.write(to: url)
      #expect(try SafetensorsFile(url.path).entries.count == 2)
    }
  }

  /// A flipped bit gives a named error or another sound file, and never a crash.
  @Test func everyHeaderBitMayFlip() throws {
    let bytes = safetensorsBytes([TensorBytes("a", [2], value: 1), TensorBytes("b", [1], value: 2)])
    try withScratch { folder in
      let url = folder.appendingPathComponent("model.safetensors")
      for bit in 0..<(bytes.count - 12) * 8 {
        var flipped = bytes
        flipped[bit / 8] ^= 1 << UInt8(bit % 8)
        try flipped.write(to: url)
        if let file = try? SafetensorsFile(url.path) {
          #expect(file.entries.values.allSatisfy { $0.offset + $0.count <= bytes.count })
        } else {
          #expect(malformation { _ = try SafetensorsFile(url.path) } != nil, "bit \(bit)")
        }
      }
    }
  }

  @Test func floatsAreExact() throws {
    func bytes(_ words: [UInt16]) -> [UInt8] {
      words.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
    }
    func decode(_ words: [UInt16], _ coding: FloatCoding) -> [Float]? {
      bytes(words).withUnsafeBytes { decodeFloats($0, coding) }
    }
    // 1, −2, 65504 (largest), 2^−14 (smallest normal), 2^−24 (smallest), −0.
    let halves = decode([0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000], .float16)
    #expect(halves == [1, -2, 65504, 0x1p-14, 0x1p-24, 0])
    #expect(halves?.last?.sign == .minus)
    // 1, −2, 3.140625, largest, smallest.
    #expect(
      decode([0x3F80, 0xC000, 0x4049, 0x7F7F, 0x0001], .bfloat16)
        == [1, -2, 3.140625, 0x1.FEp127, 0x1p-133])
    #expect(decode([0x0000, 0x3F80, 0x0001, 0x0000], .float32) == [1, 0x1p-149])
    for notFinite: UInt16 in [0x7C00, 0xFC00, 0x7E00] {
      #expect(decode([notFinite], .float16) == nil)
    }
    for notFinite: UInt16 in [0x7F80, 0xFF80, 0x7FC0] {
      #expect(decode([notFinite], .bfloat16) == nil)
    }
  }

  @Test func messageNamesFileFieldByteAndAdvice() throws {
    try withScratch { folder in
      let url = folder.appendingPathComponent("model.safetensors")
      try safetensorsBytes("{}", [], length: 1000).write(to: url)
      let message = #expect(throws: ImportError.self) { _ = try SafetensorsFile(url.path) }
      let text = String(describing: try #require(message))
      #expect(text.contains(url.path))
      #expect(text.contains("header"))
      #expect(text.contains("at byte 8"))
      #expect(text.contains("fetch"))
    }
  }

  @Test func folderOrPipeIsNoFile() throws {
    try withScratch { folder in
      let pipe = folder.appendingPathComponent("model.safetensors").path
      #expect(mkfifo(pipe, 0o600) == 0)
      for path in [folder.path, pipe, folder.path + "/none"] {
        #expect(throws: ImportError.self) { _ = try SafetensorsFile(path) }
      }
    }
  }
}

@Suite struct StrictJSONTests {
  private func parse(_ text: String) throws -> StrictJSON {
    try Array(text.utf8).withUnsafeBytes { try StrictJSON($0) }
  }

  @Test func values() throws {
    let json = try parse(#" {"a":[1,-2.5e3,true,null],"\u00e9\ud83d\ude00\n":"\\\/"} "#)
    #expect(json["a"] == .array([.number("1"), .number("-2.5e3"), .bool(true), .null]))
    #expect(json["é😀\n"]?.text == "\\/")
    #expect(try parse("9223372036854775807").integer == Int.max)
    #expect(try parse("9223372036854775808").integer == nil)
  }

  @Test(arguments: [
    "", "{", "{}x", "[1,]", "{\"a\":1,}", "01", "1.", "-", "+1", "nul", "\"\u{1}\"", "\"\\x\"",
    "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "{\"a\":1,\"\\u0061\":2}", "'a'", "NaN",
    String(repeating: "[", count: 100_000),
  ])
  func refused(_ text: String) {
    #expect(throws: StrictJSON.Failure.self) { try parse(text) }
  }

  @Test func invalidUTF8IsRefused() {
    let bytes: [UInt8] = [0x22, 0xC3, 0x28, 0x22]
    #expect(throws: StrictJSON.Failure.self) {
      try bytes.withUnsafeBytes { try StrictJSON($0) }
    }
  }
}
