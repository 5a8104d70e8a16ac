// Codes of 2 to 8 bits into blocks of 32: planes of low bits first.
// SPDX-License-Identifier: Apache-2.0

/// The block packing of `Formats/curta-encodings.md` section 2.
public enum Packing {
  /// Codes in a block.
  public static let blockLength = 32

  /// Widths of the planes of b-bit codes, lowest bits first.
  public static func planes(bits: Int) -> [Int] {
    switch bits {
    case 8: [8]
    case 7: [4, 2, 1]
    case 6: [4, 2]
    case 5: [4, 1]
    case 4: [4]
    case 3: [2, 1]
    case 2: [2]
    default: preconditionFailure("codes have 2 to 8 bits")
    }
  }

  /// The codes that b bits hold: −127…127 for 8 bits, else −2^(b−1)…2^(b−1)−1.
  public static func range(bits: Int) -> ClosedRange<Int> {
    bits == 8 ? -127...127 : -(1 << (bits - 1))...(1 << (bits - 1)) - 1
  }

  /// Bytes of a packed matrix: rows · ceil(columns / 32) · 4 · bits.
  public static func size(rows: Int, columns: Int, bits: Int) -> Int {
    rows * ((columns + 31) / 32) * 4 * bits
  }

  /// Packs codes [rows][columns]; the last block of a row is filled with codes 0.
  ///
  /// Every code is inside `range(bits:)`; other codes give bytes that a reader refuses. Linear in
  /// the number of codes.
  public static func pack(_ codes: [Int8], rows: Int, columns: Int, bits: Int) -> [UInt8] {
    precondition(codes.count == rows * columns)
    let widths = planes(bits: bits)
    let bias: UInt8 = bits == 8 ? 0 : 1 << UInt8(bits - 1)
    let total = size(rows: rows, columns: columns, bits: bits)
    return [UInt8](unsafeUninitializedCapacity: total) { bytes, count in
      codes.withUnsafeBufferPointer { codes in
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: blockLength) { block in
          var at = 0
          for row in 0..<rows {
            for start in stride(from: 0, to: columns, by: blockLength) {
              let filled = min(blockLength, columns - start)
              for i in 0..<blockLength {
                let code = i < filled ? codes[row * columns + start + i] : 0
                block[i] = UInt8(bitPattern: code) &+ bias
              }
              var low = 0
              for width in widths {
                at = packPlane(block, low: low, width: width, into: bytes, at: at)
                low += width
              }
            }
          }
          count = at
        }
      }
    }
  }

  /// Writes bits `low ..< low + width` of 32 codes into 4 · width bytes; returns the next place.
  @inline(__always)
  private static func packPlane(
    _ block: UnsafeMutableBufferPointer<UInt8>, low: Int, width: Int,
    into bytes: UnsafeMutableBufferPointer<UInt8>, at: Int
  ) -> Int {
    let length = 4 * width
    let parts = 8 / width
    let mask: UInt8 = width == 8 ? 255 : (1 << UInt8(width)) - 1
    for i in 0..<length {
      var byte: UInt8 = 0
      for part in 0..<parts {
        byte |= ((block[i + length * part] >> UInt8(low)) & mask) << UInt8(width * part)
      }
      bytes[at + i] = byte
    }
    return at + length
  }
}
