// WordPiece: a word is cut into the longest tokens from left to right, or is unknown as a whole.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Tokenizer {
  /// Appends the ids of one word; tokens inside of it are those that begin with `##`.
  func wordPieces(
    _ text: UnsafePointer<UInt8>, _ count: Int, to sink: inout TokenSink
  ) throws(CurtaError) {
    let before = sink.count
    var position = 0
    var characters = 0
    while position < count, characters <= wordLimit {
      position &+= Utf8.scalar(text + position, count &- position).length
      characters &+= 1
    }
    var isWhole = characters <= wordLimit
    position = 0
    while isWhole, position < count {
      if let (word, size) = longest(text + position, count &- position, inside: position > 0) {
        try sink.append(Int32(bitPattern: words[word]))
        position &+= size
      } else {
        isWhole = false
      }
    }
    guard !isWhole else { return }
    sink.remove(downTo: before)
    try sink.append(unknown)
  }

  private func longest(
    _ text: UnsafePointer<UInt8>, _ count: Int, inside: Bool
  ) -> (word: Int, size: Int)? {
    let texts = wordTexts
    var walk = PrefixWalk(0, words.count)
    if inside {
      guard walk.step(0x23, texts), walk.step(0x23, texts) else { return nil }
    }
    var found: (word: Int, size: Int)?
    var size = 0
    while size < count, walk.step(text[size], texts) {
      size &+= 1
      if let word = walk.match(texts) { found = (word, size) }
    }
    return found
  }
}
