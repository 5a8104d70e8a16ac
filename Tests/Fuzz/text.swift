// Fuzz target: a tokenizer section, and a text encoded and decoded with it.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime
import Foundation

/// The last byte is the size of the text, which lies before it; the rest is the section.
@c(LLVMFuzzerTestOneInput)
public func fuzzText(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  guard let data, size > 1 else { return 0 }
  let textSize = min(Int(data[size - 1]), size - 1)
  let sectionSize = size - 1 - textSize
  let section = [UInt8](UnsafeBufferPointer(start: data, count: sectionSize))
  let text = UnsafeMutablePointer<UInt8>.allocate(capacity: max(textSize, 1))
  defer { text.deallocate() }
  memcpy(text, data + sectionSize, textSize)
  withAligned(section) { memory in
    guard
      let tokenizer = try? Tokenizer(ByteView(UnsafeRawPointer(memory), count: sectionSize))
    else { return }
    for special in [false, true] { use(tokenizer, text, textSize, special) }
  }
  return 0
}

private func use(
  _ tokenizer: Tokenizer, _ text: UnsafePointer<UInt8>, _ count: Int, _ special: Bool
) {
  let room = tokenizer.tokenLimit(forTextBytes: count)
  let size = tokenizer.scratchBytes(forTextBytes: count)
  let ids = UnsafeMutablePointer<Int32>.allocate(capacity: max(room, 1))
  let scratch = UnsafeMutableRawPointer.allocate(byteCount: max(size, 1), alignment: 64)
  let out = UnsafeMutablePointer<UInt8>.allocate(capacity: 4096)
  defer {
    ids.deallocate()
    scratch.deallocate()
    out.deallocate()
  }
  var found: [[Int32]] = []
  for fill: Int32 in [0xA5, 0x5A] {
    memset(scratch, fill, size)
    do throws(CurtaError) {
      let made = try tokenizer.encode(
        text, count, addBos: true, parseSpecial: special, into: ids, capacity: room,
        scratch: scratch, scratchBytes: size)
      guard made >= 0, made <= room else { fatalError("\(made) ids in room for \(room)") }
      found.append(Array(UnsafeBufferPointer(start: ids, count: made)))
    } catch {
      // The room and the scratch are what the tokenizer asked for; a map that makes more of a text
      // than its section says is found out here.
      guard error.status == .overLimit else { fatalError("encode: \(error)") }
      return
    }
  }
  guard found[0] == found[1] else { fatalError("scratch shows in the ids") }
  var decoder = TokenDecoder(tokenizer, atStart: true)
  for id in found[0] {
    do throws(CurtaError) {
      guard try decoder.decode(id, into: out, capacity: 4096) <= 4096 else { fatalError("room") }
    } catch {
      fatalError("decode of \(id): \(error)")
    }
  }
}

/// Starts from the sections that the tests make by hand; then fields, bytes, or libFuzzer's choice.
@c(LLVMFuzzerCustomMutator)
public func mutateText(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  if size < 64 {
    let text = Array(random.element(["", "a", "the cat <s>ab", " \u{E9}\u{20AC}  12\n\nx"]).utf8)
    let bytes = random.element(SectionBuilder.all).bytes() + text + [UInt8(text.count)]
    guard bytes.count <= most else { return size }
    memcpy(data, bytes, bytes.count)
    return bytes.count
  }
  guard random.chance(2) else { return libFuzzerMutate(data, size, most) }
  for _ in 0...random.below(3) {
    let at = 4 * random.below(random.chance(2) ? 16 : size / 4)
    var word = UnsafeRawPointer(data).loadUnaligned(fromByteOffset: at, as: UInt32.self)
    switch random.below(5) {
    case 0: word &+= 1
    case 1: word &-= 1
    case 2: word ^= 1 << UInt32(random.below(32))
    case 3: word = UInt32(random.below(300))
    default: word = UInt32(truncatingIfNeeded: random.next())
    }
    UnsafeMutableRawPointer(data).storeBytes(of: word, toByteOffset: at, as: UInt32.self)
  }
  return size
}
