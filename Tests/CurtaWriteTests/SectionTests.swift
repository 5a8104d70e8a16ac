// Metadata, tensors and program sections: bytes, and the errors for what does not fit.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaWrite

@Suite struct SectionTests {
  @Test func metadataIsSortedByBytes() throws {
    let bytes = try metadataSection(["b": .integer(258), "a.b": .text("é"), "a-b": .integer(1)])
    #expect(
      bytes == [3, 0, 0, 0]
        + [3, 0] + Array("a-b".utf8) + [1, 1, 0, 0, 0, 0, 0, 0, 0]
        + [3, 0] + Array("a.b".utf8) + [2, 2, 0, 0, 0, 0xC3, 0xA9]
        + [1, 0] + Array("b".utf8) + [1, 2, 1, 0, 0, 0, 0, 0, 0])
  }

  @Test(arguments: ["", "Name", "é", "a b", String(repeating: "a", count: 256)])
  func metadataKeysAreChecked(key: String) {
    #expect(throws: WriteError.self) { try metadataSection([key: .integer(1)]) }
  }

  @Test func metadataTextsAreChecked() {
    #expect(throws: WriteError.self) { try metadataSection(["a": .text("x\0y")]) }
    #expect(throws: WriteError.self) {
      try metadataSection(["a": .text(String(repeating: "x", count: 65537))])
    }
  }

  @Test func descriptorIsAsSpecified() throws {
    var generator = SeededRandom(1)
    let first = wide("n", 1, 3, &generator)
    let second = grid("weight", 2, 70, bits: 4, group: 64, offsets: true, &generator)
    let bytes = try tensorSection([first, second])
    #expect(bytes.count == 16 + 2 * 64 + 7)
    #expect(Array(bytes[0..<16]) == [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0])
    #expect(
      Array(bytes[80..<124]) == [1, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 70, 0, 0, 0]
        + [1, 0, 4, 3, 64, 0, 0, 0, 24, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0]
        + Array(repeating: 0, count: 8))
    #expect(Array(bytes[144...]) == Array("nweight".utf8))
  }

  /// The worked example of curta-encodings.md section 5.
  @Test func maskIsAsSpecified() throws {
    var generator = SeededRandom(4)
    let first = wide("n", 1, 3, &generator)
    let mask = TensorContents.Mask.blocks([true, false, true, false, false, true])
    let tensor = grid("w", 20, 70, bits: 8, group: 32, offsets: true, &generator).masked(mask)
    let bytes = try tensorSection([first, tensor])
    #expect(bytes[4] == 1 && bytes.count == 16 + 2 * 64 + 16 + 2)
    #expect(Array(bytes[108..<124]) == [2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    #expect(
      Array(bytes[144..<160]) == [1, 0, 1, 0, 6, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0])
    #expect(tensor.stream(4) == [0x25])
    guard case .grid(let dense) = tensor.payload else { return }
    let codes = tensor.stream(0)
    #expect(codes.count == 36 * 32 && tensor.stream(2).count == 36 && tensor.stream(3).count == 72)
    func row(_ row: Int, _ columns: Range<Int>) -> [UInt8] {
      columns.map { $0 < 70 ? UInt8(bitPattern: dense.codes[row * 70 + $0]) : 0 }
    }
    #expect(Array(codes[0..<32]) == row(0, 0..<32) && Array(codes[32..<64]) == row(0, 64..<96))
    #expect(Array(codes[64..<96]) == row(1, 0..<32))
    #expect(Array(codes[1024..<1056]) == row(16, 64..<96))
    let scales = dense.groupScales!
    #expect(Array(tensor.stream(2)[0..<3]) == [scales[0], scales[2], scales[3]])
    #expect(tensor.stream(2)[32] == scales[16 * 3 + 2])
    let half = (0..<4 * 40).map { $0 / 2 % 2 == 1 }
    let pattern = grid("p", 4, 40, bits: 3, &generator).masked(
      .pattern(n: 2, m: 4, survives: half))
    #expect(Array(pattern.stream(2).prefix(8)) == [0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0, 0, 0])
  }

  /// The worked example of curta-encodings.md section 6.
  @Test func overlaysAreAsSpecified() throws {
    var generator = SeededRandom(8)
    guard case .grid(var own) = grid("w", 2, 600, bits: 2, &generator).payload else { return }
    own.outliers = TensorContents.OutlierColumns(
      step: 1, columns: [4, 599], values: [1, -2, 3, 0])
    own.residual = TensorContents.SparseResidual(
      step: 3, starts: [0, 2, 2], columns: [2, 299], values: [5, -1])
    let tensor = TensorContents(name: "w", rows: 2, columns: 600, payload: .grid(own))
    let bytes = try tensorSection([tensor])
    #expect(bytes[4] == 2 && bytes[16 + 32] == 7 && bytes[16 + 40] == 2)
    #expect(
      Array(bytes[80..<112]) == [2, 0, 1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 6, 0, 0, 0]
        + [3, 0, 3, 0, 4, 0, 0, 0, 3, 0, 0, 0, 48, 0, 0, 0])
    #expect(tensor.stream(2) == [4, 0, 0, 0, 0x57, 2, 0, 0])
    #expect(tensor.stream(3) == [1, 0xFE, 3, 0])
    #expect(tensor.stream(4) == [3, 0, 0, 0] && tensor.stream(5) == [2, 0xFF, 0x28])
    #expect(tensor.stream(6) == [5, 0, 0xFF])
  }

  @Test func badOverlaysAreNamed() throws {
    var generator = SeededRandom(9)
    let good = grid("bad", 2, 64, bits: 4, &generator)
    typealias Columns = TensorContents.OutlierColumns
    typealias Residual = TensorContents.SparseResidual
    func refuse(_ change: (inout TensorContents.Grid) -> Void) {
      guard case .grid(var grid) = good.payload else { return }
      change(&grid)
      let tensor = TensorContents(name: "bad", rows: 2, columns: 64, payload: .grid(grid))
      let error = #expect(throws: WriteError.self) { try tensorSection([tensor]) }
      #expect("\(error!)".contains("tensor bad"))
    }
    for bad in [
      Columns(step: 0, columns: [], values: []), Columns(step: 16, columns: [1], values: [1, 1]),
      Columns(step: -1, columns: [1], values: [1, 1]),
      Columns(step: 0, columns: [64], values: [1, 1]),
      Columns(step: 0, columns: [-1], values: [1, 1]), Columns(step: 0, columns: [1], values: [1]),
      Columns(step: 0, columns: [2, 2], values: [1, 1, 1, 1]),
      Columns(step: 0, columns: [2], values: [1, -128]),
    ] {
      refuse { $0.outliers = bad }
    }
    for bad in [
      Residual(step: 0, starts: [0, 0, 0], columns: [], values: []),
      Residual(step: 16, starts: [0, 1, 1], columns: [3], values: [1]),
      Residual(step: 0, starts: [0, 1], columns: [3], values: [1]),
      Residual(step: 0, starts: [0, 1, 2], columns: [3], values: [1]),
      Residual(step: 0, starts: [0, 2, 1], columns: [3], values: [1]),
      Residual(step: 0, starts: [0, 2, 2], columns: [4, 3], values: [1, 1]),
      Residual(step: 0, starts: [0, 1, 1], columns: [64], values: [1]),
      Residual(step: 0, starts: [0, 1, 1], columns: [3], values: [-128]),
      Residual(step: 0, starts: [0, 1, 1], columns: [3], values: [1, 1]),
    ] {
      refuse { $0.residual = bad }
    }
  }

  @Test func badMasksAreNamed() throws {
    var generator = SeededRandom(6)
    let all = [Bool](repeating: true, count: 3 * 64)
    let good = grid("bad", 3, 64, bits: 4, group: 32, offsets: true, &generator)
    let bad: [TensorContents.Mask] = [
      .blocks([true]), .blocks([false, false]), .pattern(n: 1, m: 3, survives: all),
      .pattern(n: 2, m: 4, survives: all), .columns([]), .columns([0]), .columns([1, 1, 2]),
      .columns([0, 1, 64]), .columns([0, 1, 2]),  // the last: with group offsets
    ]
    for mask in bad {
      guard case .grid(var grid) = good.payload else { return }
      grid.mask = mask
      let tensor = TensorContents(name: "bad", rows: 3, columns: 64, payload: .grid(grid))
      let error = #expect(throws: WriteError.self) { try tensorSection([tensor]) }
      #expect("\(error!)".contains("tensor bad"))
    }
    // A pruned cell with a code.
    guard case .grid(var grid) = good.payload else { return }
    grid.mask = .blocks([true, false])
    grid.codes[40] = 1
    let tensor = TensorContents(name: "bad", rows: 3, columns: 64, payload: .grid(grid))
    let error = #expect(throws: WriteError.self) { try tensorSection([tensor]) }
    #expect("\(error!)".contains("has a code"))
  }

  @Test func badTensorsAreNamed() throws {
    var generator = SeededRandom(2)
    let good = grid("good", 2, 64, bits: 4, group: 32, offsets: true, &generator)
    func change(_ body: (inout TensorContents.Grid) -> Void) -> TensorContents {
      guard case .grid(var grid) = good.payload else { return good }
      body(&grid)
      return TensorContents(name: "bad", rows: 2, columns: 64, payload: .grid(grid))
    }
    let bad = [
      change { $0.codes[5] = 8 }, change { $0.codes.removeLast() }, change { $0.mantissas[0] = 0 },
      change { $0.bits = 9 }, change { $0.group = 33 }, change { $0.exponent = 65 },
      change { $0.groupScales = nil }, change { $0.groupOffsets?[1] = -32768 },
      change { $0.groupScales?.removeLast() },
    ]
    _ = try tensorSection([good])
    for tensor in bad {
      let error = #expect(throws: WriteError.self) { try tensorSection([good, tensor]) }
      #expect("\(error!)".contains("tensor bad"))
    }
    #expect(throws: WriteError.self) { try tensorSection([good, good]) }
  }

  @Test func badProgramsAreNamed() throws {
    var generator = SeededRandom(3)
    let good = try plannedContents(&generator).program
    _ = try programSection(good)
    var bad = good
    bad.ops[6] = .attend(
      query: 5, keys: 0, values: 1, out: 6, window: 0, mantissa: 1, exponent: 0)
    var error = #expect(throws: WriteError.self) { try programSection(bad) }
    #expect("\(error!)".contains("op 6 (attend)"))
    bad = good
    bad.ops[1] = .normQuant(
      input: 99, gamma: 2, out: 1, norm: NormOperands(kind: .rms, epsilon: 0))
    error = #expect(throws: WriteError.self) { try programSection(bad) }
    #expect("\(error!)".contains("no buffer 99"))
    bad = good
    bad.ops[2] = .linear(
      input: 1, parts: [LinearPart(weight: 3, out: 2), LinearPart(weight: 3, out: 2)])
    #expect(throws: WriteError.self) { try programSection(bad) }
  }
}

