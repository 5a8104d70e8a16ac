// Where text may be cut before its pieces are tokenized: classes of characters and their runs.
// SPDX-License-Identifier: Apache-2.0

/// Steps through the pieces of a text; no token crosses the border of a piece.
///
/// A byte that is not part of well-formed UTF-8 is a character of class `other`.
struct PreTokenizer {
  private let tokenizer: Tokenizer
  let text: UnsafePointer<UInt8>
  let count: Int
  /// End of the stretch without a border of `digitsGPT2`; look-ahead stops here.
  private var stretch = 0

  init(_ tokenizer: Tokenizer, _ text: UnsafePointer<UInt8>, _ count: Int) {
    self.tokenizer = tokenizer
    self.text = text
    self.count = count
  }

  /// The next piece from `position` on: bytes start..<end, or nil where there is none.
  mutating func next(from position: Int) -> (start: Int, end: Int)? {
    var start = position
    if tokenizer.pretokenizer.dropsSpace {
      start = run(of: .space, negated: false, from: position, to: count)
    }
    return start < count ? (start, end(from: start)) : nil
  }

  /// End of the piece that starts at `position` < count.
  private mutating func end(from position: Int) -> Int {
    switch tokenizer.pretokenizer {
    case .none: return count
    case .whitespace: return run(of: .space, negated: true, from: position, to: count)
    case .gpt2:
      stretch = count
      return gpt2End(from: position)
    case .digitsGPT2:
      if position >= stretch {
        let first = character(position, count)
        if first.kind == .number { return position &+ first.length }
        stretch = run(of: .number, negated: true, from: position, to: count)
      }
      return gpt2End(from: position)
    case .llama3: return llama3End(from: position, numbers: 3)
    case .qwen2: return llama3End(from: position, numbers: 1)
    case .spaces:
      var end = position &+ 1
      while end < count, text[end] != 0x20 { end &+= 1 }
      return end
    case .bert:
      let first = character(position, count)
      var end = position &+ first.length
      if first.kind == .punctuation { return end }
      while end < count {
        let next = character(end, count)
        guard next.kind != .space, next.kind != .punctuation else { break }
        end &+= next.length
      }
      return end
    }
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  private func gpt2End(from position: Int) -> Int {
    if text[position] == 0x27 {
      let size = contraction(position)
      if size > 0 { return position &+ size }
    }
    var start = position
    var first = character(start, stretch)
    if text[position] == 0x20, position &+ 1 < stretch {
      let second = character(position &+ 1, stretch)
      if second.kind != .space {
        start = position &+ 1
        first = second
      }
    }
    guard first.kind == .space else {
      return run(of: first.kind, negated: false, from: start, to: stretch)
    }
    // White space: all of it at the end of the text, else all but its last character, which a
    // following piece takes, unless it is alone.
    var last = position
    var end = position
    while end < stretch {
      let next = character(end, stretch)
      guard next.kind == .space else { break }
      last = end
      end &+= next.length
    }
    return end == stretch || last == position ? end : last
  }

  /// Length of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at an apostrophe; 0 for none.
  private func contraction(_ position: Int) -> Int {
    guard position &+ 1 < stretch else { return 0 }
    let a = text[position &+ 1]
    switch a {
    case 0x73, 0x74, 0x6D, 0x64: return 2  // s t m d
    default: break
    }
    guard position &+ 2 < stretch else { return 0 }
    let b = text[position &+ 2]
    switch (a, b) {
    case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return 3  // re ve ll
    default: return 0
    }
  }

  /// End of the run of characters that are (or, negated, are not) of a class.
  func run(
    of kind: CharacterClass, negated: Bool, from position: Int, to limit: Int
  ) -> Int {
    var end = position
    while end < limit {
      let next = character(end, limit)
      guard (next.kind == kind) != negated else { break }
      end &+= next.length
    }
    return end
  }

  func character(
    _ position: Int, _ limit: Int
  ) -> (kind: CharacterClass, length: Int) {
    let (value, length) = Utf8.scalar(text + position, limit &- position)
    return (tokenizer.characterClass(value), length)
  }
}

extension PreTokenizerKind {
  /// Whether white space is in no piece.
  fileprivate var dropsSpace: Bool { self == .whitespace || self == .bert }
}

extension Tokenizer {
  /// Class of a scalar value by binary search in the ranges; `other` outside of them.
  func characterClass(_ value: UInt32) -> CharacterClass {
    CharacterClass(rawValue: Tokenizer.range(value, in: ranges)) ?? .other
  }
}
