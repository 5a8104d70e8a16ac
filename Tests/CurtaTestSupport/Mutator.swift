// Structure-aware mutation: changes what a file says and makes its hashes right again.
// SPDX-License-Identifier: Apache-2.0

/// Changes one to four things in a file, mostly one.
public struct Mutator {
  public var random: SeededRandom

  public init(_ random: SeededRandom) { self.random = random }

  private static let interesting: [UInt64] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 23, 24, 30, 31, 32, 33, 62, 63, 64]
    + [65, 127, 128, 255, 256, 257, 1023, 1024, 1025, 2048, 2049, 16384, 16385, 32767, 32768]
    + [65535, 65536, 65537, 1 << 17, 1 << 17 + 1, 1 << 20, 1 << 20 + 1, 1 << 24, 1 << 24 + 1]
    + [1 << 31 - 1, 1 << 31, 1 << 32 - 1, 1 << 32 - 64, 1 << 26, 1 << 27, 1 << 28, 0xFFFF_FFFE]

  /// A changed file; `bytes` is one that `FileParts` can take apart, else raw bytes are changed.
  public mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
    guard var parts = FileParts(bytes), !parts.sections.isEmpty else { return raw(bytes) }
    for _ in 0...(random.chance(3) ? random.below(4) : 0) { change(&parts) }
    var result = parts.assemble()
    if random.chance(8) { result = directory(result) }
    if random.chance(40) { result = raw(result) }
    return result
  }

  /// Flips, overwrites, inserts or cuts bytes anywhere, then fixes hashes.
  private mutating func raw(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...random.below(3) where !bytes.isEmpty {
      let at = random.below(bytes.count)
      switch random.below(4) {
      case 0: bytes[at] ^= 1 << UInt8(random.below(8))
      case 1: bytes[at] = UInt8(random.below(256))
      case 2: bytes.removeLast(min(bytes.count, 1 + random.below(64)))
      default: bytes.insert(contentsOf: random.bytes(1 + random.below(8)), at: at)
      }
    }
    FileParts.fixHashes(&bytes)
    return bytes
  }

  /// Changes a field of the directory.
  private mutating func directory(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    let count = Int(bytes.number(12, 4))
    let at = 64 + 48 * random.below(count) + 4 * random.below(10)
    let word = value(like: bytes.number(at, 4))
    bytes.put(at, 4, word)
    FileParts.fixHashes(&bytes)
    return bytes
  }

  private mutating func value(like x: UInt64) -> UInt64 {
    switch random.below(6) {
    case 0: return x ^ 1 << UInt64(random.below(32))
    case 1: return x &+ 1
    case 2: return x &- 1
    case 3: return UInt64(random.below(16))
    case 4: return random.next()
    default: return random.element(Mutator.interesting)
    }
  }

  private mutating func change(_ parts: inout FileParts) {
    let program = parts.index(ofKind: 4)
    let tensors = parts.index(ofKind: 3)
    switch random.below(12) {
    case 0...3: if let program { word(&parts.sections[program], from: 0) }
    case 4: if let program { operations(&parts.sections[program]) }
    case 5: if let program { likely(&parts.sections[program]) }
    case 6: if let tensors { descriptor(&parts.sections[tensors]) }
    case 7:
      if let tensors {
        random.chance(2)
          ? descriptor(&parts.sections[tensors]) : modifier(&parts.sections[tensors])
      }
    case 8: payload(&parts.sections[random.below(parts.sections.count)])
    case 9: encode(&parts.sections[random.below(parts.sections.count)])
    case 10:
      let i = random.below(parts.sections.count)
      let j = random.below(parts.sections.count)
      switch random.below(4) {
      case 0: parts.sections.swapAt(i, j)
      case 1: parts.sections[i].size ^= 1
      default: if let program { likely(&parts.sections[program]) }
      }
    default:
      if let metadata = parts.index(ofKind: 1) { payload(&parts.sections[metadata]) }
    }
  }

  /// Overwrites a u32 of a section, sometimes with another word of it.
  private mutating func word(_ section: inout FileParts.Section, from: Int) {
    let words = (section.stored.count - from) / 4
    guard words > 0 else { return }
    let at = from + 4 * random.below(words)
    if random.chance(3) {
      section.stored.put(at, 4, section.stored.number(from + 4 * random.below(words), 4))
    } else {
      section.stored.put(at, 4, value(like: section.stored.number(at, 4)))
    }
  }

  /// Swaps, repeats or drops ops, keeping the count right.
  private mutating func operations(_ section: inout FileParts.Section) {
    guard section.stored.count >= 32 else { return }
    let before = 32 + 32 * Int(section.stored.number(0, 4) + section.stored.number(4, 4))
    let count = (section.stored.count - before) / 64
    guard before < section.stored.count, count > 0 else { return }
    let i = before + 64 * random.below(count)
    let j = before + 64 * random.below(count)
    let op = Array(section.stored[i..<i + 64])
    switch random.below(3) {
    case 0:
      section.stored.replaceSubrange(i..<i + 64, with: section.stored[j..<j + 64])
      section.stored.replaceSubrange(j..<j + 64, with: op)
      return
    case 1: section.stored.insert(contentsOf: op, at: j)
    default: section.stored.removeSubrange(i..<i + 64)
    }
    section.stored.put(8, 4, UInt64((section.stored.count - before) / 64))
  }

  /// Changes that often leave the program valid: context, slots, fractions, window, scale, flags.
  private mutating func likely(_ section: inout FileParts.Section) {
    guard section.stored.count >= 32 else { return }
    let buffers = Int(section.stored.number(0, 4))
    let before = 32 + 32 * Int(section.stored.number(0, 4) + section.stored.number(4, 4))
    let count = (section.stored.count - before) / 64
    guard buffers > 0, before < section.stored.count, count > 0 else { return }
    let buffer = 32 + 32 * random.below(buffers)
    let op = before + 64 * random.below(count)
    guard buffer + 32 <= section.stored.count else { return }
    switch random.below(6) {
    case 0: section.stored.put(16, 4, UInt64(1 + random.below(100)))
    case 1: section.stored.put(buffer + 20, 4, UInt64(random.below(8)))
    case 2: section.stored.put(buffer + 16, 4, UInt64(random.below(31)))
    case 3: section.stored.put(buffer + 12, 4, UInt64(1 << random.below(4)))
    default:
      let block = random.chance(3) ? 0 : UInt64(2 << random.below(8))  // of a Hadamard
      switch section.stored.number(op, 4) {
      case 1: section.stored.put(op + 12, 4, block)
      case 2:
        section.stored.put(op + 20, 4, random.next())
        section.stored.put(op + 24, 4, UInt64(random.below(256)))
        section.stored.put(op + 28, 4, block)
      case 5, 6:
        section.stored.put(op + 20, 4, block)
        if section.stored.number(op + 12, 4) != 0xFFFF_FFFF {
          section.stored.put(op + 16, 4, UInt64(1 + random.below(2)))
        }
      case 7:
        section.stored.put(op + 20, 4, UInt64(random.below(6)))
        section.stored.put(op + 24, 4, UInt64(32768 + random.below(32768)))
        section.stored.put(op + 28, 4, UInt64(bitPattern: Int64(random.below(129) - 64)))
        section.stored.put(op + 32, 4, block)
      case 8: section.stored.put(op + 20, 4, block)
      default: section.stored.put(op + 4 * (1 + random.below(4)), 4, UInt64(random.below(14)))
      }
    }
  }

  /// A field of a tensor's descriptor, mostly its exponent.
  private mutating func descriptor(_ section: inout FileParts.Section) {
    guard section.stored.count >= 80 else { return }
    let count = max(1, min(Int(section.stored.number(0, 4)), (section.stored.count - 16) / 64))
    let at = 16 + 64 * random.below(count)
    switch random.below(4) {
    case 0, 1: section.stored.put(at + 24, 4, UInt64(bitPattern: Int64(random.below(131) - 65)))
    case 2: section.stored.put(at + 18, 1, UInt64(random.below(9)))
    default: word(&section, from: 0)
    }
  }

  /// A field of a modifier record where there is one.
  private mutating func modifier(_ section: inout FileParts.Section) {
    guard section.stored.count >= 80 else { return descriptor(&section) }
    let first = 16 + 64 * Int(section.stored.number(0, 4))
    let count = Int(section.stored.number(4, 4))
    guard count > 0, first + 16 * count <= section.stored.count else { return descriptor(&section) }
    let at = first + 16 * random.below(count)
    switch random.below(4) {
    case 0: section.stored.put(at + 2, 2, UInt64(random.below(5)))
    case 1: section.stored.put(at + 8, 4, value(like: section.stored.number(at + 8, 4)))
    case 2: section.stored.put(at + 12, 4, value(like: section.stored.number(at + 12, 4)))
    default: section.stored.put(at + 4 * random.below(4), 4, random.next())
    }
  }

  /// Bytes of a payload, or its length.
  private mutating func payload(_ section: inout FileParts.Section) {
    guard !section.stored.isEmpty else { return }
    switch random.below(5) {
    case 0: section.stored = random.bytes(section.stored.count)
    case 1:
      let byte = random.element([0, 0x7F, 0x80, 0x81, 0xFF] as [UInt8])
      section.stored = [UInt8](repeating: byte, count: section.stored.count)
    case 2 where random.chance(4):
      let n = 1 + random.below(9)
      if random.chance(2) {
        section.stored += random.bytes(n)
      } else {
        section.stored.removeLast(min(n, section.stored.count))
      }
      if section.codec == 0 { section.size = UInt64(section.stored.count) }
    default:
      for _ in 0...random.below(8) {
        section.stored[random.below(section.stored.count)] = UInt8(random.below(256))
      }
    }
  }

  /// Stores a section through another codec, sometimes wrongly.
  private mutating func encode(_ section: inout FileParts.Section) {
    guard section.codec == 0 else { return payload(&section) }
    section.size = UInt64(section.stored.count)
    section.codec = UInt64(random.below(2)) == 0 ? 1 : 2
    section.stored = section.codec == 1 ? zstdRaw(section.stored) : lz4Literals(section.stored)
    if random.chance(3) { payload(&section) }
  }
}