@Suite struct OpWordTests {
  /// The words of one op as they are in the section, without the unused ones at the end.
  private func words(_ op: ProgramOp) throws -> [UInt32] {
    let buffer = BufferDescription(.fixed(fraction: 16), width: 8)
    let bytes = try programSection(
      ProgramDescription(
        buffers: [BufferDescription](repeating: buffer, count: 9), states: [], ops: [op],
        context: 1, vocabulary: 1, output: 0, slotCount: 1))
    var words = (0..<16).map { word -> UInt32 in
      let at = bytes.count - 64 + 4 * word
      return (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
    }
    while words.last == 0 { words.removeLast() }
    return words
  }

  /// As `curta-program.md` section 1 orders the operands.
  @Test func operandsAreAsSpecified() throws {
    let none: UInt32 = 0xFFFF_FFFF
    let norm = NormOperands(kind: .layer, epsilon: 7 << 32 | 5)
    let head = HeadNorm(gamma: 6, epsilon: 9 << 32 | 8)
    let rotation = Rotation(phases: 4, pairing: .halfSplit)
    let expected: [(ProgramOp, [UInt32])] = [
      (
        .normQuant(input: 1, gamma: 2, out: 3, norm: norm, hadamard: 16), [2, 1, 2, 3, 2, 5, 7, 16]
      ),
      (.norm(input: 1, gamma: 2, out: 3, norm: norm), [12, 1, 2, 3, 2, 5, 7]),
      (
        .headQuant(input: 1, out: 2, rotation: rotation, norm: head, hadamard: 8),
        [5, 1, 2, 4, 2, 8, 6, 8, 9]
      ),
      (.headQuant(input: 1, out: 2, rotation: nil), [5, 1, 2, none, 0, 0, none]),
      (
        .cacheAppend(input: 1, state: 3, rotation: rotation, norm: head, hadamard: 4),
        [6, 1, 3, 4, 2, 4, 6, 8, 9]
      ),
      (.cacheAppend(input: 1, state: 3, rotation: nil), [6, 1, 3, none, 0, 0, none]),
      (
        .attend(
          query: 1, keys: 2, values: 3, out: 4, window: 5, mantissa: 40000, exponent: -1,
          hadamard: 32, cap: 70000),
        [7, 1, 2, 3, 4, 5, 40000, none, 32, 70000]
      ),
      (.gateQuant(gate: 1, up: 2, out: 3, activation: .relu, hadamard: 2), [8, 1, 2, 3, 5, 2]),
      (.gateQuant(gate: 1, up: nil, out: 3, activation: .geluErf), [8, 1, none, 3, 3]),
      (.bias(input: 1, bias: 7, out: 2), [11, 1, 7, 2]),
      (.bias(input: 1, bias: nil, out: 1), [11, 1, none, 1]),
      (.add(input: 1, sum: 2), [13, 1, 2]),
      (.addPosition(weight: 9, sum: 2), [14, 9, 2]),
      (.softCap(sum: 1, cap: 1 << 26), [15, 1, 1 << 26]),
      (.quantize(input: 1, out: 2, hadamard: 64), [16, 1, 2, 64]),
      (.patchify(out: 3), [17, 3]),
      (.prefix(input: 1, rows: 7, out: 2), [18, 1, 7, 2]),
      (.prefix(input: 1, rows: nil, out: 2), [18, 1, none, 2]),
      (.pool(input: 1, out: 2, kind: .mean, first: 5), [19, 1, 2, 2, 5]),
    ]
    for (op, operands) in expected { #expect(try words(op) == operands) }
  }

  @Test func badOperandsAreNamed() {
    let large = UInt64(1) << 40 + 1
    let bad: [ProgramOp] = [
      .softCap(sum: 1, cap: 65535), .softCap(sum: 1, cap: 1 << 26 + 1),
      .attend(
        query: 1, keys: 0, values: 0, out: 2, window: 0, mantissa: 40000, exponent: 0, cap: 1),
      .norm(input: 1, gamma: 0, out: 2, norm: NormOperands(kind: .rms, epsilon: large)),
      .headQuant(input: 1, out: 2, rotation: nil, norm: HeadNorm(gamma: 0, epsilon: large)),
      .bias(input: 1, bias: -1, out: 2), .add(input: 9, sum: 1), .addPosition(weight: 0, sum: 9),
      .gateQuant(gate: 1, up: 9, out: 2, activation: .silu),
      .quantize(input: 1, out: 2, hadamard: 3), .patchify(out: 9),
      .prefix(input: 1, rows: -1, out: 2), .pool(input: 1, out: 2, kind: .row, first: -1),
    ]
    for op in bad {
      let error = #expect(throws: WriteError.self) { try words(op) }
      #expect("\(error!)".contains("op 0 (\(op.name))"))
    }
  }
}

@Suite struct ImageRecordTests {
  private let good = ImageDescription(
    height: 16, width: 12, channels: 3, patchHeight: 8, patchWidth: 6, resize: .crop, edge: 20,
    filter: .bicubic)

  private func section(_ image: ImageDescription?, context: Int = 5) throws -> [UInt8] {
    try programSection(
      ProgramDescription(
        buffers: [BufferDescription(.codes8(scales: 1), rows: .patches, width: 144)], states: [],
        ops: [.patchify(out: 0)], context: context, vocabulary: 9, output: 0, slotCount: 1,
        image: image))
  }

  @Test func wordsAreAsSpecified() throws {
    let bytes = try section(good)
    let words = (0..<18).map { word in
      (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[4 * word + $1]) << UInt32(8 * $1) }
    }
    #expect(words[0..<8] == [1, 0, 1, 1, 5, 9, 0, 1])
    #expect(words[8..<16] == [16, 12, 3, 8, 6, 2, 20, 3])
    #expect(words[16..<18] == [3, 2])  // codes8, patches
    #expect(try section(nil).count == bytes.count - 32 && section(nil)[28] == 0)
    #expect(good.patches == 4 && good.patchSize == 144)
  }

  @Test func badRecordsAreNamed() {
    func check(
      _ reason: String, context: Int = 5, _ change: (inout ImageDescription) -> Void
    ) {
      var image = good
      change(&image)
      let error = #expect(throws: WriteError.self) { try section(image, context: context) }
      #expect("\(error!)".contains(reason) && "\(error!)".hasPrefix("image: "))
    }
    check("sides") { $0.height = 0 }
    check("sides") { $0.width = 4097 }
    check("channels") { $0.channels = 2 }
    check("patches") { $0.patchHeight = 5 }
    check("patches") { $0.patchWidth = 0 }
    check("edge") { $0.edge = 15 }
    check("edge") { $0.edge = 8193 }
    check("edge") { $0.resize = .stretch }
    check("filter") { $0.filter = .none }
    check("filter") {
      $0.resize = .none
      $0.edge = 0
    }
    check("3 rows for 4 patches", context: 3) { _ in }
    check("69 rows for 4 patches", context: 69) { _ in }
  }
}

@Suite struct SlotTests {
  /// Whether every op finds its operands, by the words of `curta-program.md` section 1.
  private func isPlanned(_ program: ProgramDescription) -> Bool {
    var owner = [Int?](repeating: nil, count: program.slotCount)
    for op in program.ops {
      for buffer in op.reads where owner[program.buffers[buffer].slot] != buffer { return false }
      for written in op.writes {
        for other in op.reads + op.writes
        where other != written && program.buffers[other].slot == program.buffers[written].slot {
          return false
        }
      }
      for buffer in op.writes { owner[program.buffers[buffer].slot] = buffer }
    }
    return owner[program.buffers[program.output].slot] == program.output
  }

