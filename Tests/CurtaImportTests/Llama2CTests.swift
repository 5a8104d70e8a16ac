// llama2.c checkpoints: the layout, and hostile headers and sizes.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

@Suite struct Llama2CTests {
  /// A .bin of width 4, feed-forward 3, 2 layers, 2 heads, 1 key-value head, 5 tokens, context 6,
  /// whose floats count up from 0.
  private func bytes(
    header: [Int32] = [4, 3, 2, 2, 1, 5, 6],
    floats: Int = 20 + 8 + 32 + 16 + 16 + 32 + 8 + 72 + 4 + 12
  ) -> Data {
    var data = Data()
    for value in header { withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) } }
    for value in 0..<floats {
      withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { data.append(contentsOf: $0) }
    }
    return data
  }

  private func load(_ data: Data, tokenizer: String? = nil) throws -> Checkpoint {
    try withScratch { folder in
      let url = folder.appendingPathComponent("model.bin")
      try data.write(to: url)
      try Data().write(to: folder.appendingPathComponent("tok5.bin"))
      return try loadCheckpoint(url.path, tokenizer: tokenizer)
    }
  }

  @Test func layout() throws {
    let checkpoint = try load(bytes())
    let weights = try checkpoint.weights()
    #expect(weights.isConsistent)
    #expect(weights.description.rotary.map(\.pairing) == [.halfSplit])
    #expect(weights.ends.embedding.values.first == 0)
    let second = weights.layers[1]
    #expect(second.attentionNorm.weight == [24, 25, 26, 27])
    #expect(second.query.weight.values[0] == 44)
    #expect(second.key.weight.values[0] == 68)
    #expect(second.value.weight.values[0] == 84)
    #expect(second.output.weight.values[0] == 108)
    #expect(second.feedForwardNorm?.weight == [128, 129, 130, 131])
    #expect(second.gate?.weight.values[0] == 144)
    #expect(second.down.weight.values[0] == 168)
    #expect(second.up.weight.values[0] == 192)
    #expect(weights.ends.finalNorm.weight == [204, 205, 206, 207])
    #expect(weights.ends.head == nil)
    #expect(checkpoint.bos == 1)
    #expect(Set(checkpoint.eos) == [1, 2])
    #expect(checkpoint.addsBos)
    guard case .llama2c(let path, 5) = checkpoint.tokenizer else {
      Issue.record("the tokenizer beside the weights was not found")
      return
    }
    #expect(path.hasSuffix("/tok5.bin"))
  }

  @Test func separateHead() throws {
    let checkpoint = try load(bytes(header: [4, 3, 2, 2, 1, -5, 6], floats: 240))
    #expect(try checkpoint.weights().ends.head?.values.first == 220)
    #expect(!checkpoint.source.description.tiedHead)
  }

  /// Rows 2i and 2i + 1 of a head of the file are rows i and i + half of a head here.
  @Test func pairsAreHalfAHeadApart() throws {
    let floats = 5 * 8 + 8 + 64 + 32 + 32 + 64 + 8 + 3 * 24 + 8 + 6 * 4
    let weights = try load(bytes(header: [8, 3, 1, 2, 1, 5, 6], floats: floats)).weights()
    let layer = weights.layers[0]
    func firsts(_ matrix: Matrix) -> [Int] {
      (0..<matrix.rows).map { Int(matrix[$0, 0] - matrix[0, 0]) / 8 }
    }
    #expect(firsts(layer.query.weight) == [0, 2, 1, 3, 4, 6, 5, 7])
    #expect(firsts(layer.key.weight) == [0, 2, 1, 3])
    #expect(firsts(layer.value.weight) == [0, 1, 2, 3])
  }

  @Test func hostileHeaders() {
    let cases: [([Int32], Malformation.Reason)] = [
      ([0, 3, 2, 2, 1, 5, 6], .outOfRange), ([-4, 3, 2, 2, 1, 5, 6], .outOfRange),
      ([4, 3, 2, 2, 1, 0, 6], .outOfRange), ([4, 3, 2, 3, 1, 5, 6], .outOfRange),
      ([4, 3, 2, 4, 1, 5, 6], .outOfRange), ([4, 3, 2, 2, 3, 5, 6], .outOfRange),
      ([4, 3, 5000, 2, 1, 5, 6], .outOfRange), ([4, 3, 2, 2, 1, .min, 6], .truncated),
      ([4, 3, 2, 2, 1, 6, 6], .truncated), ([4, 3, 2, 2, 1, 4, 6], .trailingBytes),
      ([0x7FFF_FFFE, .max, 4096, 1, 1, .max, .max], .sizeOverflow), ([4, 3], .truncated),
    ]
    for (header, reason) in cases {
      let data = header.count == 7 ? bytes(header: header) : bytes(header: header, floats: 0)
      #expect(malformation { _ = try load(data) }?.reason == reason, "\(header)")
    }
  }

  @Test func everyPrefixIsRefused() {
    let whole = bytes()
    for count in stride(from: 0, to: whole.count, by: 7) {
      #expect(malformation { _ = try load(Data(whole.prefix(count))) }?.reason == .truncated)
    }
    #expect(malformation { _ = try load(whole + [0]) }?.reason == .trailingBytes)
  }

  @Test func otherFilesAreExplained() throws {
    #expect(
      unsupportedList { _ = try load(bytes(header: [0x616b_3432, 1, 2, 2, 1, 5, 6])) }.count == 1)
    #expect(throws: ImportError.self) { try load(bytes(), tokenizer: "/nowhere/tok.bin") }
    try withScratch { folder in
      for name in ["model.gguf", "model.safetensors"] {
        let url = folder.appendingPathComponent(name)
        try Data([1]).write(to: url)
        #expect(unsupportedList { _ = try loadCheckpoint(url.path) }.count == 1)
      }
      #expect(throws: ImportError.self) { try loadCheckpoint(folder.path + "/none") }
    }
  }
}
