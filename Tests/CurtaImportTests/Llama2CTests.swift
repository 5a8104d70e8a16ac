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
    let weights = checkpoint.weights
    #expect(weights.isConsistent)
    #expect(weights.description.ropePairing == .interleaved)
    #expect(weights.embedding.values.first == 0)
    let second = weights.layers[1]
    #expect(second.attentionNorm == [24, 25, 26, 27])
    #expect(second.query.values[0] == 44)
    #expect(second.key.values[0] == 68)
    #expect(second.value.values[0] == 84)
    #expect(second.output.values[0] == 108)
    #expect(second.feedForwardNorm == [128, 129, 130, 131])
    #expect(second.gate.values[0] == 144)
    #expect(second.down.values[0] == 168)
    #expect(second.up.values[0] == 192)
    #expect(weights.finalNorm == [204, 205, 206, 207])
    #expect(weights.head == nil)
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
    #expect(checkpoint.weights.head?.values.first == 220)
    #expect(!checkpoint.weights.description.tiedHead)
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
