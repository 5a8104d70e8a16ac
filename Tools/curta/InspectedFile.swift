// The contents of a file as plain values, ready to be shown.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaWrite

/// What `curta inspect` shows.
struct InspectedFile {
  struct Section: Encodable {
    let kind, codec, hash: String
    let index, offset, storedBytes, bytes: UInt64
  }

  struct Tensor: Encodable {
    let name, encoding: String
    let rows, columns, bits, group: UInt32
    let exponent: Int32
    let groupScales, groupOffsets: Bool
    /// nil where every cell is there.
    let mask: Mask?
    /// nil where there are none.
    let outliers, residual: Overlay?
    let storedBytes, bytes: UInt64
    let codecs: [String]
  }

  struct Mask: Encodable {
    /// `blocks`, `pattern` or `columns`.
    let form: String
    let first, second: UInt32
    /// The share of codes that are stored.
    let density: Double
  }

  struct Overlay: Encodable {
    /// Columns, or entries of a residual.
    let count: UInt32
    /// Values are in units of 2^step.
    let step: UInt32
    /// Those cells in all.
    let share: Double
  }

  struct Entry: Encodable {
    let key: String
    let integer: UInt64?
    let text: String?

    var shown: String { text ?? integer.map { "\($0)" } ?? "" }
  }

  struct Buffer: Encodable {
    let type, rows: String
    let width, scales, slot: UInt32
    let fraction: Int32
  }

  struct State: Encodable {
    let heads, width: UInt32
  }

  struct Image: Encodable {
    let height, width, channels, patchHeight, patchWidth, edge: UInt32
    let resize, filter: String
  }

  struct Op: Encodable {
    let name: String
    /// What it reads: `b3` a buffer, `s0` a state, a tensor by name, or `key=value`.
    let operands: [String]
    /// What it writes.
    let results: [String]
  }

  let size: Int
  let minorVersion: UInt16
  let identity: UInt64
  private(set) var sections: [Section] = []
  private(set) var tensors: [Tensor] = []
  private(set) var metadata: [Entry] = []
  private(set) var buffers: [Buffer] = []
  private(set) var states: [State] = []
  private(set) var ops: [Op] = []
  let context, vocabulary, output, slotCount: Int
  /// nil where the input is tokens.
  let image: Image?

  init(_ bytes: ByteView) throws(CurtaError) {
    let file = try CurtaFile(bytes)
    size = bytes.count
    minorVersion = file.minorVersion
    identity = file.identity
    let table = try file.tensors()
    let program = try file.program(table)
    context = Int(program.context)
    vocabulary = Int(program.vocabulary)
    output = Int(program.output)
    slotCount = Int(program.slotCount)
    image = program.image.map {
      Image(
        height: $0.height, width: $0.width, channels: $0.channels, patchHeight: $0.patchHeight,
        patchWidth: $0.patchWidth, edge: $0.edge, resize: "\($0.resize)", filter: "\($0.filter)")
    }

    metadata = try InspectedFile.entries(file.metadata())
    for i in 0..<Int(file.sectionCount) {
      let section = try file.section(i)
      sections.append(
        Section(
          kind: StatusText.section(section.kind), codec: "\(section.codec)",
          hash: hexadecimal(section.hash), index: UInt64(section.index), offset: section.offset,
          storedBytes: section.storedSize, bytes: section.size))
    }
    for i in 0..<table.count { tensors.append(try InspectedFile.tensor(table[i], file)) }
    for i in 0..<program.bufferCount {
      let buffer = try program.buffer(i)
      buffers.append(
        Buffer(
          type: "\(buffer.type)", rows: "\(buffer.rows)", width: buffer.width,
          scales: buffer.scales, slot: buffer.slot, fraction: buffer.fraction))
    }
    for i in 0..<program.stateCount {
      let state = try program.state(i)
      states.append(State(heads: state.heads, width: state.width))
    }
    for i in 0..<program.opCount {
      ops.append(try Op(program.op(i), tensors: tensors))
    }
  }

  /// The metadata of a file alone.
  static func metadata(_ bytes: ByteView) throws(CurtaError) -> [Entry] {
    try entries(CurtaFile(bytes).metadata())
  }

