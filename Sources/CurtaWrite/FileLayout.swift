// Where everything lies in a file: header, directory, padding, sections.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// A file in pieces, laid out by `Formats/curta-file.md` section 2.
struct FileLayout {
  /// Header and directory.
  let head: [UInt8]
  let sections: [StoredSection]
  /// Bytes of the whole file.
  let size: Int

  init(_ sections: [StoredSection]) {
    self.sections = sections
    var end = CurtaFile.headerSize + sections.count * Int(Section.entrySize)
    var directory: [UInt8] = []
    for section in sections {
      let offset = aligned(end)
      directory.append(little: section.kind)
      directory.append(little: section.index)
      directory.append(little: section.codec.rawValue)
      directory.append(little: UInt32(1))  // required
      directory.append(little: UInt64(offset))
      directory.append(little: UInt64(section.bytes.count))
      directory.append(little: UInt64(section.size))
      directory.append(little: section.hash)
      end = offset + section.bytes.count
    }
    size = end

    var header: [UInt8] = [0x89, 0x43, 0x55, 0x52, 0x54, 0x41, 0x0D, 0x0A]
    header.append(little: UInt16(1))  // major
    header.append(little: UInt16(0))  // minor
    header.append(little: UInt32(sections.count))
    header.append(little: UInt64(size))
    header.append(little: hashOf(directory))
    header.append(little: UInt32(1))  // table set
    header.append(zeros: 20)
    header.append(little: hashOf(header))
    head = header + directory
  }

  /// Calls `body` with the pieces of the file from first to last, none of them empty.
  func forEachPiece(_ body: ([UInt8]) throws(WriteError) -> Void) throws(WriteError) {
    try body(head)
    var end = head.count
    for section in sections {
      let offset = aligned(end)
      if offset > end { try body([UInt8](repeating: 0, count: offset - end)) }
      try body(section.bytes)
      end = offset + section.bytes.count
    }
  }
}

private func aligned(_ offset: Int) -> Int {
  (offset + Int(alignment) - 1) / Int(alignment) * Int(alignment)
}
