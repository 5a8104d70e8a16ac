// Writes a .curta file: beside its target, read back and checked, then renamed into place.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Glibc

/// The bytes of a file, all in memory; the same for the same contents and codec library.
public func fileBytes(
  _ contents: FileContents, codec: CodecChoice = .auto
) throws(WriteError) -> [UInt8] {
  let layout = FileLayout(try contents.storedSections(codec))
  var bytes: [UInt8] = []
  bytes.reserveCapacity(layout.size)
  try layout.forEachPiece { piece throws(WriteError) in bytes += piece }
  return bytes
}

/// Writes a file to `path` and says what each part takes.
///
/// The bytes go to `.NAME.partial-PID` in the folder of `path`, are flushed to the disk, read back and
/// compared with what was meant, then mapped and given to `verify`, at an address that is a multiple
/// of 64. Only then does the file take the name `path`. Where anything fails, an existing `path`
/// stays as it was and nothing else is left. A target is written by one call at a time.
///
/// Tensors that nothing else holds are freed before `verify` is called.
///
/// Throws `WriteError`, or what `verify` throws.
@discardableResult
public func writeCurta(
  _ contents: consuming FileContents, to path: String, codec: CodecChoice = .auto,
  verify: (ByteView) throws -> Void
) throws -> SizeReport {
  let partial = try PartialFile(for: path)
  defer { close(partial.descriptor) }
  do {
    let report = try partial.fill(with: contents, codec)
    try partial.withMapping(size: report.fileSize, verify)
    try partial.moveIntoPlace()
    return report
  } catch {
    unlink(partial.path)
    throw error
  }
}

/// The file that is being written, under a name of its own beside the target.
struct PartialFile {
  let target: String
  let folder: String
  let path: String
  let descriptor: Int32

  /// Makes the file; a file of that name that a dead process left is replaced.
  init(for target: String) throws(WriteError) {
    let slash = target.lastIndex(of: "/")
    let name = slash.map { String(target[target.index(after: $0)...]) } ?? target
    guard !name.isEmpty, name != ".", name != ".." else {
      throw .system(operation: "write", path: target, reason: "it names no file")
    }
    self.target = target
    folder = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
    path = "\(folder)/.\(name).partial-\(getpid())"
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
    var made = open(path, flags, 0o666)
    if made < 0, errno == EEXIST {
      unlink(path)
      made = open(path, flags, 0o666)
    }
    guard made >= 0 else { throw .last("write to its folder", target) }
    descriptor = made
  }

  /// Writes what `body` writes and gives it the name `target`; what fails leaves nothing behind.
  static func write(
    to target: String, _ body: (PartialFile) throws(WriteError) -> Void
  ) throws(WriteError) {
    let partial = try PartialFile(for: target)
    defer { close(partial.descriptor) }
    do throws(WriteError) {
      try body(partial)
      try partial.flush()
      try partial.moveIntoPlace()
    } catch {
      unlink(partial.path)
      throw error
    }
  }

  /// Appends all the bytes.
  func write(_ bytes: [UInt8]) throws(WriteError) {
    var done = 0
    while done < bytes.count {
      let written = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress! + done, $0.count - done)
      }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { throw .last("write", path) }
      done += written
    }
  }

  func flush() throws(WriteError) {
    guard fsync(descriptor) == 0 else { throw .last("flush", path) }
  }

  /// Writes everything and reads it back.
  func fill(with contents: consuming FileContents, _ codec: CodecChoice) throws(WriteError)
    -> SizeReport
  {
    let layout = FileLayout(try contents.storedSections(codec))
    try layout.forEachPiece { piece throws(WriteError) in try write(piece) }
    try flush()
    try compare(with: layout)
    return SizeReport(contents, layout)
  }

  /// Reads the file, a part at a time, and compares it with what was meant.
  private func compare(with layout: FileLayout) throws(WriteError) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .last("examine", path) }
    guard Int(status.st_size) == layout.size else {
      throw .readBack(path: path, offset: min(Int(status.st_size), layout.size))
    }
    var part = [UInt8](repeating: 0, count: 1 << 20)
    var offset = 0
    try layout.forEachPiece { piece throws(WriteError) in
      var done = 0
      while done < piece.count {
        let got = pread(descriptor, &part, min(part.count, piece.count - done), off_t(offset))
        if got < 0, errno == EINTR { continue }
        guard got >= 0 else { throw .last("read back", path) }
        guard got > 0, piece.withUnsafeBytes({ memcmp($0.baseAddress! + done, part, got) }) == 0
        else {
          throw .readBack(path: path, offset: offset)
        }
        done += got
        offset += got
      }
    }
  }

  /// Gives the bytes of the file to `verify`.
  func withMapping(size: Int, _ verify: (ByteView) throws -> Void) throws {
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED
    else { throw WriteError.last("read back", path) }
    defer { munmap(base, size) }
    try verify(ByteView(base, count: size))
  }

  /// Gives the file its name and flushes the folder.
  func moveIntoPlace() throws(WriteError) {
    guard rename(path, target) == 0 else { throw .last("replace", target) }
    let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw .last("open the folder", folder) }
    defer { close(directory) }
    // Some file systems cannot flush a folder and say EINVAL.
    guard fsync(directory) == 0 || errno == EINVAL else { throw .last("flush the folder", folder) }
  }
}
