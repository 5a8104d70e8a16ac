// A small random checkpoint in llama2.c's format, with a tokenizer, for conversions.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The shape of a random llama2.c checkpoint.
public struct TinyCheckpoint: Sendable {
  public var width = 48
  public var feedForwardWidth = 80
  public var layers = 2
  public var queryHeads = 3
  public var keyValueHeads = 1
  public var vocabulary = 300
  public var context = 96
  public var tiedHead = true
  public var seed: UInt64 = 1

  public init() {}

  /// The file: seven int32, then float32 tensors in llama2.c's order.
  public var bytes: [UInt8] {
    var random = SeededRandom(seed)
    var data: [UInt8] = []
    func append(_ word: UInt32) { data += littleEndian(word) }
    let fields = [
      width, feedForwardWidth, layers, queryHeads, keyValueHeads,
      tiedHead ? vocabulary : -vocabulary, context,
    ]
    for field in fields { append(UInt32(bitPattern: Int32(field))) }
    /// Roughly normal numbers around `mean`.
    func floats(_ count: Int, mean: Float = 0, deviation: Float) {
      for _ in 0..<count {
        var sum: Float = -6
        for _ in 0..<12 { sum += Float(random.next() >> 40) * 0x1p-24 }
        append((mean + deviation * sum).bitPattern)
      }
    }
    let keyValueWidth = width / queryHeads * keyValueHeads
    let small = 1 / Float(width).squareRoot()
    floats(vocabulary * width, deviation: 0.15)
    floats(layers * width, mean: 1, deviation: 0.1)
    floats(layers * width * width, deviation: 2 * small)
    floats(layers * width * keyValueWidth, deviation: 2 * small)
    floats(layers * width * keyValueWidth, deviation: small)
    floats(layers * width * width, deviation: small)
    floats(layers * width, mean: 1, deviation: 0.1)
    floats(3 * layers * width * feedForwardWidth, deviation: small)
    floats(width, mean: 1, deviation: 0.1)
    floats(context * (width / queryHeads), deviation: 0)
    if !tiedHead { floats(vocabulary * width, deviation: 0.15) }
    return data
  }

  /// A tokenizer of the bytes, and of some letters and pairs of them.
  public var tokenizerBytes: [UInt8] {
    let letters = "etaoinshrdlu ".map(String.init)
    var texts = ["<unk>", "\n<s>\n", "\n</s>\n"]
    texts += (0..<256).map { String(format: "<0x%02X>", $0) }
    texts += letters + ["th", "he", "in", "er", "an", "on", "the"]
    while texts.count < vocabulary { texts.append("[\(texts.count)]") }
    var data: [UInt8] = []
    func append(_ word: UInt32) { data += littleEndian(word) }
    append(UInt32(texts.map(\.utf8.count).max() ?? 0))
    for (id, text) in texts.prefix(vocabulary).enumerated() {
      append((id < 259 ? 0 : -Float(id)).bitPattern)
      append(UInt32(text.utf8.count))
      data += Array(text.utf8)
    }
    return data
  }

  /// Writes `model.bin`, and `tokenizer.bin` where asked for, and returns the path of the first.
  public func write(to folder: URL, tokenizer: Bool = true) throws -> String {
    let path = folder.appendingPathComponent("model.bin")
    try Data(bytes).write(to: path)
    if tokenizer {
      try Data(tokenizerBytes).write(to: folder.appendingPathComponent("tokenizer.bin"))
    }
    return path.path
  }
}

private func littleEndian(_ word: UInt32) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
}

/// Calls `body` with a new folder that is gone afterwards.
public func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("curta-" + UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
