// The ZIP archive of a PyTorch file: stored entries, found by the central directory alone.
// SPDX-License-Identifier: Apache-2.0

/// A ZIP archive as torch.save writes it. Nothing compressed, nothing encrypted, one disk, no
/// comment, no name twice.
struct PyTorchZip: Sendable {
  /// One stored file: where its bytes are.
  struct Entry: Equatable, Sendable {
    var offset: Int
    var count: Int
  }

  /// Entries of an archive that we read.
  static let entryLimit = 1 << 20

  let file: MappedFile
  let entries: [String: Entry]

  init(_ file: MappedFile) throws(ImportError) {
    self.file = file
    let reader = Reader(file: file)
    let directory = try reader.directory()
    var entries: [String: Entry] = [:]
    var at = directory.offset
    for _ in 0..<directory.entries {
      let (name, entry, next) = try reader.entry(at: at, before: directory.offset)
      guard next <= directory.offset + directory.count else {
        throw reader.bad(.outOfRange, at, "an entry reaches beyond the central directory")
      }
      guard entries.updateValue(entry, forKey: name) == nil else {
        throw reader.bad(.duplicateName, at, "\(printableName(name, limit: 64)) is there twice")
      }
      at = next
    }
    guard at == directory.offset + directory.count else {
      throw reader.bad(.trailingBytes, at, "the central directory is longer than its entries")
    }
    self.entries = entries
  }
}

/// Reads the records of an archive.
private struct Reader {
  let file: MappedFile

  func bad(_ reason: Malformation.Reason, _ offset: Int, _ detail: String) -> ImportError {
    .bad(reason, file: file.path, field: "ZIP archive", offset: offset, detail)
  }

  private func number(_ offset: Int, _ bytes: Int) throws(ImportError) -> UInt64 {
    try file.withBytes(at: offset, count: bytes, of: "ZIP archive") { bytes in
      bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
  }

  /// A number that is a place or a length in a file.
  private func size(_ offset: Int, _ bytes: Int) throws(ImportError) -> Int {
    guard let size = Int(exactly: try number(offset, bytes)), size <= file.count else {
      throw bad(.outOfRange, offset, "is beyond the end of the file")
    }
    return size
  }

  private func expect(_ signature: UInt64, at offset: Int, _ what: String) throws(ImportError) {
    guard offset >= 0, try number(offset, 4) == signature else {
      throw bad(.wrongType, max(0, offset), "there is no \(what) here")
    }
  }

  /// Where the central directory is, and how many entries it has.
  func directory() throws(ImportError) -> (offset: Int, count: Int, entries: Int) {
    let end = file.count - 22
    try expect(0x0605_4B50, at: end, "end of a ZIP archive")
    guard try number(end + 4, 4) == 0, try number(end + 20, 2) == 0 else {
      throw bad(.outOfRange, end, "archives of several disks or with a comment are not read")
    }
    var entries = Int(try number(end + 10, 2))
    guard Int(try number(end + 8, 2)) == entries else {
      throw bad(.contradiction, end, "its numbers of entries differ")
    }
    var directoryEnd = end
    var count = Int(try number(end + 12, 4))
    var offset = Int(try number(end + 16, 4))
    if end >= 20, try number(end - 20, 4) == 0x0706_4B50 {
      // ZIP64: a locator, and in front of it the record with numbers of 64 bits.
      let record = try size(end - 12, 8)
      try expect(0x0606_4B50, at: record, "ZIP64 record")
      guard record == end - 76, try number(record + 4, 8) == 44 else {
        throw bad(.outOfRange, record, "the ZIP64 record is not in front of its locator")
      }
      guard try number(record + 16, 8) == 0 else {
        throw bad(.outOfRange, record, "archives of several disks are not read")
      }
      entries = try size(record + 32, 8)
      count = try size(record + 40, 8)
      offset = try size(record + 48, 8)
      directoryEnd = record
    }
    guard entries <= PyTorchZip.entryLimit, offset <= directoryEnd,
      count == directoryEnd - offset
    else {
      throw bad(.outOfRange, end, "the central directory is not in front of the end record")
    }
    return (offset, count, entries)
  }

  /// The entry whose record in the central directory is at `at`, and where the next record is.
  func entry(
    at: Int, before limit: Int
  ) throws(ImportError) -> (name: String, entry: PyTorchZip.Entry, next: Int) {
    try expect(0x0201_4B50, at: at, "entry of the central directory")
    let nameLength = Int(try number(at + 28, 2))
    let extraLength = Int(try number(at + 30, 2))
    let commentLength = Int(try number(at + 32, 2))
    let name = try text(at + 46, nameLength)
    guard try number(at + 8, 2) & 0x2041 == 0, try number(at + 10, 2) == 0 else {
      throw .unsupported([
        "\(file.path): \(printableName(name, limit: 64)) is compressed or encrypted "
          + "(supported: stored, as torch.save writes it)"
      ])
    }
    var sizes = [
      try number(at + 24, 4), try number(at + 20, 4), try number(at + 42, 4),
    ]
    if sizes.contains(0xFFFF_FFFF) {
      sizes = try wide(sizes, at + 46 + nameLength, extraLength)
    }
    let numbers = sizes.compactMap { Int(exactly: $0) }
    guard numbers.count == 3, numbers[0] == numbers[1], numbers[0] <= limit, numbers[2] <= limit
    else {
      throw bad(.outOfRange, at, "\(printableName(name, limit: 64)) is not in the file")
    }
    let offset = try data(of: name, at: numbers[2])
    guard offset <= limit, numbers[0] <= limit - offset else {
      throw bad(.truncated, at, "\(printableName(name, limit: 64)) reaches into the directory")
    }
    let entry = PyTorchZip.Entry(offset: offset, count: numbers[0])
    return (name, entry, at + 46 + nameLength + extraLength + commentLength)
  }

  /// The sizes that are 0xFFFFFFFF out of the ZIP64 field of the extra bytes.
  private func wide(
    _ sizes: [UInt64], _ start: Int, _ length: Int
  ) throws(ImportError) -> [UInt64] {
    var sizes = sizes
    var at = start
    while at + 4 <= start + length {
      let fieldEnd = at + 4 + Int(try number(at + 2, 2))
      if try number(at, 2) == 1 {
        at += 4
        for i in 0..<3 where sizes[i] == 0xFFFF_FFFF && at + 8 <= fieldEnd {
          sizes[i] = try number(at, 8)
          at += 8
        }
        return sizes
      }
      at = fieldEnd
    }
    return sizes
  }

  /// Where the bytes of an entry begin, behind its own header.
  private func data(of name: String, at offset: Int) throws(ImportError) -> Int {
    try expect(0x0403_4B50, at: offset, "header of an entry")
    let nameLength = Int(try number(offset + 26, 2))
    guard try text(offset + 30, nameLength) == name else {
      throw bad(.contradiction, offset, "an entry has another name in the central directory")
    }
    return offset + 30 + nameLength + Int(try number(offset + 28, 2))
  }

  private func text(_ offset: Int, _ count: Int) throws(ImportError) -> String {
    let text = try file.withBytes(at: offset, count: count, of: "ZIP archive") {
      String(validating: $0, as: UTF8.self)
    }
    guard let text else { throw bad(.wrongType, offset, "a name is not UTF-8") }
    return text
  }
}
