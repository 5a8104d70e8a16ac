// Tokens to text as they come.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime

/// Turns tokens into text as they come, never half a character.
public struct TextStream {
  private var decoder: TokenDecoder
  private var buffer: [UInt8]

  /// `atStart`: the first token begins a text, so that no space goes before it.
  public init(_ tokenizer: Tokenizer, atStart: Bool) {
    decoder = TokenDecoder(tokenizer, atStart: atStart)
    buffer = [UInt8](repeating: 0, count: TokenizerLimits.decodedBytes)
  }

  /// The text that `token` completes.
  public mutating func next(_ token: Int32) throws(CurtaError) -> String {
    let count = try decoder.decode(token, into: &buffer, capacity: buffer.count)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// What is left of an unfinished character, as U+FFFD.
  public mutating func end() throws(CurtaError) -> String {
    let count = try decoder.flush(into: &buffer, capacity: buffer.count)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}