  @Test func aLayerNeedsFewSlots() throws {
    var generator = SeededRandom(4)
    let program = try plannedContents(&generator).program
    #expect(isPlanned(program))
    // x, a and the three of q, k, v live at the same time.
    #expect(program.slotCount == 5)
  }

  @Test func randomProgramsArePlanned() throws {
    var generator = SeededRandom.announced("slots of random programs")
    for _ in 0..<300 {
      let count = Int.random(in: 2...12, using: &generator)
      var ops: [ProgramOp] = [.embed(weight: 0, out: 0)]
      var written = [0]
      for _ in 0..<Int.random(in: 1...40, using: &generator) {
        let input = written.randomElement(using: &generator)!
        let out = Int.random(in: 0..<count, using: &generator)
        if out == input {
          ops.append(.cacheAppend(input: input, state: 0, rotation: nil))
        } else if written.contains(out), Bool.random(using: &generator) {
          let sums: [ProgramOp] = [
            .linearAdd(input: input, weight: 0, sum: out), .add(input: input, sum: out),
            .bias(input: out, bias: 0, out: out), .addPosition(weight: 0, sum: out),
            .softCap(sum: out, cap: 1 << 16),
          ]
          ops.append(sums.randomElement(using: &generator)!)
        } else {
          ops.append(.select(input: input, out: out))
          if !written.contains(out) { written.append(out) }
        }
      }
      var program = ProgramDescription(
        buffers: (0..<count).map { _ in
          BufferDescription(.scaled, width: Int.random(in: 1...9, using: &generator))
        },
        states: [], ops: ops, context: 1, vocabulary: 1,
        output: written.randomElement(using: &generator)!)
      try program.assignSlots()
      #expect(isPlanned(program))
      var again = program
      try again.assignSlots()
      #expect(again == program)
    }
  }

  @Test func readingTooEarlyIsNamed() {
    var program = ProgramDescription(
      buffers: [BufferDescription(.scaled, width: 1), BufferDescription(.scaled, width: 1)],
      states: [], ops: [.select(input: 0, out: 1)], context: 1, vocabulary: 1, output: 1)
    let error = #expect(throws: WriteError.self) { try program.assignSlots() }
    #expect("\(error!)".contains("buffer 0 is read before it is written"))
  }
}
