// A file whose header, directory and layout have been checked.
// SPDX-License-Identifier: Apache-2.0

/// A `.curta` file in memory: `Formats/curta-file.md` sections 2 to 5.
///
/// The initializer checks the header, the directory, the layout, the padding, and the hashes of
/// the metadata, tensors and program sections, in time linear in those. `verifyPayload` hashes the
/// rest. The bytes must stay in place and unchanged as long as the value is used.
public struct CurtaFile: Sendable {
  public let bytes: ByteView
  public let sectionCount: UInt32
  public let minorVersion: UInt16
  /// Hash of the directory, which covers the hash of every section: the identity of the model.
  public let identity: UInt64
  /// Entry numbers in the directory; -1 where there is none.
  public let metadataEntry: Int
  public let tokenizerEntry: Int
  public let tensorsEntry: Int
  public let programEntry: Int
  public let firstDataEntry: Int
  public let dataCount: UInt32

  public static let headerSize = 64

  public init(_ bytes: ByteView) throws(CurtaError) {
    self.bytes = bytes
    sectionCount = try CurtaFile.checkHeader(bytes)
    minorVersion = try bytes.u16(10)
    identity = try bytes.u64(24)

    var metadata = -1
    var tokenizer = -1
    var tensors = -1
    var program = -1
    var firstData = -1
    var dataCount: UInt32 = 0
    var previousKind: UInt32 = 0
    let directoryEnd = CurtaFile.headerSize + Int(sectionCount) * Int(Section.entrySize)
    var end = CheckedSize(UInt32(truncatingIfNeeded: directoryEnd))  // at most 64 + 48 * 65 536
    for i in 0..<Int(sectionCount) {
      let at = CurtaFile.headerSize + i * Int(Section.entrySize)
      let section = try Section(bytes, at: at)
      switch section.kind {
      case SectionKind.metadata: metadata = i
      case SectionKind.tokenizer: tokenizer = i
      case SectionKind.tensors: tensors = i
      case SectionKind.program: program = i
      case SectionKind.data:
        if firstData < 0 { firstData = i }
        dataCount += 1
      default: break
      }
      guard i == 0 || section.kind >= previousKind else {
        throw CurtaError(.duplicate, at: UInt64(at))
      }
      if section.kind == SectionKind.data {
        guard section.index == dataCount - 1 else {
          throw CurtaError(.duplicate, at: UInt64(at) + 4)
        }
      } else {
        guard section.index == 0, i == 0 || section.kind != previousKind else {
          throw CurtaError(.duplicate, at: UInt64(at) + 4)
        }
      }
      previousKind = section.kind

      let start = try end.aligned(to: alignment)
      guard section.offset == start.value else { throw CurtaError(.badLayout, at: UInt64(at) + 16) }
      let padding = try bytes.view(end.value, start.value - end.value)
      guard padding.isZero else { throw CurtaError(.badPadding, at: end.value) }
      try section.checkSizes(bytes, at: at)
      end = try start.plus(section.storedSize)
    }
    guard end.value == UInt64(bytes.count) else { throw CurtaError(.badLayout, at: end.value) }
    guard metadata >= 0, tensors >= 0, program >= 0 else { throw CurtaError(.missing, at: 12) }
    metadataEntry = metadata
    tokenizerEntry = tokenizer
    tensorsEntry = tensors
    programEntry = program
    firstDataEntry = firstData
    self.dataCount = dataCount
    try verify(entry: metadata)
    try verify(entry: tensors)
    try verify(entry: program)
  }

  /// Checks the 64 bytes of the header and the directory's hash; returns the number of sections.
  private static func checkHeader(_ bytes: ByteView) throws(CurtaError) -> UInt32 {
    guard bytes.count >= headerSize else { throw CurtaError(.truncated, at: UInt64(bytes.count)) }
    // 89 43 55 52 54 41 0D 0A
    guard try bytes.u64(0) == 0x0A0D_4154_5255_4389 else { throw CurtaError(.badMagic, at: 0) }
    guard xxh64(try bytes.view(0, 56)) == (try bytes.u64(56)) else {
      throw CurtaError(.badChecksum, at: 56)
    }
    guard try bytes.u16(8) == 1 else { throw CurtaError(.badVersion, at: 8) }
    guard try bytes.u32(32) == 1 else { throw CurtaError(.unsupported, at: 32) }
    guard try bytes.view(36, 20).isZero else { throw CurtaError(.badPadding, at: 36) }
    let count = try bytes.u32(12)
    guard count > 0 else { throw CurtaError(.badSize, at: 12) }
    guard count <= Limits.sections else { throw CurtaError(.overLimit, at: 12) }
    let size = try bytes.u64(16)
    guard size <= UInt64(bytes.count) else { throw CurtaError(.truncated, at: 16) }
    guard size == UInt64(bytes.count) else { throw CurtaError(.badLayout, at: 16) }
    let directory = try bytes.view(UInt64(headerSize), UInt64(count) * Section.entrySize)
    guard xxh64(directory) == (try bytes.u64(24)) else { throw CurtaError(.badChecksum, at: 24) }
    return count
  }

  /// Entry `i` of the directory; it was checked before.
  public func section(_ i: Int) throws(CurtaError) -> Section {
    guard i >= 0, i < Int(sectionCount) else { throw CurtaError(.badArgument) }
    return try Section(bytes, at: CurtaFile.headerSize + i * Int(Section.entrySize))
  }

  /// Data section `i`.
  public func data(_ i: UInt32) throws(CurtaError) -> Section {
    guard i < dataCount else { throw CurtaError(.badTensor) }
    return try section(firstDataEntry + Int(i))
  }

  /// The bytes of a section as they are stored.
  public func storedBytes(_ section: Section) throws(CurtaError) -> ByteView {
    try bytes.view(section.offset, section.storedSize)
  }

  /// Compares the hash of section `i` with its bytes.
  public func verify(entry i: Int) throws(CurtaError) {
    let section = try section(i)
    guard xxh64(try storedBytes(section)) == section.hash else {
      throw CurtaError(.badChecksum, section: section.kind, at: section.offset)
    }
  }

  /// Whether section `i` is one that the initializer did not verify: tokenizer, data, unknown ones.
  public func isPayload(entry i: Int) -> Bool {
    i != metadataEntry && i != tensorsEntry && i != programEntry
  }

  /// Compares the hashes of the sections that the initializer left.
  public func verifyPayload() throws(CurtaError) {
    for i in 0..<Int(sectionCount) where isPayload(entry: i) { try verify(entry: i) }
  }

  public func metadata() throws(CurtaError) -> Metadata {
    try Metadata(storedBytes(section(metadataEntry)))
  }

  public func tensors() throws(CurtaError) -> TensorTable {
    try TensorTable(storedBytes(section(tensorsEntry)), file: self)
  }

  public func program(_ tensors: TensorTable) throws(CurtaError) -> Program {
    try Program(storedBytes(section(programEntry)), tensors: tensors)
  }
}
