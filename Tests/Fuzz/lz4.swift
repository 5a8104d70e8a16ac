// Fuzz target: an LZ4 block, and the header of a zstd frame.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Foundation

/// The first two bytes are the decoded size; the rest is the block.
@c(LLVMFuzzerTestOneInput)
public func fuzzLZ4(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  guard let data, size > 2 else { return 0 }
  let target = Int(data[0]) | Int(data[1]) << 8
  let block = ByteView(UnsafeRawPointer(data + 2), count: size - 2)
  let out = UnsafeMutableRawPointer.allocate(byteCount: max(target, 1), alignment: 1)
  defer { out.deallocate() }
  guard decodeLZ4Block(block, to: out, size: target) else { return 0 }
  // What it accepts, it can decode again to the same bytes, and not to another size.
  let again = UnsafeMutableRawPointer.allocate(byteCount: target + 1, alignment: 1)
  defer { again.deallocate() }
  guard decodeLZ4Block(block, to: again, size: target), memcmp(out, again, target) == 0,
    !decodeLZ4Block(block, to: again, size: target + 1)
  else { fatalError("decoded twice") }
  return 0
}
