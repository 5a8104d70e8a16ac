// GGUF headers: what is read, and what a hostile file is told.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import CurtaImport

@Suite struct GGUFReaderTests {
  /// Two tensors of 3 and 8 floats, and a value of every type.
  private var small: GGUFFileBytes {
    var file = GGUFFileBytes()
    let nested = GGUFFileBytes.Value.array(
      .array,
      [little(UInt32(0)) + little(UInt64(2)) + [7, 8], little(UInt32(8)) + little(UInt64(0))])
    file.entries = [
      ("a.u8", .init(type: .uint8, bytes: [200])), ("a.i8", .init(type: .int8, bytes: [0xFF])),
      ("a.u16", .init(type: .uint16, bytes: [1, 2])),
      ("a.i16", .init(type: .int16, bytes: [0xFE, 0xFF])), ("a.u32", .u32(70000)),
      ("a.i32", .init(type: .int32, bytes: little(Int32(-3)))), ("a.f32", .f32(0.5)),
      ("a.bool", .bool(true)), ("a.text", .text("naïve")), ("a.nested", nested),
      ("a.u64", .init(type: .uint64, bytes: little(UInt64.max))),
      ("a.i64", .init(type: .int64, bytes: little(Int64.min))),
      ("a.f64", .init(type: .float64, bytes: little((0.1).bitPattern))),
      ("a.strings", .strings([[1, 2], [], [0xFF]])), ("a.ints", .i32s([1, -2])),
    ]
    file.add("one", [3], [1, 2, 3])
    file.add("two", [2, 4], [Float](repeating: 4, count: 8))
    return file
  }

  private func read(_ bytes: [UInt8]) throws -> GGUFFile {
    try withGGUF(bytes) { try GGUFFile($0) }
  }

  private func reason(_ file: GGUFFileBytes) -> Malformation.Reason? {
    malformation { _ = try read(file.bytes) }?.reason
  }

  @Test(arguments: [UInt32(2), 3])
  func everythingIsRead(_ version: UInt32) throws {
    var bytes = small
    bytes.version = version
    let file = try read(bytes.bytes)
    #expect(file.version == version)
    #expect(file.metadata.count == 15)
    func value(_ key: String) -> GGUFValue? { file.metadata[key]?.value }
    #expect(value("a.u8") == .unsigned(200))
    #expect(value("a.i8") == .signed(-1))
    #expect(value("a.u16") == .unsigned(513))
    #expect(value("a.i16") == .signed(-2))
    #expect(value("a.u32") == .unsigned(70000))
    #expect(value("a.i32") == .signed(-3))
    #expect(value("a.f32") == .real(0.5))
    #expect(value("a.bool") == .bool(true))
    #expect(value("a.u64") == .unsigned(.max))
    #expect(value("a.u64")?.integer == nil)
    #expect(value("a.i64") == .signed(.min))
    #expect(value("a.f64") == .real(0.1))
    #expect(try file.text("a.text") == "naïve")
    #expect(try file.strings("a.strings", limit: 3) == [[1, 2], [], [0xFF]])
    #expect(try file.integers("a.ints", limit: 2) == [1, -2])
    #expect(malformation { _ = try file.integers("a.ints", limit: 1) }?.reason == .outOfRange)
    #expect(malformation { _ = try file.integers("a.nested", limit: 9) }?.reason == .wrongType)
    #expect(file.tensors.map(\.name) == ["one", "two"])
    #expect(file.tensors[1].dimensions == [2, 4])
    #expect(file.tensors[1].offset % 32 == 0)
    #expect(file.tensors[1].elements == 8)
  }

  @Test func alignmentIsFollowed() throws {
    var file = small
    file.alignment = 64
    file["general.alignment"] = .u32(64)
    #expect(try read(file.bytes).tensors.allSatisfy { $0.offset % 64 == 0 })
    for value in [0, 3, 24, 1 << 17] {
      file["general.alignment"] = .u32(value)
      #expect(reason(file) == .outOfRange)
    }
    file["general.alignment"] = .text("32")
    #expect(reason(file) == .wrongType)
  }

  @Test func everyPrefixIsRefused() throws {
    let whole = small.bytes
    // The last tensor fills its block of the alignment, so no byte of the file is spare.
    for count in 0..<whole.count {
      let found = malformation { _ = try read(Array(whole.prefix(count))) }
      #expect(found?.reason == .truncated, "\(count) bytes: \(String(describing: found))")
      #expect(found?.offset != nil && found?.field != nil)
    }
    #expect(try read(whole).tensors.count == 2)
  }

