// XXH64 against published values, and against a second implementation.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Testing

/// A view of bytes that lie between guarded pages while `body` runs.
func withView<R>(_ bytes: [UInt8], _ body: (ByteView) throws -> R) rethrows -> R {
  let memory = GuardedBytes(bytes)
  defer { withExtendedLifetime(memory) {} }
  return try body(ByteView(UnsafeRawPointer(memory.base), count: bytes.count))
}

@Suite struct HashTests {
  /// The values of Formats/curta-file.md section 8, and of xxHash's own tests and users.
  @Test(arguments: [
    ("", 0xEF46_DB37_51D8_E999 as UInt64), ("a", 0xD24E_C4F1_A98C_6E5B),
    ("abc", 0x44BC_2CF5_AD77_0999), ("as", 0x1C33_0FB2_D66B_E179),
    ("asd", 0x631C_37CE_72A9_7393), ("asdf", 0x4158_72F5_99CE_A71E),
    ("Call me Ishmael. Some years ago--never mind how long precisely-", 0x02A2_E854_70D6_FD96),
  ])
  func publishedValues(_ text: String, _ expected: UInt64) {
    #expect(withView(Array(text.utf8)) { xxh64($0) } == expected)
    #expect(referenceXXH64(Array(text.utf8)) == expected)
  }

  /// The buffer of xxHash's sanity check: bytes of a generator with the 32-bit prime.
  @Test(arguments: [
    (1, 0xE934_A84A_DB05_2768 as UInt64), (14, 0x8282_DCC4_994E_35C8),
    (222, 0xB641_AE8C_B691_C174),
  ])
  func sanityBuffer(_ count: Int, _ expected: UInt64) {
    var state: UInt64 = 2_654_435_761
    var bytes: [UInt8] = []
    for _ in 0..<count {
      bytes.append(UInt8(state >> 56))
      state = state &* 11_400_714_785_074_694_797
    }
    #expect(withView(bytes) { xxh64($0) } == expected)
  }

  @Test func everyLengthEqualsTheSecondImplementation() {
    var random = SeededRandom.announced("hashes")
    for count in 0..<300 {
      let bytes = random.bytes(count)
      #expect(withView(bytes) { xxh64($0) } == referenceXXH64(bytes), "\(count) bytes")
    }
  }

  @Test func sha256OfTheTests() {
    #expect(
      sha256(Array("abc".utf8))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      sha256([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  }
}
