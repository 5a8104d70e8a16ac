// Builds .curta files from tensors, buffers, states and ops, right or wrong.
// SPDX-License-Identifier: Apache-2.0

/// Collects the parts of a file.
public struct FileBuilder: Sendable {
  public struct Tensor: Sendable {
    public var name: String
    public var rows: Int
    public var columns: Int
    public var encoding = 1
    public var bits = 8
    public var flags = 0
    public var group = 0
    public var exponent = 0
    public var streams: [[UInt8]]
  }

  public static let none: UInt32 = 0xFFFF_FFFF

  public var tensors: [Tensor] = []
  public var buffers: [[UInt32]] = []
  public var states: [[UInt32]] = []
  public var ops: [[UInt32]] = []
  public var context: UInt32
  public var vocabulary: UInt32
  public var output: UInt32 = 0
  /// The image record; none for tokens.
  public var image: [UInt32] = []
  public var random: SeededRandom

  public init(context: UInt32, vocabulary: UInt32, seed: UInt64) {
    self.context = context
    self.vocabulary = vocabulary
    random = SeededRandom(seed)
  }

  // MARK: - Parts

  /// A tensor of random 8-bit codes, with group scales and offsets of groups of 32 when asked.
  public mutating func grid(
    _ rows: Int, _ columns: Int, exponent: Int = 26, offsets: Bool = false
  ) -> UInt32 {
    let padded = (columns + 31) / 32 * 32
    var codes: [UInt8] = []
    for _ in 0..<rows {
      for k in 0..<padded {
        codes.append(k < columns ? UInt8(truncatingIfNeeded: random.below(255) - 127) : 0)
      }
    }
    var streams = [codes, mantissas(rows)]
    if offsets {
      let groups = padded / 32
      streams.append(random.bytes(rows * groups))
      var bytes: [UInt8] = []
      for _ in 0..<rows * groups {
        bytes.append(UInt64(truncatingIfNeeded: random.below(65535) - 32767), width: 2)
      }
      streams.append(bytes)
    }
    tensors.append(
      Tensor(
        name: "t\(tensors.count)", rows: rows, columns: columns, flags: offsets ? 3 : 0,
        group: offsets ? 32 : 0, exponent: exponent + (offsets ? 8 : 0), streams: streams))
    return UInt32(tensors.count - 1)
  }

  /// A square tensor of ones: large and quickly made.
  public mutating func ones(_ size: Int) -> UInt32 {
    tensors.append(
      Tensor(
        name: "t\(tensors.count)", rows: size, columns: size, exponent: 26,
        streams: [[UInt8](repeating: 1, count: size * size), mantissas(size)]))
    return UInt32(tensors.count - 1)
  }

  /// A tensor of random 16-bit codes.
  public mutating func wide(_ rows: Int, _ columns: Int, exponent: Int = 30) -> UInt32 {
    var codes: [UInt8] = []
    for _ in 0..<rows * columns {
      codes.append(UInt64(truncatingIfNeeded: random.below(65535) - 32767), width: 2)
    }
    tensors.append(
      Tensor(
        name: "t\(tensors.count)", rows: rows, columns: columns, encoding: 2, bits: 16,
        exponent: exponent, streams: [codes, mantissas(rows)]))
    return UInt32(tensors.count - 1)
  }

  /// Phases of `count` pairs.
  public mutating func phases(_ count: Int) -> UInt32 {
    tensors.append(
      Tensor(
        name: "t\(tensors.count)", rows: 1, columns: count, encoding: 3, bits: 32,
        streams: [random.bytes(4 * count)]))
    return UInt32(tensors.count - 1)
  }

  private mutating func mantissas(_ rows: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<rows { bytes.append(UInt64(20000 + random.below(45000)), width: 2) }
    return bytes
  }

  /// A buffer of `type` (1 fixed, 2 scaled, 3 codes8), in a slot of its own unless given.
  public mutating func buffer(
    _ type: UInt32, _ width: Int, outputs: Bool = false, scales: UInt32? = nil,
    fraction: UInt32 = 0, slot: UInt32? = nil
  ) -> UInt32 {
    let standard: UInt32 = type == 1 ? 0 : 1
    buffers.append(
      [
        type, outputs ? 1 : 0, UInt32(width), scales ?? standard, fraction,
        slot ?? UInt32(buffers.count), 0, 0,
      ])
    return UInt32(buffers.count - 1)
  }

  public mutating func state(heads: Int, width: Int) -> UInt32 {
    states.append([1, UInt32(heads), UInt32(width), 0, 0, 0, 0, 0])
    return UInt32(states.count - 1)
  }

  public mutating func op(_ words: UInt32...) {
    ops.append(words + [UInt32](repeating: 0, count: 16 - words.count))
  }

  // MARK: - Bytes

  public func build() -> [UInt8] {
    var parts = FileParts(minor: 0, sections: [])
    func section(_ kind: UInt32, _ index: Int, _ bytes: [UInt8]) -> FileParts.Section {
      FileParts.Section(
        kind: kind, index: UInt32(index), codec: 0, flags: 1, size: UInt64(bytes.count),
        stored: bytes)
    }
    parts.sections = [
      section(1, 0, [0, 0, 0, 0]), section(3, 0, tensorBytes), section(4, 0, programBytes),
    ]
    for (i, stream) in tensors.flatMap(\.streams).enumerated() {
      parts.sections.append(section(5, i, stream))
    }
    return parts.assemble()
  }

  private var tensorBytes: [UInt8] {
    var bytes: [UInt8] = []
    let names = tensors.flatMap { Array($0.name.utf8) }
    for word in [tensors.count, 0, names.count, 0] { bytes.append(UInt64(word), width: 4) }
    var name = 0
    var data = 0
    for tensor in tensors {
      let length = tensor.name.utf8.count
      for word in [name, length, tensor.rows, tensor.columns] {
        bytes.append(UInt64(word), width: 4)
      }
      bytes.append(UInt64(tensor.encoding), width: 2)
      bytes.append(UInt64(tensor.bits), width: 1)
      bytes.append(UInt64(tensor.flags), width: 1)
      for word in [tensor.group, tensor.exponent, data, tensor.streams.count, 0, 0] {
        bytes.append(UInt64(truncatingIfNeeded: word), width: 4)
      }
      bytes += [UInt8](repeating: 0, count: 20)
      name += length
      data += tensor.streams.count
    }
    return bytes + names
  }

  private var programBytes: [UInt8] {
    var bytes: [UInt8] = []
    let slots = 1 + (buffers.map { $0[5] }.max() ?? 0)
    let head = [
      UInt32(buffers.count), UInt32(states.count), UInt32(ops.count), slots, context, vocabulary,
      output, image.isEmpty ? 0 : 1,
    ]
    for word in head + image + buffers.joined() + states.joined() + ops.joined() {
      bytes.append(UInt64(word), width: 4)
    }
    return bytes
  }
}