  @Test func hugeCountsReserveNothing() {
    for count in [UInt64(3), 1 << 20, 1 << 40, .max] {
      var file = small
      file.tensorCount = count
      #expect(reason(file) == .truncated || count == 3)
      file.tensorCount = nil
      file.entryCount = 15 &+ count
      #expect(reason(file) != nil)
      for type in [GGUFValueType.uint8, .bool, .string, .array, .float64] {
        file = small
        file["a.ints"] = .array(type, [], count: (1 << 16) + count / 2)
        #expect(reason(file) == .truncated)
      }
      file = small
      file["a.text"] = .init(type: .string, bytes: little(1 << 12 + count / 2))
      #expect(reason(file) == .truncated)
    }
  }

  @Test func nestedArraysEnd() {
    var file = small
    var bomb: [UInt8] = []
    for _ in 0..<10000 { bomb += little(UInt32(9)) + little(UInt64(1)) }
    file["a.ints"] = .init(type: .array, bytes: bomb)
    #expect(reason(file) == .outOfRange)
  }

  @Test func wrongTypesAndValuesAreNamed() {
    func changed(_ change: (inout GGUFFileBytes) -> Void) -> Malformation.Reason? {
      var file = small
      change(&file)
      return reason(file)
    }
    #expect(changed { $0["a.bool"] = .init(type: .bool, bytes: [2]) } == .outOfRange)
    #expect(changed { $0["a.ints"] = .array(.bool, [[1], [3]]) } == .outOfRange)
    #expect(changed { $0["a.ints"] = .init(type: .array, bytes: little(UInt32(13))) } != nil)
    #expect(changed { $0.entries.append($0.entries[3]) } == .duplicateName)
    #expect(changed { $0.entries[3].key = "" } == .outOfRange)
    #expect(changed { $0.entries[3].key = String(repeating: "k", count: 65536) } == .outOfRange)
    #expect(changed { $0.tensors[1].name = "one" } == .duplicateName)
    #expect(changed { $0.tensors[1].name = String(repeating: "n", count: 65) } == .outOfRange)
    #expect(changed { $0.tensors[1].type = 4 } == .unknownDataType)
    #expect(changed { $0.tensors[1].type = 99 } == .unknownDataType)
    #expect(changed { $0.tensors[1].type = 2 } == .sizeMismatch)
    #expect(changed { $0.tensors[1].dimensions = [] } == .rankTooHigh)
    #expect(changed { $0.tensors[1].dimensions = [2, 1, 1, 1, 4] } == .rankTooHigh)
    #expect(changed { $0.tensors[1].dimensions = [0, 4] } == .outOfRange)
    #expect(changed { $0.tensors[1].dimensions = [2, .max] } == .outOfRange)
    #expect(changed { $0.tensors[1].dimensions = [1 << 32, 1 << 32] } == .sizeOverflow)
    #expect(changed { $0.tensors[1].dimensions = [1 << 61] } == .sizeOverflow)
    #expect(changed { $0.tensors[1].dimensions = [1 << 50] } == .truncated)
  }

  @Test func placesAreChecked() {
    func moved(_ offset: UInt64, tail: Int = 0) -> Malformation.Reason? {
      var file = small
      file.tensors[1].offset = offset
      return malformation { _ = try read(file.bytes + [UInt8](repeating: 0, count: tail)) }?.reason
    }
    #expect(moved(32) == nil)
    #expect(moved(0) == .overlap)
    for offset in [UInt64(1), 4, 31, 33, .max] { #expect(moved(offset, tail: 64) == .outOfRange) }
    for offset in [UInt64(64), 1 << 40, 1 << 63] { #expect(moved(offset) == .truncated) }
    #expect(moved(64, tail: 32) == .hole)
    #expect(moved(32, tail: 31) == nil)
    #expect(moved(32, tail: 32) == .trailingBytes)
  }

  @Test func otherVersionsAreExplained() {
    for version in [UInt32(1), 4, 0x0300_0000] {
      var file = small
      file.version = version
      #expect(unsupportedList { _ = try read(file.bytes) }.count == 1)
    }
    for version in [UInt32(0), 1000] {
      var file = small
      file.version = version
      #expect(reason(file) == .outOfRange)
    }
    #expect(malformation { _ = try read([1, 2, 3, 4]) }?.field == "magic")
  }
}
