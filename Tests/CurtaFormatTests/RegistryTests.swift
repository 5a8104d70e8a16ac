// registry.tsv, the Swift enums, curta.h and the limits in the specification say the same.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaFormat

@Suite struct RegistryTests {
  /// Names by number of one table of the registry; without the reserved ones.
  private func registry(_ table: String) throws -> [Int: String] {
    var names: [Int: String] = [:]
    for row in try Repository.table("Formats/registry.tsv")
    where row[0] == table && row[3] != "reserved" {
      #expect(names[Int(row[1])!] == nil, "\(table) \(row[1]) twice")
      names[Int(row[1])!] = row[2]
    }
    return names
  }

  /// The cases of an enum, named as the registry does.
  private func cases<E: RawRepresentable>(_ type: E.Type) -> [Int: String]
  where E.RawValue: FixedWidthInteger {
    var names: [Int: String] = [:]
    for i in 0..<100 {
      if let value = E(rawValue: E.RawValue(i)) { names[i] = snake("\(value)") }
    }
    return names
  }

  private func snake(_ name: String) -> String {
    name.map { $0.isUppercase ? "_" + $0.lowercased() : String($0) }.joined()
  }

  @Test func enumsAreTheRegistry() throws {
    #expect(cases(Status.self) == (try registry("status")))
    #expect(cases(OpCode.self) == (try registry("op")))
    #expect(cases(Codec.self) == (try registry("codec")))
    #expect(cases(Encoding.self) == (try registry("encoding")))
    #expect(cases(MaskForm.self) == (try registry("mask")))
    #expect(cases(ModifierKind.self) == (try registry("modifier")))
    #expect(cases(BufferType.self) == (try registry("buffer")))
    #expect(cases(RowCount.self) == (try registry("rows")))
    #expect(cases(InputKind.self) == (try registry("input")))
    #expect(cases(Resize.self) == (try registry("resize")))
    #expect(cases(Filter.self) == (try registry("filter")))
    #expect(cases(PoolKind.self) == (try registry("pool")))
    #expect(cases(Pairing.self) == (try registry("pairing")))
    let sections = [
      Int(SectionKind.metadata): "metadata", Int(SectionKind.tokenizer): "tokenizer",
      Int(SectionKind.tensors): "tensors", Int(SectionKind.program): "program",
      Int(SectionKind.data): "data",
    ]
    #expect(sections == (try registry("section")))
    #expect(
      try registry("state") == [1: "codes8"] && registry("value") == [1: "integer", 2: "text"])
    #expect(cases(NormKind.self) == (try registry("norm")))
    #expect(cases(Activation.self) == (try registry("activation")))
  }

  @Test func headerIsTheRegistry() throws {
    let header = try Repository.text("Sources/CCurta/include/curta.h")
    var tables: [String: [Int: String]] = [:]
    for match in header.matches(of: #/CURTA_(RESIZE_|FILTER_|)([A-Z_]+) = (\d+)\b/#) {
      tables[String(match.1), default: [:]][Int(match.3)!] = match.2.lowercased()
    }
    #expect(try tables[""] == registry("status") && tables["RESIZE_"] == registry("resize"))
    #expect(try tables["FILTER_"] == registry("filter"))
  }

  /// Rows `| MAX_NAME | value … |` of a page's table of limits.
  private func limits(_ page: String) throws -> [String: UInt64] {
    var values: [String: UInt64] = [:]
    let text = try Repository.text("Formats/\(page).md")
    for match in text.matches(of: #/(?m)^\| (MAX_[A-Z_]+) \| ([0-9][0-9 ^]*)/#) {
      let digits = match.2.replacing(" ", with: "")
      let parts = digits.split(separator: "^").compactMap { UInt64($0) }
      values[String(match.1)] = parts.count == 2 ? 1 << parts[1] : parts[0]
    }
    return values
  }

  @Test func limitsAreThoseOfTheSpecification() throws {
    #expect(
      try limits("curta-file") == [
        "MAX_SECTIONS": UInt64(Limits.sections), "MAX_SECTION_BYTES": Limits.sectionBytes,
        "MAX_RATIO": Limits.ratio, "MAX_WINDOW": Limits.window,
        "MAX_METADATA_ENTRIES": UInt64(Limits.metadataEntries), "MAX_TEXT": UInt64(Limits.text),
      ])
    #expect(
      try limits("curta-encodings") == [
        "MAX_TENSORS": UInt64(Limits.tensors), "MAX_ROWS": UInt64(Limits.rows),
        "MAX_COLUMNS": UInt64(Limits.columns), "MAX_NAME": UInt64(Limits.name),
      ])
    #expect(
      try limits("curta-program") == [
        "MAX_BUFFERS": UInt64(Limits.buffers), "MAX_STATES": UInt64(Limits.states),
        "MAX_OPS": UInt64(Limits.ops), "MAX_SLOTS": UInt64(Limits.slots),
        "MAX_CONTEXT": UInt64(Limits.context), "MAX_WIDTH": UInt64(Limits.width),
        "MAX_HEAD_WIDTH": UInt64(Limits.headWidth),
      ])
    let program = try Repository.text("Formats/curta-program.md")
    let wide = "2^24 for fixed and scaled buffers, 2^17 for codes8"
    #expect(program.contains(wide) && Limits.width == 1 << 24 && Limits.codesWidth == 1 << 17)
    #expect(program.contains("1 … \(Limits.heads) for codes8"))
    #expect(program.contains("| height | 1 … \(Limits.imageSide): rows of pixels |"))
    #expect(program.contains("… \(Limits.imageEdge); else 0 |"))
    #expect(program.contains("P <= S <= P + \(Limits.prefixRows)"))
  }

  /// Every invalid vector names a status of the registry.
  @Test func vectorsNameStatuses() throws {
    let names = Set(try registry("status").values)
    for vector in InvalidVector.all { #expect(names.contains(vector.status), "\(vector.name)") }
  }

  /// Sizes of records as the pages state them.
  @Test func recordSizes() throws {
    #expect(alignment == 64 && CurtaFile.headerSize == 64 && Section.entrySize == 48)
    #expect(TensorTable.recordSize == 64 && Program.recordSize == 32 && Program.opSize == 64)
  }
}
