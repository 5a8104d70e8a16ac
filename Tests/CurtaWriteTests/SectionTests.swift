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
    bad.ops[1] = .normQuant(input: 99, gamma: 2, out: 1, epsilon: 0)
    error = #expect(throws: WriteError.self) { try programSection(bad) }
    #expect("\(error!)".contains("no buffer 99"))
    bad = good
    bad.ops[2] = .linear(
      input: 1, parts: [LinearPart(weight: 3, out: 2), LinearPart(weight: 3, out: 2)])
    #expect(throws: WriteError.self) { try programSection(bad) }
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
          ops.append(.linearAdd(input: input, weight: 0, sum: out))
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
