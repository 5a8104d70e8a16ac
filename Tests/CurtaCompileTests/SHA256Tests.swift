// The hash of sources and logits against published values and another implementation.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaTestSupport
import Testing

@Suite struct SHA256Tests {
  private func hash(_ bytes: [UInt8]) -> String {
    var hash = SHA256()
    hash.update(bytes)
    return hash.hexDigest()
  }

  @Test func publishedValues() {
    #expect(
      hash([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(
      hash(Array("abc".utf8))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test func everyLengthAroundTheBlocks() {
    var random = SeededRandom.announced("SHA256Tests")
    for length in 0...200 {
      let bytes = random.bytes(length)
      #expect(hash(bytes) == sha256(bytes), "length \(length)")
    }
  }

  @Test func piecesDoNotMatter() {
    var random = SeededRandom(3)
    let bytes = random.bytes(1000)
    for piece in [1, 3, 63, 64, 65, 999] {
      var whole = SHA256()
      for start in stride(from: 0, to: bytes.count, by: piece) {
        whole.update(Array(bytes[start..<min(start + piece, bytes.count)]))
      }
      #expect(whole.hexDigest() == sha256(bytes), "pieces of \(piece)")
    }
  }

  @Test func integersAreLittleEndian() {
    var hash = SHA256()
    [Int32(1), -2].withUnsafeBufferPointer { hash.update(littleEndian: $0) }
    #expect(hash.hexDigest() == sha256([1, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]))
  }
}
