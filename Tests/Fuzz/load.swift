// Fuzz target: a whole file is loaded and run. Inputs are mutated by structure, hashes made right.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import Foundation

@c(LLVMFuzzerTestOneInput)
public func fuzzLoad(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  FileParts.fixHashes(&bytes)
  withAligned(bytes) { file in
    // All tokens in one step on scalar kernels.
    var expected: [Int32] = []
    var tokens: [Int32] = []
    var isOfImages = false
    let ran = withSession(file, size, smallOptions(chunk: 1, kernels: 1), fill: 0xA5) {
      session, info in
      isOfImages = info.chunk == 0
      tokens = [1, 0, 5, 2].map { $0 % Int32(info.vocabulary) }
      tokens = Array(tokens.prefix(Int(info.context)))
    }
    guard ran else { return }
    if isOfImages { return runImage(file, size) }
    let chunk = UInt32(tokens.count)
    _ = withSession(file, size, smallOptions(chunk: chunk, kernels: 1), fill: 0xA5) {
      session, info in
      guard curta_step(session, tokens, tokens.count, 1) == 0 else { fatalError("step") }
      expected = lastRow(session, info, 0)
    }
    // One by one on the fastest, with weights that each step brings anew: the same bits.
    let least = leastMemory(smallOptions(chunk: 1, kernels: 0), decodingAhead: size % 2 == 0)
    _ = withSession(file, size, least, fill: 0x5A) { session, info in
      for token in tokens {
        var id = token
        guard curta_step(session, &id, 1, 1) == 0 else { fatalError("step") }
      }
      guard expected.isEmpty || lastRow(session, info, 0) == expected else {
        fatalError("steps of one token give other logits")
      }
      var sampling = curta_sampling()
      sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
      sampling.temperature = 1 << 16
      sampling.top_p = 60000
      var drawn: Int32 = -1
      guard curta_sample(session, &sampling, &drawn) == 0, drawn >= 0,
        drawn < Int32(info.vocabulary)
      else { fatalError("sample") }
      useText(session, drawn)
    }
  }
  return 0
}

/// The same with weights that each step brings anew: in turns, or ahead of the ops that read them.
private func leastMemory(_ options: curta_options, decodingAhead: Bool) -> curta_options {
  var options = options
  options.weight_limit = 1
  guard decodingAhead else { return options }
  options.threads = 2
  options.parallel = { _, task, argument, parts in
    for part in 0..<parts { task!(argument, part, parts) }
  }
  options.begin = options.parallel
  options.finish = { _ in }
  return options
}

/// A black image on scalar kernels, and on the fastest with weights brought anew: the same bits.
private func runImage(_ file: UnsafeMutableRawPointer, _ size: Int) {
  var expected: [Int32] = []
  for kernels: UInt32 in [1, 0] {
    var options = smallOptions(chunk: 1, kernels: kernels)
    if kernels == 0 { options = leastMemory(options, decodingAhead: size % 2 == 0) }
    _ = withSession(file, size, options, fill: 0xA5) {
      session, info in
      guard curta_step_images(session, 1) == 0 else { fatalError("step") }
      let row = lastRow(session, info, 0)
      guard expected.isEmpty || row == expected else { fatalError("kernels give other rows") }
      expected = row
    }
  }
}

/// Encodes and decodes with whatever tokenizer the file has.
private func useText(_ session: OpaquePointer, _ token: Int32) {
  let text = Array("ab \u{E9} <s> 12\n".utf8).map { CChar(bitPattern: $0) }
  let scratchSize = curta_encode_scratch(session, text.count)
  guard scratchSize > 0, scratchSize < 1 << 24 else { return }
  let scratch = UnsafeMutableRawPointer.allocate(byteCount: scratchSize, alignment: 64)
  defer { scratch.deallocate() }
  var ids = [Int32](repeating: 0, count: text.count + 2)
  var count = 0
  _ = curta_encode(session, text, text.count, &ids, ids.count, &count, scratch, scratchSize)
  var out = [CChar](repeating: 0, count: 4096)
  var size = 0
  for id in ids.prefix(count) + [token] {
    _ = curta_decode(session, id, &out, out.count, &size)
    _ = curta_is_end(session, id)
  }
}

@c(LLVMFuzzerCustomMutator)
public func mutateLoad(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  var random = SeededRandom(UInt64(seed))
  if random.chance(4), var parts = FileParts(bytes), !parts.sections.isEmpty {
    // libFuzzer's own mutations, which know the compared values, inside one section.
    let i = random.below(min(parts.sections.count, 6))
    var section = parts.sections[i].stored
    let count = section.count
    section += [UInt8](repeating: 0, count: 64)
    let changed = libFuzzerMutate(&section, count, section.count)
    parts.sections[i].stored = Array(section.prefix(changed))
    if parts.sections[i].codec == 0 { parts.sections[i].size = UInt64(changed) }
    bytes = parts.assemble()
  } else {
    var mutator = Mutator(random)
    bytes = mutator.mutate(bytes)
  }
  let count = min(bytes.count, most)
  memcpy(data, bytes, count)
  return count
}
