// Where added tokens stand in a text: the longest at each position, with the white space they take.
// SPDX-License-Identifier: Apache-2.0

/// Finds the added tokens of one of the two groups in a text, from left to right.
struct AddedTokens {
  private let tokenizer: Tokenizer
  private let low: Int
  private let high: Int
  private let starts: ByteSet
  private let control: Bool

  /// What was found: bytes start..<end of the text become `id`.
  struct Match {
    var start: Int
    var end: Int
    var id: Int32
  }

  /// - Parameters:
  ///   - normalized: those that are looked for after normalization, else the others.
  ///   - control: look for control tokens too.
  init(_ tokenizer: Tokenizer, normalized: Bool, control: Bool) {
    self.tokenizer = tokenizer
    self.control = control
    low = normalized ? tokenizer.rawAdded : 0
    high = normalized ? tokenizer.added.count : tokenizer.rawAdded
    starts = normalized ? tokenizer.normalizedStarts : tokenizer.addedStarts
  }

  var isEmpty: Bool { low == high }

  /// The first match that begins at `from` or later.
  func next(_ text: UnsafePointer<UInt8>, _ count: Int, from: Int) -> Match? {
    guard !isEmpty else { return nil }
    var position = from
    while position < count {
      if starts.contains(text[position]),
        let (index, size) = longest(text + position, count &- position)
      {
        let entry = tokenizer.added[index]
        var match = Match(
          start: position, end: position &+ size,
          id: Int32(bitPattern: entry & AddedEntry.idMask))
        if entry & AddedEntry.stripLeft != 0 {
          match.start = startOfSpace(text, before: position, notBefore: from)
        }
        if entry & AddedEntry.stripRight != 0 {
          match.end = endOfSpace(text, count, from: match.end)
        }
        return match
      }
      position &+= 1
    }
    return nil
  }

  /// Index and size of the longest added token that `text` starts with.
  func longest(_ text: UnsafePointer<UInt8>, _ count: Int) -> (index: Int, size: Int)? {
    let texts = tokenizer.addedTexts
    var walk = PrefixWalk(low, high)
    var found: (index: Int, size: Int)?
    var size = 0
    while size < count, walk.step(text[size], texts) {
      size &+= 1
      if let index = walk.match(texts) {
        let id = Int(tokenizer.added[index] & AddedEntry.idMask)
        if control || tokenizer.entries[id] & TokenEntry.control == 0 { found = (index, size) }
      }
    }
    return found
  }

  private func startOfSpace(
    _ text: UnsafePointer<UInt8>, before position: Int, notBefore first: Int
  ) -> Int {
    var start = position
    while start > first {
      var lead = start &- 1
      while lead > first, start &- lead < 4, text[lead] & 0xC0 == 0x80 { lead &-= 1 }
      let (value, length) = Utf8.scalar(text + lead, start &- lead)
      guard lead &+ length == start, tokenizer.characterClass(value) == .space else { break }
      start = lead
    }
    return start
  }

  private func endOfSpace(_ text: UnsafePointer<UInt8>, _ count: Int, from position: Int) -> Int {
    var end = position
    while end < count {
      let (value, length) = Utf8.scalar(text + end, count &- end)
      guard tokenizer.characterClass(value) == .space else { break }
      end &+= length
    }
    return end
  }
}
