// The decoded bytes of single sections, outside any session.
// SPDX-License-Identifier: Apache-2.0

import CZstd
import CurtaFormat

extension CurtaFile {
  /// The decoded bytes of a section of any codec. Throws `badFrame`.
  public func decodedBytes(_ section: Section) throws(CurtaError) -> [UInt8] {
    let stored = try storedBytes(section)
    let size = Int(section.size)
    if section.codec == .stored {
      return [UInt8](UnsafeRawBufferPointer(start: stored.base, count: stored.count))
    }
    if section.codec == .zstd { try section.checkZstdFrame(stored) }
    var isGood = false
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { bytes, count in
      let target = UnsafeMutableRawPointer(bytes.baseAddress!)
      switch section.codec {
      case .stored: break
      case .lz4: isGood = decodeLZ4Block(stored, to: target, size: size)
      case .zstd:
        isGood =
          ZSTD_findFrameCompressedSize(stored.base, stored.count) == stored.count
          && ZSTD_decompress(target, size, stored.base, stored.count) == size
      }
      count = isGood ? size : 0
    }
    guard isGood else { throw CurtaError(.badFrame, section: section.kind, at: section.offset) }
    return bytes
  }
}