  private static func entries(_ metadata: Metadata) throws(CurtaError) -> [Entry] {
    var entries: [Entry] = []
    // swift-format-ignore: ReplaceForEachWithForLoop
    try metadata.forEach { entry in
      entries.append(
        Entry(
          key: entry.key.string, integer: entry.text == nil ? entry.integer : nil,
          text: entry.text?.string))
    }
    return entries
  }

  private static func tensor(
    _ tensor: TensorDescriptor, _ file: CurtaFile
  ) throws(CurtaError) -> Tensor {
    var stored: UInt64 = 0
    var decoded: UInt64 = 0
    var codecs: [String] = []
    for i in 0..<tensor.dataCount {
      let section = try file.data(tensor.data + i)
      stored += section.storedSize
      decoded += section.size
      codecs.append("\(section.codec)")
    }
    return Tensor(
      name: tensor.name.string, encoding: "\(tensor.encoding)", rows: tensor.rows,
      columns: tensor.columns, bits: tensor.bits, group: tensor.group, exponent: tensor.exponent,
      groupScales: tensor.hasGroupScales, groupOffsets: tensor.hasGroupOffsets,
      mask: tensor.mask.map { Mask($0, of: tensor) },
      outliers: tensor.outliers.map {
        Overlay($0, share: Double($0.count) / Double(tensor.columns))
      },
      residual: tensor.residual.map {
        Overlay($0, share: Double($0.count) / Double(tensor.rows) / Double(tensor.columns))
      },
      storedBytes: stored, bytes: decoded, codecs: codecs)
  }
}

extension InspectedFile.Overlay {
  fileprivate init(_ overlay: TensorOverlay, share: Double) {
    self.init(count: overlay.count, step: overlay.step, share: share)
  }
}

extension InspectedFile.Tensor {
  /// Like "2:4", "6 outlier columns" or "blocks 50%, residual 0.98%"; empty without modifiers.
  var modifiers: String {
    let residualShare = residual.map { ($0.share * 10000).rounded() / 100 }
    return [
      mask?.text, outliers.map { "\($0.count) outlier columns" },
      residualShare.map { "residual \($0)%" },
    ].compactMap(\.self).joined(separator: ", ")
  }
}

extension InspectedFile.Mask {
  fileprivate init(_ mask: TensorMask, of tensor: TensorDescriptor) {
    form = "\(mask.form)"
    first = mask.first
    second = mask.second
    let stored =
      mask.form == .blocks
      ? Double(tensor.storedBlocks) / Double(tensor.blocks)
      : Double(tensor.rows) * Double(tensor.storedColumns) / Double(tensor.columns)
    density = stored / Double(tensor.rows)
  }

  /// Like "blocks 50%", "2:4" or "300 columns 78%".
  var text: String {
    let percent = "\(Int((density * 100).rounded()))%"
    switch form {
    case "pattern": return "\(first):\(second)"
    case "columns": return "\(first) columns \(percent)"
    default: return "blocks \(percent)"
    }
  }
}

