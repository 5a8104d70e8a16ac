// The precompiled map of SentencePiece's normalizer: a double array and texts that end with 0.
// SPDX-License-Identifier: Apache-2.0

/// Lists the entries of a `precompiled_charsmap`.
///
/// It begins with u32 size of the double array in bytes, little-endian. A unit of the array is
/// u32: bits 0–7 label, bit 8 whether a key ends here, bits 9–31 offset; a value is an offset in
/// the texts.
struct PrecompiledCharsmap {
  private let units: [UInt32]
  private let texts: ArraySlice<UInt8>
  private var steps = 0
  private(set) var entries: [TokenizerTables.Replacement] = []

  struct Failure: Error {
    var detail: String
  }

  /// Longer keys than this are not in any map of SentencePiece.
  private static let depth = 64
  private static let most = 1 << 18

  init(_ blob: [UInt8]) throws(Failure) {
    func word(_ at: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(blob[at + $1]) << UInt32(8 * $1) }
    }
    guard blob.count > 4 else { throw Failure(detail: "no room for the size of the array") }
    let size = Int(word(0))
    guard size % 4 == 0, size >= 1024, size < blob.count - 4, blob.last == 0 else {
      throw Failure(detail: "\(size) bytes of array in \(blob.count)")
    }
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    texts = blob[(4 + size)...]
    var key: [UInt8] = []
    try visit(offset(units[0]), &key)
  }

  private func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 0x200) >> 6)) }

  private mutating func visit(_ node: Int, _ key: inout [UInt8]) throws(Failure) {
    for byte in UInt8(1)...255 {
      let child = node ^ Int(byte)
      guard child < units.count else { continue }
      let unit = units[child]
      guard unit & 0x8000_00FF == UInt32(byte) else { continue }
      steps += 1
      guard key.count < Self.depth, steps < 1 << 22, entries.count < Self.most else {
        throw Failure(detail: "the array has cycles, or too many keys")
      }
      key.append(byte)
      let next = child ^ offset(unit)
      if unit & 0x100 != 0 {
        guard next < units.count else { throw Failure(detail: "a value lies outside") }
        let start = texts.startIndex + Int(units[next] & 0x7FFF_FFFF)
        guard start < texts.endIndex, let end = texts[start...].firstIndex(of: 0) else {
          throw Failure(detail: "a text lies outside")
        }
        entries.append(.init(source: key, replacement: Array(texts[start..<end])))
      }
      try visit(next, &key)
      key.removeLast()
    }
  }
}
