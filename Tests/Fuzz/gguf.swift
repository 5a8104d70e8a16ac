// Fuzz target: a GGUF file of any architecture, its weights and its tokenizer.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

private let file = MemoryFile("model.gguf")

private let seeds: [[UInt8]] = ["llama", "gemma3_text", "gpt2", "gpt_neox", "phi3-longrope"].map {
  guard
    let bytes = try? Repository.bytes("Tests/CurtaImportTests/Reference/architectures/\($0).gguf")
  else { fatalError("no recorded model \($0)") }
  return bytes
}

@c(LLVMFuzzerTestOneInput)
public func fuzzGGUF(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  file.fill(UnsafeRawBufferPointer(start: data, count: size))
  for context in [nil, 40] {
    do throws(ImportError) {
      let checkpoint = try GGUFDecoder.load(file.path, tokenizer: nil, context: context)
      readAll(checkpoint.source)
      _ = try tokenizerSection(of: checkpoint)
    } catch {
      guard !error.description.isEmpty else { fatalError("an error without a text") }
    }
  }
  return 0
}

private let interesting: [UInt64] = [
  0, 1, 2, 3, 4, 5, 8, 9, 16, 31, 32, 33, 255, 256, 1 << 16, 1 << 20, 1 << 24, 1 << 31 - 1,
  1 << 31, 1 << 32 - 1, 1 << 40, 1 << 61, 1 << 62, 1 << 63 - 1, 1 << 63, .max,
  0x7F80_0000, 0x7FC0_0000, 0x3F80_0000, 0x4000_0000, 0x0000_0001,
]

/// Numbers of the header become others, or libFuzzer chooses.
@c(LLVMFuzzerCustomMutator)
public func mutateGGUF(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 64 || random.chance(16) { bytes = random.element(seeds) }
  if random.chance(3) {
    let count = replace(data, most, with: bytes)
    return libFuzzerMutate(data, count, most)
  }
  for _ in 0...random.below(3) where !bytes.isEmpty {
    let at = random.below(random.chance(4) ? bytes.count : min(bytes.count, 3000))
    switch random.below(6) {
    case 0: bytes[at] ^= 1 << UInt8(random.below(8))
    case 1: bytes[at] = UInt8(random.below(256))
    case 2: bytes.insert(contentsOf: random.bytes(1 + random.below(8)), at: at)
    case 3: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(8)))
    default:
      let value = random.element(interesting)
      for i in 0..<random.element([1, 4, 8]) where at + i < bytes.count {
        bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i))
      }
    }
  }
  return replace(data, most, with: bytes)
}
