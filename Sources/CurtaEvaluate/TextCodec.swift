// Text to tokens and back with the tokenizer of a file or of a checkpoint.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime

extension Tokenizer {
  /// Tokens of a text: with the begin token in front where the file says so, unless `addBos` is
  /// false; control tokens in it are found where `parseSpecial` says so.
  ///
  /// Throws `overLimit` for a text above the tokenizer's limit.
  public func tokens(
    of text: String, addBos: Bool = true, parseSpecial: Bool = false
  ) throws(CurtaError) -> [Int32] {
    let bytes = Array(text.utf8)
    var ids = [Int32](repeating: 0, count: tokenLimit(forTextBytes: bytes.count))
    let scratchSize = scratchBytes(forTextBytes: bytes.count)
    var scratch = [UInt32](repeating: 0, count: scratchSize / 4 + 1)
    var failure: CurtaError?
    let count = bytes.withUnsafeBufferPointer { bytes in
      ids.withUnsafeMutableBufferPointer { ids in
        scratch.withUnsafeMutableBytes { scratch in
          // An empty array may have no address.
          var nothing: UInt8 = 0
          return withUnsafePointer(to: &nothing) { nothing in
            do throws(CurtaError) {
              return try encode(
                bytes.baseAddress ?? nothing, bytes.count, addBos: addBos,
                parseSpecial: parseSpecial,
                into: ids.baseAddress!, capacity: ids.count, scratch: scratch.baseAddress!,
                scratchBytes: scratch.count)
            } catch {
              failure = error
              return 0
            }
          }
        }
      }
    }
    if let failure { throw failure }
    return Array(ids[..<count])
  }
}

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
