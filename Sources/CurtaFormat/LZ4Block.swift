// Decoder of one raw LZ4 block (lz4_Block_format.md) into memory of exactly the right size.
// SPDX-License-Identifier: Apache-2.0

/// Decodes `block` to exactly `size` bytes at `out`; false when it is not one block of that size.
public func decodeLZ4Block(_ block: ByteView, to out: UnsafeMutableRawPointer, size: Int) -> Bool {
  let source = block.base
  let end = block.count
  var at = 0
  var written = 0

  /// Adds the bytes that follow a length of 15 and are all 255 but the last.
  func extendedLength(_ start: Int) -> Int? {
    var length = start
    while at < end {
      let byte = source.load(fromByteOffset: at, as: UInt8.self)
      at += 1
      length += Int(byte)
      if length > size { return nil }
      if byte != 255 { return length }
    }
    return nil
  }

  while at < end {
    let token = source.load(fromByteOffset: at, as: UInt8.self)
    at += 1
    var literals = Int(token >> 4)
    if literals == 15 {
      guard let length = extendedLength(15) else { return false }
      literals = length
    }
    guard literals <= end - at, literals <= size - written else { return false }
    (out + written).copyMemory(from: source + at, byteCount: literals)
    at += literals
    written += literals
    if at == end { return written == size && token & 15 == 0 }  // the last sequence has no match

    guard end - at >= 2 else { return false }
    let distance =
      Int(source.load(fromByteOffset: at, as: UInt8.self))
      | Int(source.load(fromByteOffset: at + 1, as: UInt8.self)) << 8
    at += 2
    guard distance > 0, distance <= written else { return false }
    var match = Int(token & 15)
    if match == 15 {
      guard let length = extendedLength(15) else { return false }
      match = length
    }
    match += 4
    guard match <= size - written else { return false }
    if distance >= match {
      (out + written).copyMemory(from: out + (written - distance), byteCount: match)
    } else {
      for i in 0..<match {  // the source overlaps what is being written
        let byte = (out + (written - distance + i)).load(as: UInt8.self)
        (out + (written + i)).storeBytes(of: byte, as: UInt8.self)
      }
    }
    written += match
  }
  return false
}
