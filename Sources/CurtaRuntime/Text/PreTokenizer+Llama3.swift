// The pieces of Llama 3 and Qwen 2: one regular expression, numbers in groups of three or alone.
// SPDX-License-Identifier: Apache-2.0

extension PreTokenizer {
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*`
  /// `|\s*[\r\n]+|\s+(?!\S)|\s+`, with at most `numbers` characters in a number.
  func llama3End(from position: Int, numbers: Int) -> Int {
    if text[position] == 0x27 {
      let size = anyCaseContraction(position)
      if size > 0 { return position &+ size }
    }
    let first = character(position, count)
    let second = position &+ first.length
    if first.kind == .letter { return run(of: .letter, negated: false, from: second, to: count) }
    if first.kind == .number { return numberEnd(from: position, most: numbers) }
    let isNewline = text[position] == 0x0A || text[position] == 0x0D
    if !isNewline, second < count, character(second, count).kind == .letter {
      return run(of: .letter, negated: false, from: second, to: count)
    }
    let marks = text[position] == 0x20 ? second : position
    if marks < count, character(marks, count).kind == .other {
      var end = run(of: .other, negated: false, from: marks, to: count)
      while end < count, text[end] == 0x0A || text[end] == 0x0D { end &+= 1 }
      return end
    }
    return spaceEnd(from: position)
  }

  private func numberEnd(from position: Int, most: Int) -> Int {
    var end = position
    var left = most
    while end < count, left > 0 {
      let next = character(end, count)
      guard next.kind == .number else { break }
      end &+= next.length
      left &-= 1
    }
    return end
  }

  /// White space: up to its last line break; without one, all of it at the end of the text, else
  /// all but its last character unless that is alone.
  private func spaceEnd(from position: Int) -> Int {
    var end = position
    var last = position
    var afterBreak = position
    while end < count {
      let next = character(end, count)
      guard next.kind == .space else { break }
      last = end
      end &+= next.length
      if text[last] == 0x0A || text[last] == 0x0D { afterBreak = end }
    }
    if afterBreak > position { return afterBreak }
    return end == count || last == position ? end : last
  }

  /// Length of a contraction in any case; U+017F, the long s, is a case of s.
  private func anyCaseContraction(_ position: Int) -> Int {
    guard position &+ 1 < count else { return 0 }
    let a = text[position &+ 1] | 0x20
    switch a {
    case 0x73, 0x74, 0x6D, 0x64: return 2  // s t m d
    default: break
    }
    guard position &+ 2 < count else { return 0 }
    if text[position &+ 1] == 0xC5, text[position &+ 2] == 0xBF { return 3 }
    switch (a, text[position &+ 2] | 0x20) {
    case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return 3  // re ve ll
    default: return 0
    }
  }
}
