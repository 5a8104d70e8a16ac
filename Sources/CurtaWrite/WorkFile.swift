// What one run of the converter leaves for another: its head, and how it gets onto disk.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// A file of the converter's own, which no runtime reads.
///
/// 64 bytes that say what it is (`head`), then the bytes of a `.curta` file, so that its tensors,
/// hashes and checks are those of `Formats/curta-file.md`. Its metadata say what it belongs to; its
/// program is one zero byte where there is none. No version promises to read another's.
public enum WorkKind: UInt32, Sendable {
  /// Finished tensors of a conversion.
  case part = 1
  /// Second moments of a model's inputs.
  case statistics = 2

  /// Bytes in front of the `.curta` file, which begins at a multiple of 64.
  public static let headSize = 64
  /// 89 43 57 4F 52 4B 0D 0A
  static let magic: [UInt8] = [0x89, 0x43, 0x57, 0x4F, 0x52, 0x4B, 0x0D, 0x0A]
  static let version: UInt32 = 1

  /// Magic, version and kind, little-endian, and zeros.
  public var head: [UInt8] {
    var bytes = WorkKind.magic
    bytes.append(little: WorkKind.version)
    bytes.append(little: rawValue)
    bytes.append(zeros: WorkKind.headSize - bytes.count)
    return bytes
  }
}

/// Writes a file of the converter's own to `path`, beside it first: it appears whole or not at all.
///
/// Data sections are stored as they are, or as they were packed. Throws `WriteError`.
@discardableResult
public func writeWork(
  _ kind: WorkKind, _ contents: FileContents, to path: String
) throws(WriteError) -> SizeReport {
  let layout = FileLayout(try contents.storedSections(.forced(.stored)))
  try PartialFile.write(to: path) { file throws(WriteError) in
    try file.write(kind.head)
    try layout.forEachPiece { piece throws(WriteError) in try file.write(piece) }
  }
  var report = SizeReport(contents, layout)
  report.fileSize += WorkKind.headSize
  return report
}

extension ByteView {
  /// The bytes as UTF-8.
  package var string: String {
    String(decoding: UnsafeRawBufferPointer(start: base, count: count), as: UTF8.self)
  }
}
