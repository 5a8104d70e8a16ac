// Are GGUF blocks decoded bit for bit as the gguf package of PyPI does it?
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

extension Python {
  /// Whether PyPI `gguf` can be imported; says so loudly where not.
  static let hasGGUF: Bool = {
    let found = (try? run(["-c", "import gguf"]))?.0 == 0
    if !found { print("SKIPPED: python3 -c 'import gguf' fails (pip install gguf; CURTA_PYTHON)") }
    return found
  }()
}

@Suite struct GGUFDequantizeTests {
  /// Reads what `gguf_blocks.py` writes.
  private struct Case {
    var type: UInt32
    var blocks: [UInt8]
    /// Bit patterns.
    var values: [UInt32]
  }

  private func cases(_ output: [UInt8]) -> [Case] {
    func word(_ at: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(output[at + $1]) << (8 * $1) }
    }
    var cases: [Case] = []
    var at = 0
    while at + 12 <= output.count {
      let (bytes, floats) = (Int(word(at + 4)), Int(word(at + 8)))
      let start = at + 12
      cases.append(
        Case(
          type: word(at), blocks: Array(output[start..<start + bytes]),
          values: (0..<floats).map { word(start + bytes + 4 * $0) }))
      at = start + bytes + 4 * floats
    }
    return cases
  }

  @Test(.enabled(if: Python.hasGGUF, "SKIPPED: pip install gguf"))
  func everyTypeEqualsThePackage() throws {
    let script = Repository.root.path + "/Tests/CurtaImportTests/Reference/gguf_blocks.py"
    let seed = SeededRandom.announcedSeed("GGUF blocks")
    let (status, output) = try Python.run([script, "\(seed)", "400"])
    try #require(status == 0)
    let cases = cases(output)
    #expect(
      Set(cases.map(\.type))
        == Set(GGUFTensorType.allCases.filter(\.isDecodable).map(\.rawValue)))
    for item in cases {
      let type = try #require(GGUFTensorType(rawValue: item.type))
      let decoded = try #require(item.blocks.withUnsafeBytes { decodeGGUF($0, type) })
      try #require(decoded.count == item.values.count)
      let different = decoded.indices.filter { decoded[$0].bitPattern != item.values[$0] }
      #expect(
        different.isEmpty,
        "\(type.name), seed \(seed): \(different.count) of \(decoded.count), first \(different.first ?? -1)"
      )
      print("MEASURED gguf.\(type.name) \(different.count)")
    }
  }

  @Test func blocksThatAreNotFiniteAreRefused() {
    for type in GGUFTensorType.allCases where type.isDecodable {
      let bad = [UInt8](repeating: 0xFF, count: type.blockBytes)
      #expect(bad.withUnsafeBytes { decodeGGUF($0, type) } == nil, "\(type.name)")
    }
  }

  @Test func partsOfBlocksAndOtherTypesAreRefused() {
    for type in GGUFTensorType.allCases {
      let short = [UInt8](repeating: 0, count: 3 * type.blockBytes - 1)
      let isWhole = type.blockBytes == 1
      #expect(isWhole || short.withUnsafeBytes { decodeGGUF($0, type) } == nil)
      let whole = [UInt8](repeating: 0, count: 2 * type.blockBytes)
      let values = whole.withUnsafeBytes { decodeGGUF($0, type) }
      #expect(values?.count == (type.isDecodable ? 2 * type.blockElements : nil))
    }
  }
}