extension InspectedFile.Op {
  /// The operands of `Formats/curta-program.md` section 1 in words.
  fileprivate init(_ op: OpRecord, tensors: [InspectedFile.Tensor]) throws(CurtaError) {
    func buffer(_ k: Int) throws(CurtaError) -> String { "b\(try op.operand(k))" }
    func state(_ k: Int) throws(CurtaError) -> String { "s\(try op.operand(k))" }
    func tensor(_ k: Int) throws(CurtaError) -> String { tensors[Int(try op.operand(k))].name }
    func rotation() throws(CurtaError) -> [String] {
      var words: [String] = []
      if try op.operand(3) != Program.none {
        words += [try tensor(3), try op.operand(4) == 1 ? "interleaved" : "half_split"]
      }
      words += try hadamard(5)
      if try op.operand(6) != Program.none { words += [try tensor(6), try epsilon(7)] }
      return words
    }
    func epsilon(_ k: Int) throws(CurtaError) -> String {
      "epsilon=\(UInt64(try op.operand(k)) | UInt64(try op.operand(k + 1)) << 32)"
    }
    func norm() throws(CurtaError) -> [String] {
      [
        try buffer(1), try tensor(2),
        NormKind(rawValue: try op.operand(4)) == .layer ? "layer" : "rms",
        try epsilon(5),
      ]
    }
    func scoreCode(_ op: OpRecord) throws(CurtaError) -> [String] {
      let bits = try op.operand(10)
      guard bits > 0 else { return [] }
      let (step, shift) = (try op.operand(11), try op.operand(12))
      return ["code=\(bits) bits", "step=\(step)/2", "shift=\(shift)*2^-15"]
    }
    func cap(_ k: Int) throws(CurtaError) -> String { "cap=\(try op.operand(k))" }
    func optional(_ k: Int, _ operand: (Int) throws(CurtaError) -> String) throws(CurtaError)
      -> [String]
    { try op.operand(k) == Program.none ? [] : [try operand(k)] }
    func hadamard(_ k: Int) throws(CurtaError) -> [String] {
      let block = try op.operand(k)
      return block == 0 ? [] : ["hadamard=\(block)"]
    }
    switch op.code {
    case .embed:
      (name, operands, results) = (
        "embed", [try tensor(1)] + (try hadamard(3)), [try buffer(2)]
      )
    case .normQuant:
      (name, operands, results) = ("norm_quant", try norm() + (try hadamard(7)), [try buffer(3)])
    case .linear:
      var inputs = [try buffer(1)]
      var outputs: [String] = []
      for pair in 0..<Int(try op.operand(2)) {
        inputs.append(try tensor(3 + 2 * pair))
        outputs.append(try buffer(4 + 2 * pair))
      }
      (name, operands, results) = ("linear", inputs, outputs)
    case .linearAdd:
      (name, operands, results) = (
        "linear_add", [try buffer(1), try tensor(2)], [try buffer(3)]
      )
    case .headQuant:
      (name, operands, results) = (
        "head_quant", [try buffer(1)] + (try rotation()), [try buffer(2)]
      )
    case .cacheAppend:
      (name, operands, results) = (
        "cache_append", [try buffer(1)] + (try rotation()), [try state(2)]
      )
    case .attend:
      name = "attend"
      operands =
        [
          try buffer(1), try state(2), try state(3), "window=\(try op.operand(5))",
          "scale=\(try op.operand(6))*2^-\(Int32(bitPattern: try op.operand(7)))",
        ] + (try hadamard(8)) + (try op.operand(9) == 0 ? [] : [try cap(9)])
        + (try scoreCode(op))
      results = [try buffer(4)]
    case .gateQuant:
      let activation = Activation(rawValue: try op.operand(4))?.word ?? ""
      operands = [try buffer(1)] + (try optional(2, buffer)) + [activation] + (try hadamard(5))
      (name, results) = ("gate_quant", [try buffer(3)])
    case .select:
      (name, operands, results) = ("select", [try buffer(1)], [try buffer(2)])
    case .logits:
      (name, operands, results) = ("logits", [try buffer(1), try tensor(2)], [try buffer(3)])
    case .bias:
      (name, operands, results) = (
        "bias", [try buffer(1)] + (try optional(2, tensor)), [try buffer(3)]
      )
    case .norm:
      (name, operands, results) = ("norm", try norm(), [try buffer(3)])
    case .add:
      (name, operands, results) = ("add", [try buffer(1)], [try buffer(2)])
    case .addPosition:
      (name, operands, results) = ("add_position", [try tensor(1)], [try buffer(2)])
    case .softCap:
      (name, operands, results) = ("soft_cap", [try cap(2)], [try buffer(1)])
    case .quantize:
      (name, operands, results) = ("quantize", [try buffer(1)] + (try hadamard(3)), [try buffer(2)])
    case .patchify:
      (name, operands, results) = ("patchify", [], [try buffer(1)])
    case .prefix:
      (name, operands, results) = (
        "prefix", [try buffer(1)] + (try optional(2, tensor)), [try buffer(3)]
      )
    case .pool:
      let kind = PoolKind(rawValue: try op.operand(3)) == .mean ? "mean" : "row"
      (name, operands, results) = (
        "pool", [try buffer(1), kind, "first=\(try op.operand(4))"], [try buffer(2)]
      )
    }
  }
}

extension Activation {
  /// The name in `registry.tsv`.
  fileprivate var word: String {
    switch self {
    case .silu: "silu"
    case .geluTanh: "gelu_tanh"
    case .geluErf: "gelu_erf"
    case .quickGelu: "quick_gelu"
    case .relu: "relu"
    }
  }
}
