// Which bytes are text: a table of UTF-8, and Swift's own decoder on all short sequences.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Testing

@Suite struct TextTests {
  private func isText(_ bytes: [UInt8]) -> Bool { withView(bytes) { $0.isText } }

  @Test(
    arguments: [
      ([], true), ([0x00], false), ([0x01], true), ([0x1B, 0x5B, 0x33, 0x31, 0x6D], true),
      ([0x7F], true), ([0x80], false), ([0xC0, 0x80], false), ([0xC1, 0xBF], false),
      ([0xC2, 0x80], true), ([0xC2], false), ([0xC2, 0x41], false), ([0xDF, 0xBF], true),
      ([0xE0, 0x9F, 0xBF], false), ([0xE0, 0xA0, 0x80], true), ([0xE2, 0x82], false),
      ([0xED, 0x9F, 0xBF], true), ([0xED, 0xA0, 0x80], false), ([0xEF, 0xBF, 0xBF], true),
      ([0xF0, 0x8F, 0xBF, 0xBF], false), ([0xF0, 0x90, 0x80, 0x80], true),
      ([0xF4, 0x8F, 0xBF, 0xBF], true), ([0xF4, 0x90, 0x80, 0x80], false),
      ([0xF0, 0x9D, 0x84], false), ([0xF5, 0x80, 0x80, 0x80], false), ([0xFF], false),
      ([0x61, 0x00, 0x62], false), ([0x61, 0xC3, 0xA9, 0x62], true),
    ] as [([UInt8], Bool)])
  func table(_ bytes: [UInt8], _ expected: Bool) {
    #expect(isText(bytes) == expected)
    // The same between other characters.
    #expect(isText([0x61] + bytes + [0xE2, 0x82, 0xAC]) == expected)
  }

  @Test func agreesWithSwift() {
    func swift(_ bytes: [UInt8]) -> Bool {
      !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
    }
    var wrong = 0
    for a in UInt8.min...255 {
      for b in UInt8.min...255 where isText([a, b]) != swift([a, b]) { wrong += 1 }
    }
    var random = SeededRandom.announced("text")
    let edges: [UInt8] = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xE0, 0xED, 0xF0, 0xF4]
    for _ in 0..<50_000 {
      let bytes = (0..<random.below(6)).map { _ in
        random.chance(3) ? UInt8(random.below(256)) : random.element(edges)
      }
      if isText(bytes) != swift(bytes) { wrong += 1 }
    }
    #expect(wrong == 0)
  }
}
