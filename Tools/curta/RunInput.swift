// Where a prompt comes from: an argument, or the standard input.
// SPDX-License-Identifier: Apache-2.0

import CurtaEvaluate
import Glibc

/// The standard input, by lines or as a whole.
struct RunInput {
  static let isTerminal = isatty(STDIN_FILENO) == 1
  /// Bytes of text at most: what the tokenizer takes in one call.
  private static let limit = 1 << 26

  private var pending: [UInt8] = []
  private var isAtEnd = false

  enum Line {
    case text(String)
    /// Ctrl-C came while it was waited for.
    case interrupted
    case end
  }

  /// All of the standard input, without the line feed at its end. Throws `HostError`.
  static func whole() throws(HostError) -> String {
    var input = RunInput()
    while !input.isAtEnd {
      guard try input.read() || !Interrupt.happened else { break }
    }
    if input.pending.last == 0x0A { input.pending.removeLast() }
    if input.pending.last == 0x0D { input.pending.removeLast() }
    return try text(input.pending[...])
  }

  /// The next line, without its line feed. Throws `HostError`.
  mutating func line() throws(HostError) -> Line {
    while true {
      if let end = pending.firstIndex(of: 0x0A) {
        var bytes = pending[..<end]
        if bytes.last == 0x0D { bytes.removeLast() }
        let line = try RunInput.text(bytes)
        pending.removeFirst(end + 1)
        return .text(line)
      }
      if isAtEnd {
        guard !pending.isEmpty else { return .end }
        let line = try RunInput.text(pending[...])
        pending = []
        return .text(line)
      }
      if try !read(), Interrupt.happened {
        pending = []
        return .interrupted
      }
    }
  }

  /// Reads what is there; false when a signal came instead.
  private mutating func read() throws(HostError) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
    if count < 0 {
      guard errno == EINTR else {
        throw .system(path: "standard input", reason: String(cString: strerror(errno)))
      }
      return false
    }
    isAtEnd = count == 0
    pending += buffer[..<count]
    guard pending.count <= RunInput.limit else {
      throw .request(
        "the standard input has more than \(grouped(RunInput.limit)) bytes; give a shorter prompt")
    }
    return true
  }

  private static func text(_ bytes: ArraySlice<UInt8>) throws(HostError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw .request("the standard input is not UTF-8; convert it, for example with iconv")
    }
    return text
  }
}
