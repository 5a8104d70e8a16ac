// Builds GGUF files byte by byte, sound and hostile.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

/// A GGUF file to write.
struct GGUFFileBytes {
  /// A metadata value as its type and bytes.
  struct Value {
    var type: GGUFValueType
    var bytes: [UInt8]
  }

  struct Tensor {
    var name: String
    /// The fastest running size first.
    var dimensions: [UInt64]
    var type: UInt32
    var bytes: [UInt8]
    /// Replaces the offset that follows from the order.
    var offset: UInt64?
  }

  var version: UInt32 = 3
  var alignment = 32
  var entries: [(key: String, value: Value)] = []
  var tensors: [Tensor] = []
  var tensorCount: UInt64?
  var entryCount: UInt64?

  subscript(_ key: String) -> Value? {
    get { entries.first { $0.key == key }?.value }
    set {
      let index = entries.firstIndex { $0.key == key }
      if let index { entries.remove(at: index) }
      if let newValue { entries.insert((key, newValue), at: index ?? entries.count) }
    }
  }

  /// Everything before the padding in front of the data.
  var header: [UInt8] {
    var out = little(GGUFFile.magic) + little(version)
    out += little(tensorCount ?? UInt64(tensors.count))
    out += little(entryCount ?? UInt64(entries.count))
    for (key, value) in entries {
      out += counted(Array(key.utf8)) + little(value.type.rawValue) + value.bytes
    }
    var position: UInt64 = 0
    for tensor in tensors {
      out += counted(Array(tensor.name.utf8)) + little(UInt32(tensor.dimensions.count))
      for size in tensor.dimensions { out += little(size) }
      out += little(tensor.type) + little(tensor.offset ?? position)
      position += UInt64(padded(tensor.bytes.count))
    }
    return out
  }

  var bytes: [UInt8] {
    var out = header
    out += [UInt8](repeating: 0, count: padded(out.count) - out.count)
    for tensor in tensors {
      out += tensor.bytes
      out += [UInt8](repeating: 0, count: padded(out.count) - out.count)
    }
    return out
  }

  private func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

  mutating func add(_ name: String, _ dimensions: [Int], _ values: [Float]) {
    tensors.append(
      Tensor(
        name: name, dimensions: dimensions.map { UInt64($0) }, type: 0,
        bytes: values.flatMap { little($0.bitPattern) }))
  }

  mutating func add(_ name: String, _ matrix: Matrix) {
    add(name, [matrix.columns, matrix.rows], matrix.values)
  }
}

func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// A u64 length and the bytes.
func counted(_ bytes: [UInt8]) -> [UInt8] { little(UInt64(bytes.count)) + bytes }

extension GGUFFileBytes.Value {
  static func u32(_ value: Int) -> Self { Self(type: .uint32, bytes: little(UInt32(value))) }
  static func f32(_ value: Float) -> Self { Self(type: .float32, bytes: little(value.bitPattern)) }
  static func bool(_ value: Bool) -> Self { Self(type: .bool, bytes: [value ? 1 : 0]) }
  static func text(_ value: String) -> Self {
    Self(type: .string, bytes: counted(Array(value.utf8)))
  }
  static func array(_ type: GGUFValueType, _ values: [[UInt8]], count: UInt64? = nil) -> Self {
    Self(
      type: .array,
      bytes: little(type.rawValue) + little(count ?? UInt64(values.count)) + values.flatMap { $0 })
  }
  static func strings(_ values: [[UInt8]]) -> Self { array(.string, values.map(counted)) }
  static func i32s(_ values: [Int]) -> Self { array(.int32, values.map { little(Int32($0)) }) }
  static func f32s(_ values: [Float]) -> Self {
    array(.float32, values.map { little($0.bitPattern) })
  }
}

