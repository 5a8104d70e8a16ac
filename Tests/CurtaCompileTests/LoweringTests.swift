// A lowered model: the reader takes it, the ops stand as the specification shows them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaCompile

/// Contents of the file of a tiny checkpoint.
private func contents(_ tiny: TinyCheckpoint, _ recipe: Recipe) throws -> FileContents {
  try withTemporaryFolder { folder in
    let checkpoint = try loadCheckpoint(tiny.write(to: folder))
    var calibration = CalibrationInput()
    calibration.tokens = 128
    return try Conversion.contents(
      checkpoint, name: "tiny", recipe: recipe, calibration: calibration)
  }
}

/// Calls `body` with the finished bytes at an aligned address.
private func withFile(
  _ contents: FileContents, _ body: (ByteView) throws -> Void
) throws {
  let bytes = try fileBytes(contents)
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
  defer { memory.deallocate() }
  memory.copyBytes(from: bytes)
  try body(ByteView(memory.baseAddress!, count: bytes.count))
}

@Suite struct LoweringTests {
  /// Widths that are no multiple of 32, heads that are no power of two, a separate head.
  static let shapes: [TinyCheckpoint] = {
    var shapes = [TinyCheckpoint(), TinyCheckpoint(), TinyCheckpoint()]
    shapes[1].queryHeads = 4  // heads of 12
    shapes[1].keyValueHeads = 2
    shapes[1].tiedHead = false
    shapes[2].width = 32
    shapes[2].feedForwardWidth = 96
    shapes[2].queryHeads = 2
    shapes[2].keyValueHeads = 2
    shapes[2].layers = 1
    return shapes
  }()

  @Test(
    arguments: shapes.indices,
    ["w8", "w6", "rtn4", "gptq", "adaquant", "w2", "flash4", "lpvit", "isvit"])
  func theReaderTakesIt(shape: Int, recipe: String) throws {
    // The search of isvit takes minutes without optimization: one layer will do.
    guard recipe != "isvit" || LoweringTests.shapes[shape].layers == 1 else { return }
    let contents = try contents(LoweringTests.shapes[shape], Recipe.load(recipe))
    try withFile(contents) { try Conversion.checkFormat($0) }
  }

  @Test func opsStandAsInTheSpecification() throws {
    let program = try contents(TinyCheckpoint(), .w8).program
    let layer = [
      "norm_quant", "linear", "head_quant", "cache_append", "cache_append", "attend",
      "linear_add", "norm_quant", "linear", "gate_quant", "linear_add",
    ]
    #expect(
      program.ops.map(\.name)
        == ["embed"] + layer + layer + ["select", "norm_quant", "logits"])
    #expect(program.states.count == 4)
    #expect(program.context == 96)
    #expect(program.vocabulary == 300)
    // x, and at most four buffers beside it.
    #expect(program.slotCount <= 5)
  }

  /// Heads of 16, 12 and 6: blocks are powers of two, and below 4 there are none.
  @Test func hadamardsFitTheHeads() throws {
    for (heads, expected) in [(3, 16), (4, 4), (8, 0)] {
      var tiny = TinyCheckpoint()
      tiny.queryHeads = heads
      let width = tiny.width / heads
      let program = try contents(tiny, .w8).program
      for op in program.ops {
        switch op {
        case .headQuant(_, _, let rotation, _, let hadamard):
          #expect(hadamard == expected)
          #expect(rotation?.pairing == .halfSplit)
        case .cacheAppend(_, let state, let rotation, _, let hadamard):
          #expect(hadamard == (state % 2 == 0 ? expected : 0))
          #expect((rotation != nil) == (state % 2 == 0))
        case .attend(_, _, _, _, let window, let mantissa, let exponent, let hadamard, _, _):
          #expect(hadamard == 16)
          let scale = log2(M_E) / Double(width).squareRoot() / Double(max(expected, 1))
          #expect(abs(scalbn(Double(mantissa), -exponent) / scale - 1) < 0x1p-16)
          #expect(window == 0)
        default: break
        }
      }
    }
  }

  @Test func aTiedHeadIsTheEmbedding() throws {
    var tiny = TinyCheckpoint()
    let tied = try contents(tiny, .rtn4)
    guard case .logits(_, let weight, _)? = tied.program.ops.last else {
      Issue.record("the last op is not logits")
      return
    }
    #expect(tied.tensors[weight].name == "embedding")
    tiny.tiedHead = false
    let own = try contents(tiny, .rtn4)
    guard case .logits(_, let head, _)? = own.program.ops.last else {
      Issue.record("the last op is not logits")
      return
    }
    #expect(own.tensors[head].name == "head")
    #expect(own.tensors.count == tied.tensors.count + 1)
  }

  @Test func limitsAreListedTogether() throws {
    var description = DecoderDescription(
      vocabularySize: 100, width: 1 << 18, feedForwardWidth: 128, layers: 2000, queryHeads: 4,
      keyValueHeads: 4, headWidth: 512, contextLength: 64, rotary: [])
    description.logitCap = 0.1
    #expect {
      try description.checkLimits()
    } throws: { error in
      guard case ConversionError.unsupported(let list) = error else { return false }
      return list.count == 4
    }
    description.width = 64
    description.headWidth = 16
    description.layers = 3
    description.logitCap = 30
    try description.checkLimits()
  }
}
