// Text to tokens with the tokenizer of a file or of a checkpoint.
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
