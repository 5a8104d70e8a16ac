// Recorded GGUF files with other metadata: older files, other contexts, and nonsense.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaImport

extension GGUFFileBytes {
  /// A recorded file, to be written with changes. Integers become u32, reals f32.
  init(recorded name: String) throws {
    let file = try GGUFFile(TinyModels.recorded.path + "/\(name).gguf")
    for key in file.metadata.keys.sorted() {
      switch file.metadata[key]?.value {
      case .unsigned(let value): self[key] = .u32(Int(value))
      case .signed(let value): self[key] = .u32(Int(value))
      case .real(let value): self[key] = .f32(Float(value))
      case .bool(let value): self[key] = .bool(value)
      case .string: self[key] = .text(try file.text(key) ?? "")
      case .array(let array) where array.type == .bool:
        let flags = try file.flags(key, limit: 64) ?? []
        self[key] = .array(.bool, flags.map { [$0 ? 1 : 0] })
      default: break
      }
    }
    for tensor in file.tensors {
      let bytes = try file.file.withBytes(at: tensor.offset, count: tensor.count, of: "") {
        [UInt8]($0)
      }
      tensors.append(
        Tensor(
          name: tensor.name, dimensions: tensor.dimensions.map { UInt64($0) },
          type: tensor.type.rawValue, bytes: bytes))
    }
  }
}

@Suite struct GGUFVariantTests {
  private func load(
    _ name: String, context: Int? = nil, _ change: (inout GGUFFileBytes) throws -> Void = { _ in }
  ) throws -> DecoderSource {
    var file = try GGUFFileBytes(recorded: name)
    try change(&file)
    return try withGGUF(file.bytes) { try loadCheckpoint($0, context: context).source }
  }

  private func windows(_ source: DecoderSource) -> [Int?] {
    source.description.attention.map(\.window)
  }

  @Test func patternOfWindows() throws {
    let key = "gemma3.attention.sliding_window_pattern"
    // Older files do not say it: every sixth layer sees everything.
    #expect(try windows(load("gemma3_text") { $0[key] = nil }) == [6, 6, 6, 6])
    let recorded = try load("gemma3_text")
    #expect(windows(recorded) == [6, 6, nil, 6])
    #expect(recorded.description.attention.map(\.rotary) == [1, 1, 0, 1])
    let third = try load("gemma3_text") { $0[key] = .u32(3) }
    #expect(third.description == recorded.description)
    #expect(
      malformation { _ = try load("gemma3_text") { $0[key] = .array(.bool, [[1], [0]]) } }?.field
        == key)
    #expect(malformation { _ = try load("gemma3_text") { $0[key] = .u32(0) } }?.field == key)
    let none = try load("gemma3_text") { $0["gemma3.attention.sliding_window"] = nil }
    #expect(none.description.attention.allSatisfy { $0.window == nil && $0.rotary == 0 })
    let local = try load("gemma3_text") { $0["gemma3.rope.freq_base_swa"] = .f32(500) }
    #expect(local.description.rotary[1] == RotaryTable(base: 500, width: 8, pairing: .halfSplit))
  }

  @Test func scaleOfTheScores() throws {
    let scaled = try load("gemma3_text") { $0["gemma3.attention.scale"] = .f32(0.25) }
    #expect(scaled.description.scoreScale == 0.25)
    let list = unsupportedList {
      _ = try load("llama") { $0["llama.attention.scale"] = .f32(0.25) }
    }
    #expect(list.count == 1)
  }

  /// The short divisors up to the context before the scaling, the long ones beyond.
  @Test(arguments: [16, 17, 64])
  func divisorsByContext(_ context: Int) throws {
    let folder = TinyModels.recorded.path + "/phi3-longrope"
    let expected = try loadCheckpoint(folder, context: context).source.description
    let found = try load("phi3-longrope", context: context).description
    #expect(found.contextLength == context)
    for (a, b) in zip(found.rotary[0].frequencies, expected.rotary[0].frequencies) {
      #expect(abs(a / b - 1) < 1e-6)
    }
    #expect(abs(found.scoreScale / expected.scoreScale - 1) < 1e-6)
  }

  @Test func divisorsAreChecked() throws {
    func change(_ name: String, _ values: [Float]) -> (inout GGUFFileBytes) -> Void {
      { file in
        file.tensors.removeAll { $0.name == name }
        file.add(name, [values.count], values)
      }
    }
    let long = "rope_factors_long.weight"
    #expect(
      malformation { _ = try load("phi3-longrope", change(long, [1])) }?.reason == .wrongShape)
    #expect(
      malformation { _ = try load("phi3-longrope", change(long, [1, 0])) }?.reason == .outOfRange)
    #expect(
      malformation { _ = try load("phi3-longrope", change(long, [1, .nan])) }?.reason == .notFinite)
    let without = unsupportedList {
      _ = try load("phi3-longrope") { file in file.tensors.removeAll { $0.name == long } }
    }
    #expect(without.first?.contains("longrope without") == true)
    let plain = try load("llama").description.rotary[0].frequencies
    let divided = try load("llama", change("rope_freqs.weight", [1, 2, 4]))
    #expect(divided.description.rotary[0].frequencies == zip(plain, [1, 2, 4]).map { $0 / $1 })
    let both = unsupportedList {
      _ = try load("llama") { file in
        file["llama.rope.scaling.type"] = .text("yarn")
        file["llama.rope.scaling.factor"] = .f32(2)
        file.add("rope_freqs.weight", [3], [1, 2, 4])
      }
    }
    #expect(both.count == 1)
  }

  @Test func scalingByMetadata() throws {
    let plain = try load("llama").description
    let linear = try load("llama") { $0["llama.rope.scaling.factor"] = .f32(4) }
    #expect(linear.description.rotary[0].frequencies == plain.rotary[0].frequencies.map { $0 / 4 })
    let off = try load("llama") {
      $0["llama.rope.scaling.type"] = .text("none")
      $0["llama.rope.scaling.factor"] = .f32(4)
    }
    #expect(off.description == plain)
    let yarn = unsupportedList {
      _ = try load("gpt_neox") {
        $0["gptneox.rope.scaling.type"] = .text("yarn")
        $0["gptneox.rope.scaling.factor"] = .f32(4)
      }
    }
    #expect(yarn.first?.contains("only a part of a head turns") == true)
    let part = unsupportedList {
      _ = try load("llama") { $0["llama.rope.dimension_count"] = .u32(4) }
    }
    #expect(part.first?.contains("llama.rope.dimension_count = 4") == true)
  }

  @Test func serialResidual() throws {
    let serial = try load("gpt_neox") { $0["gptneox.use_parallel_residual"] = .bool(false) }
    #expect(!serial.description.parts.contains(.parallel))
    #expect(try load("gpt_neox").description.parts.contains(.parallel))
  }

  @Test func contextOfLearnedPositions() throws {
    #expect(try load("gpt2", context: 8).ends().positions?.rows == 32)
    #expect(unsupportedList { _ = try load("gpt2", context: 33) }.count == 1)
  }
}
