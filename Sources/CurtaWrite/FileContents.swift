// Everything that goes into a file, and its sections in stored form.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Dispatch

/// Everything that goes into a file.
public struct FileContents: Sendable {
  public var metadata: [String: MetadataValue]
  /// Bytes of the tokenizer section, not empty; nil: the file has none.
  public var tokenizer: [UInt8]?
  public var tensors: [TensorContents]
  public var program: ProgramDescription
  /// Bytes of the program section in place of `program`, where it comes out of another file.
  public var programBytes: [UInt8]?

  public init(
    metadata: [String: MetadataValue], tokenizer: [UInt8]? = nil, tensors: [TensorContents],
    program: ProgramDescription
  ) {
    self.metadata = metadata
    self.tokenizer = tokenizer
    self.tensors = tensors
    self.program = program
  }

  /// The same with the bytes of a program section.
  public init(
    metadata: [String: MetadataValue], tokenizer: [UInt8]? = nil, tensors: [TensorContents],
    programBytes: [UInt8]
  ) {
    self.init(
      metadata: metadata, tokenizer: tokenizer, tensors: tensors,
      program: ProgramDescription(
        buffers: [], states: [], ops: [], context: 0, vocabulary: 0, output: 0))
    self.programBytes = programBytes
  }
}

/// A section as it lies in the file.
struct StoredSection: Sendable, Equatable {
  let kind: UInt32
  var index: UInt32
  let codec: Codec
  /// Decoded size.
  let size: Int
  let bytes: [UInt8]
  let hash: UInt64

  /// Compresses `decoded` by the choice; metadata, tensors and program stay stored.
  init(
    kind: UInt32, index: UInt32 = 0, _ decoded: [UInt8], _ choice: CodecChoice
  ) throws(WriteError) {
    guard !decoded.isEmpty, decoded.count <= Int(Limits.sectionBytes) else {
      throw .invalid(
        part: "section \(kind), index \(index)",
        reason: "\(decoded.count) bytes; 1 to \(Limits.sectionBytes) fit")
    }
    self.kind = kind
    self.index = index
    size = decoded.count
    (codec, bytes) = try SectionCodec.encode(decoded, choice)
    hash = hashOf(bytes)
  }
}

/// XXH64 of an array, not empty.
func hashOf(_ bytes: [UInt8]) -> UInt64 {
  bytes.withUnsafeBytes { xxh64(ByteView($0.baseAddress!, count: $0.count)) }
}

extension FileContents {
  /// The sections in the order of the directory. Sections are compressed side by side on all
  /// cores; the result does not depend on their number.
  func storedSections(_ choice: CodecChoice) throws(WriteError) -> [StoredSection] {
    var sections = [
      try StoredSection(
        kind: SectionKind.metadata, metadataSection(metadata), .forced(.stored))
    ]
    if let tokenizer {
      sections.append(try StoredSection(kind: SectionKind.tokenizer, tokenizer, choice))
    }
    sections.append(
      try StoredSection(kind: SectionKind.tensors, tensorSection(tensors), .forced(.stored)))
    let program = if let programBytes { programBytes } else { try programSection(program) }
    sections.append(try StoredSection(kind: SectionKind.program, program, .forced(.stored)))
    return sections + (try dataSections(choice))
  }

  private func dataSections(_ choice: CodecChoice) throws(WriteError) -> [StoredSection] {
    let count = tensors.reduce(0) { $0 + $1.streamCount }
    guard count <= Int(Limits.sections) - 4 else {
      throw .invalid(part: "tensors", reason: "\(count) data sections are too many")
    }
    var sections = try StoredSection.streams(of: tensors, choice).flatMap { $0 }
    for i in sections.indices { sections[i].index = UInt32(i) }
    return sections
  }
}
