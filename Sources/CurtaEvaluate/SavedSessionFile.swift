// A saved session on disk: written beside its name, flushed, then renamed into place.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Glibc

extension HostSession {
  /// Writes the session to `path`, which appears whole or not at all, and returns its bytes.
  ///
  /// Where anything fails, an existing `path` stays as it was. Throws `HostError`.
  @discardableResult
  public func save(to path: String) throws(HostError) -> Int {
    var bytes: [UInt8] = []
    do throws(CurtaError) {
      let size = try session.savedSize()
      bytes = [UInt8](repeating: 0, count: size)
      try bytes.withUnsafeMutableBufferPointer { room throws(CurtaError) in
        _ = try session.save(to: room.baseAddress!, capacity: size)
      }
    } catch {
      throw .savedSession(path: path, error)
    }
    try replaceFile(path, with: bytes)
    return bytes.count
  }

  /// Goes on with the session saved in `path`; on error this one is as it was.
  ///
  /// Throws `HostError.savedSession` for what is not a saved session of this file, and
  /// `HostError.system`.
  public func restore(from path: String) throws(HostError) {
    let saved = try FileMapping(path)
    do throws(CurtaError) {
      try session.restore(from: saved.bytes)
    } catch {
      throw .savedSession(path: path, error)
    }
  }

  /// The tokens fed so far.
  public var tokens: [Int32] { Array(session.tokens) }
}

/// Gives the file `path` these bytes: through a file beside it, `.NAME.partial-PID`.
private func replaceFile(_ path: String, with bytes: [UInt8]) throws(HostError) {
  let slash = path.lastIndex(of: "/")
  let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
  guard !name.isEmpty, name != ".", name != ".." else {
    throw .system(path: path, reason: "it names no file")
  }
  let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  var status = stat()
  guard stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG else {
    throw .system(path: path, reason: "not a regular file")
  }
  let partial = "\(folder)/.\(name).partial-\(getpid())"
  unlink(partial)
  // What a session holds is what somebody typed: for its owner only.
  let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
  guard descriptor >= 0 else { throw .last(path) }
  do throws(HostError) {
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
      let written = bytes.withUnsafeBytes {
        write(descriptor, $0.baseAddress! + done, $0.count - done)
      }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { throw HostError.last(path) }
      done += written
    }
    guard fsync(descriptor) == 0 else { throw HostError.last(path) }
    guard rename(partial, path) == 0 else { throw HostError.last(path) }
  } catch {
    unlink(partial)
    throw error
  }
  let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard directory >= 0 else { throw .last(folder) }
  defer { close(directory) }
  // Some file systems cannot flush a folder and say EINVAL.
  guard fsync(directory) == 0 || errno == EINVAL else { throw .last(folder) }
}

extension HostError {
  /// What the last call of the system said.
  fileprivate static func last(_ path: String) -> HostError {
    .system(path: path, reason: String(cString: strerror(errno)))
  }
}
