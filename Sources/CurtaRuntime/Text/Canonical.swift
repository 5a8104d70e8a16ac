// Canonical ordering and composition of characters (Unicode, section 3.11), tables from the file.
// SPDX-License-Identifier: Apache-2.0

/// Puts marks in their canonical order and composes characters; text without either is unchanged.
struct Canonical {
  /// Bytes of work beyond those of the text: a slot for a character, and 256 counters.
  static let extraBytes = 8 + 4 * 256

  private let tokenizer: Tokenizer
  private let counters: UnsafeMutablePointer<UInt32>  // [256]
  private let copy: UnsafeMutablePointer<UInt8>  // [capacity + 4]

  /// `work` is aligned to 4 and has `capacity + extraBytes` bytes.
  init(_ tokenizer: Tokenizer, _ work: UnsafeMutableRawPointer, _ capacity: Int) {
    self.tokenizer = tokenizer
    counters = work.bindMemory(to: UInt32.self, capacity: 256)
    copy = (work + 1024).bindMemory(to: UInt8.self, capacity: capacity &+ 8)
  }

  /// Changes `count` bytes in place and returns how many are left.
  func run(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    if tokenizer.marks.count > 0 { reorder(bytes, count) }
    return tokenizer.compositions.count > 0 ? compose(bytes, count) : count
  }

  // MARK: - Order

  private func reorder(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
    var position = 0
    while position < count {
      let start = position
      var last: UInt32 = 0
      var isOrdered = true
      while position < count {
        let (value, length) = Utf8.scalar(bytes + position, count &- position)
        let mark = tokenizer.markClass(value)
        guard mark > 0 else {
          if position == start { position &+= length }
          break
        }
        isOrdered = isOrdered && last <= mark
        last = mark
        position &+= length
      }
      if !isOrdered { sort(bytes + start, position &- start) }
    }
  }

  /// Stable counting sort of a run of marks by their class: O(run + 256).
  private func sort(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
    for i in 0..<256 { counters[i] = 0 }
    var position = 0
    while position < count {
      let (value, length) = Utf8.scalar(bytes + position, count &- position)
      counters[Int(tokenizer.markClass(value))] &+= UInt32(truncatingIfNeeded: length)
      position &+= length
    }
    var sum: UInt32 = 0
    for i in 0..<256 {
      let size = counters[i]
      counters[i] = sum
      sum &+= size
    }
    position = 0
    while position < count {
      let (value, length) = Utf8.scalar(bytes + position, count &- position)
      let mark = Int(tokenizer.markClass(value))
      let target = Int(counters[mark])
      for i in 0..<length { copy[target &+ i] = bytes[position &+ i] }
      counters[mark] &+= UInt32(truncatingIfNeeded: length)
      position &+= length
    }
    for i in 0..<count { bytes[i] = copy[i] }
  }

  // MARK: - Composition

  private func compose(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    var position = 0
    var end = 0
    while position < count {
      let (value, length) = Utf8.scalar(bytes + position, count &- position)
      if value == Utf8.invalid || tokenizer.markClass(value) > 0 {
        for i in 0..<length { copy[end &+ i] = bytes[position &+ i] }
        position &+= length
        end &+= length
        continue
      }
      // A starter, in a slot of four bytes, and what follows until the next starter.
      position &+= length
      var starter = value
      let slot = end
      end &+= 4
      var last: UInt32 = 0
      while position < count {
        let (next, size) = Utf8.scalar(bytes + position, count &- position)
        guard next != Utf8.invalid else { break }
        let mark = tokenizer.markClass(next)
        let isBlocked = end > slot &+ 4 && last >= mark
        if !isBlocked, let composed = tokenizer.composed(starter, next) {
          starter = composed
        } else if mark == 0 {
          break
        } else {
          for i in 0..<size { copy[end &+ i] = bytes[position &+ i] }
          end &+= size
          last = mark
        }
        position &+= size
      }
      let room = Utf8.encode(starter) { i, byte in copy[slot &+ i] = byte }
      if room < 4 {
        for i in (slot &+ 4)..<end { copy[i &- 4 &+ room] = copy[i] }
        end &-= 4 &- room
      }
    }
    for i in 0..<end { bytes[i] = copy[i] }
    return end
  }
}

/// Syllables of Hangul, which Unicode computes instead of listing (section 3.12).
enum Hangul {
  static func isSyllable(_ value: UInt32) -> Bool { value >= 0xAC00 && value < 0xAC00 + 11172 }

  static func jamo(_ syllable: UInt32) -> (lead: UInt32, vowel: UInt32, tail: UInt32?) {
    let index = syllable &- 0xAC00
    let tail = index % 28
    return (0x1100 &+ index / 588, 0x1161 &+ index % 588 / 28, tail == 0 ? nil : 0x11A7 &+ tail)
  }

  static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= 0x1100, first < 0x1113, second >= 0x1161, second < 0x1176 {
      return 0xAC00 &+ ((first &- 0x1100) &* 21 &+ (second &- 0x1161)) &* 28
    }
    if isSyllable(first), (first &- 0xAC00) % 28 == 0, second > 0x11A7, second < 0x11C3 {
      return first &+ (second &- 0x11A7)
    }
    return nil
  }
}

extension Tokenizer {
  /// Canonical combining class, 0 for a starter and for what is no character.
  func markClass(_ value: UInt32) -> UInt32 {
    Tokenizer.range(value, in: marks)
  }

  /// The character that a pair is composed to.
  func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if let syllable = Hangul.composed(first, second) { return syllable }
    var low = 0
    var high = compositions.count / 3
    while low < high {
      let middle = (low &+ high) / 2
      let a = compositions[3 &* middle]
      let b = compositions[3 &* middle &+ 1]
      if a == first, b == second { return compositions[3 &* middle &+ 2] }
      if a < first || (a == first && b < second) { low = middle &+ 1 } else { high = middle }
    }
    return nil
  }

  /// The top byte of the range that holds `value`; 0 outside of all.
  static func range(_ value: UInt32, in table: Words) -> UInt32 {
    var low = 0
    var high = table.count / 2
    while low < high {
      let middle = (low &+ high) / 2
      if table[2 &* middle] <= value { low = middle &+ 1 } else { high = middle }
    }
    guard low > 0 else { return 0 }
    let word = table[2 &* low &- 1]
    return value <= word & 0xFF_FFFF ? word >> 24 : 0
  }
}