extension GGUFFileBytes {
  /// The metadata and float32 tensors of a plain Llama, q and k in the order that turns neighbours
  /// together, as llama.cpp has it.
  init(_ weights: DecoderWeights, ropeBase: Float = 10000) {
    let d = weights.description
    self["general.architecture"] = .text("llama")
    self["llama.block_count"] = .u32(d.layers)
    self["llama.context_length"] = .u32(d.contextLength)
    self["llama.embedding_length"] = .u32(d.width)
    self["llama.feed_forward_length"] = .u32(d.feedForwardWidth)
    self["llama.attention.head_count"] = .u32(d.queryHeads)
    self["llama.attention.head_count_kv"] = .u32(d.keyValueHeads)
    self["llama.attention.layer_norm_rms_epsilon"] = .f32(d.normEpsilon)
    self["llama.rope.freq_base"] = .f32(ropeBase)
    self["llama.rope.dimension_count"] = .u32(d.headWidth)
    self["llama.vocab_size"] = .u32(d.vocabularySize)
    add("token_embd.weight", weights.ends.embedding)
    for (index, layer) in weights.layers.enumerated() {
      let matrices = [
        ("attn_q", layer.query.weight.interleaved(d.queryHeads)),
        ("attn_k", layer.key.weight.interleaved(d.keyValueHeads)),
        ("attn_v", layer.value.weight), ("attn_output", layer.output.weight),
        ("ffn_gate", layer.gate!.weight), ("ffn_up", layer.up.weight),
        ("ffn_down", layer.down.weight),
      ]
      for (name, matrix) in matrices { add("blk.\(index).\(name).weight", matrix) }
      add("blk.\(index).attn_norm.weight", [d.width], layer.attentionNorm.weight)
      add("blk.\(index).ffn_norm.weight", [d.width], layer.feedForwardNorm!.weight)
    }
    add("output_norm.weight", [d.width], weights.ends.finalNorm.weight)
    if let head = weights.ends.head { add("output.weight", head) }
  }

  /// A model of one layer of width 32, with random small weights.
  static func tiny(vocabulary: Int, tiedHead: Bool = true) -> GGUFFileBytes {
    GGUFFileBytes(tinyWeights(vocabulary: vocabulary, tiedHead: tiedHead), ropeBase: 500)
  }

  static func tinyWeights(vocabulary: Int, tiedHead: Bool = true) -> DecoderWeights {
    var state: UInt32 = 1
    func floats(_ count: Int) -> [Float] {
      (0..<count).map { _ in
        state = state &* 1_664_525 &+ 1_013_904_223
        return Float(Int32(bitPattern: state) >> 16) / 65536
      }
    }
    func matrix(_ rows: Int, _ columns: Int) -> Matrix {
      Matrix(rows: rows, columns: columns, values: floats(rows * columns))
    }
    func linear(_ rows: Int, _ columns: Int) -> LinearLayer { LinearLayer(matrix(rows, columns)) }
    let d = DecoderDescription(
      vocabularySize: vocabulary, width: 32, feedForwardWidth: 64, layers: 1, queryHeads: 2,
      keyValueHeads: 1, headWidth: 16, contextLength: 24, normEpsilon: 1e-6,
      parts: tiedHead ? [.gate, .tiedHead] : [.gate],
      rotary: [RotaryTable(base: 500, width: 16, pairing: .halfSplit)])
    let layer = DecoderLayer(
      attentionNorm: NormLayer(floats(32)), query: linear(32, 32), key: linear(16, 32),
      value: linear(16, 32), output: linear(32, 32), feedForwardNorm: NormLayer(floats(32)),
      gate: linear(64, 32), up: linear(64, 32), down: linear(32, 64))
    let ends = DecoderEnds(
      embedding: matrix(vocabulary, 32), finalNorm: NormLayer(floats(32)),
      head: tiedHead ? nil : matrix(vocabulary, 32))
    return DecoderWeights(description: d, ends: ends, layers: [layer])
  }
}

extension Matrix {
  /// The rows of `heads` heads with i and i + half as neighbours: written from that definition,
  /// pair by pair.
  func interleaved(_ heads: Int) -> Matrix {
    var result = self
    let width = rows / heads
    for head in 0..<heads {
      for pair in 0..<width / 2 {
        for column in 0..<columns {
          let first = head * width
          result[first + 2 * pair, column] = self[first + pair, column]
          result[first + 2 * pair + 1, column] = self[first + pair + width / 2, column]
        }
      }
    }
    return result
  }
}

/// Writes the bytes to a file for `body`, and removes it.
func withGGUF<Result>(_ bytes: [UInt8], _ body: (String) throws -> Result) throws -> Result {
  try withScratch { folder in
    let url = folder.appendingPathComponent("model.gguf")
    try Data(bytes).write(to: url)
    return try body(url.path)
  }
}
