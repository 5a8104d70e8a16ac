// What each part of a file takes.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// What each part of a file takes, in bytes.
public struct SizeReport: Sendable, Equatable {
  /// One tensor over all its streams.
  public struct Tensor: Sendable, Equatable {
    public var name: String
    public var rows: Int
    public var columns: Int
    /// Bits of a code: 2…8, 16 or 32.
    public var bits: Int
    /// Codec of each stream: codes, row mantissas, group scales, group offsets.
    public var codecs: [Codec]
    /// Bytes in the file, without padding.
    public var storedSize: Int
    /// Bytes after decoding.
    public var decodedSize: Int
  }

  public var tensors: [Tensor]
  /// Metadata, tensors and program sections.
  public var overheadSize: Int
  /// 0 without a tokenizer.
  public var tokenizerStoredSize: Int
  public var tokenizerDecodedSize: Int
  public var fileSize: Int

  public var tensorStoredSize: Int { tensors.reduce(0) { $0 + $1.storedSize } }
  public var tensorDecodedSize: Int { tensors.reduce(0) { $0 + $1.decodedSize } }

  init(_ contents: FileContents, _ layout: FileLayout) {
    let tokenizer = layout.sections.first { $0.kind == SectionKind.tokenizer }
    let data = layout.sections.filter { $0.kind == SectionKind.data }
    var next = 0
    tensors = contents.tensors.map { tensor in
      let streams = data[next..<next + tensor.streamCount]
      next += tensor.streamCount
      return Tensor(
        name: tensor.name, rows: tensor.rows, columns: tensor.columns, bits: tensor.bits,
        codecs: streams.map(\.codec),
        storedSize: streams.reduce(0) { $0 + $1.bytes.count },
        decodedSize: streams.reduce(0) { $0 + $1.size })
    }
    let overhead = [SectionKind.metadata, SectionKind.tensors, SectionKind.program]
    overheadSize = layout.sections.reduce(0) {
      overhead.contains($1.kind) ? $0 + $1.bytes.count : $0
    }
    tokenizerStoredSize = tokenizer?.bytes.count ?? 0
    tokenizerDecodedSize = tokenizer?.size ?? 0
    fileSize = layout.size
  }
}
