// A tokenizer outside any session, with the bytes that it reads.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime

/// A tokenizer and the section that it reads.
public final class OwnedTokenizer {
  public let tokenizer: Tokenizer
  private let section: UnsafeMutableRawBufferPointer

  /// Copies and checks a tokenizer section, not empty. Throws `badTokenizer` and the like.
  public init(_ bytes: [UInt8]) throws(CurtaError) {
    section = .allocate(byteCount: max(bytes.count, 1), alignment: Int(alignment))
    section.copyBytes(from: bytes)
    do throws(CurtaError) {
      tokenizer = try Tokenizer(ByteView(section.baseAddress!, count: bytes.count))
    } catch {
      section.deallocate()
      throw error
    }
  }

  deinit { section.deallocate() }
}
