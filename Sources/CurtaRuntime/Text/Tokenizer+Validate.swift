// Every check of a tokenizer section beyond its sizes: one function per table, each one pass.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Tokenizer {
  /// Byte offset of word `i` of `table` in the section, for errors.
  private func offset(_ table: Words, _ i: Int) -> Int {
    (table.base - entries.base) &+ TokenizerHeader.size &+ 4 &* i
  }

  func bad(_ table: Words, _ i: Int) -> CurtaError { Tokenizer.bad(offset(table, i)) }

  private func isToken(_ id: UInt32) -> Bool { id < UInt32(vocabularySize) }

  /// Whether plain text may become `id`: a token of the vocabulary that is no control token.
  private func isPlain(_ id: UInt32) -> Bool {
    isToken(id) && entries[Int(id)] & TokenEntry.control == 0
  }

  /// Fields that must agree with each other.
  func checkHeader() throws(CurtaError) {
    typealias Field = TokenizerHeader
    let size = Int32(truncatingIfNeeded: vocabularySize)
    guard size > 0 else { throw Tokenizer.bad(Field.vocabulary) }
    guard bos >= -1, bos < size else { throw Tokenizer.bad(Field.bos) }
    guard eos >= -1, eos < size else { throw Tokenizer.bad(Field.eos) }
    guard (!addsBos || bos >= 0) && (!addsEos || eos >= 0) else {
      throw Tokenizer.bad(Field.flags)
    }
    guard !rounds24 || kind == .unigram, !takesWholePieces || kind.hasMerges else {
      throw Tokenizer.bad(Field.flags)
    }
    guard unknown >= -1, unknown < size else { throw Tokenizer.bad(Field.unknown) }
    let cutsAllowed =
      switch kind {
      case .byteBPE: pretokenizer != .whitespace && pretokenizer != .bert
      case .scoredBPE, .unigram: pretokenizer == .none || pretokenizer == .spaces
      case .word, .wordPiece: pretokenizer == .whitespace || pretokenizer == .bert
      }
    guard cutsAllowed else { throw Tokenizer.bad(Field.pretokenizer) }
    let usesWords = kind == .word || kind == .unigram || kind == .wordPiece || takesWholePieces
    guard unknown >= 0 || (kind != .word && kind != .wordPiece) else {
      throw Tokenizer.bad(Field.unknown)
    }
    guard kind == .unigram || unknownScore == 0 else { throw Tokenizer.bad(Field.unknownScore) }
    guard kind == .wordPiece || wordLimit == 0 else { throw Tokenizer.bad(Field.wordLimit) }
    guard kind == .scoredBPE || characters.count == 0 else {
      throw Tokenizer.bad(Field.characters)
    }
    guard usesWords || words.count == 0 else { throw Tokenizer.bad(Field.words) }
    guard kind.hasMerges || merges.count == 0 else { throw Tokenizer.bad(Field.merges) }
  }

  /// Offsets ascend from 0 to the end of the text; lengths and flags are in range; ends ascend.
  func checkTokens() throws(CurtaError) {
    guard entries[0] & TokenEntry.offsetMask == 0 else { throw bad(entries, 0) }
    var marked = 0
    for id in 0..<vocabularySize {
      let first = entries[id] & TokenEntry.offsetMask
      let next = entries[id &+ 1] & TokenEntry.offsetMask
      guard first <= next, next &- first <= TokenizerLimits.tokenBytes else {
        throw bad(entries, id)
      }
      let isAdded = entries[id] & TokenEntry.added != 0
      guard isAdded || entries[id] & TokenEntry.control == 0 else { throw bad(entries, id) }
      if isAdded { marked &+= 1 }
    }
    guard entries[vocabularySize] == textBytes else { throw bad(entries, vocabularySize) }
    guard marked == added.count else { throw Tokenizer.bad(TokenizerHeader.added) }
    for i in 0..<ends.count {
      guard isToken(ends[i]), i == 0 || ends[i &- 1] < ends[i] else { throw bad(ends, i) }
    }
  }

  /// Added tokens are marked as such and ascend by their text in each of the two groups.
  mutating func checkAdded() throws(CurtaError) {
    for i in 0..<added.count {
      let entry = added[i]
      let own = entry & AddedEntry.idMask
      guard entry >> 26 == 0, isToken(own) else { throw bad(added, i) }
      let id = Int(own)
      let size = length(id)
      guard entries[id] & TokenEntry.added != 0, size > 0,
        size <= Int(TokenizerLimits.addedBytes),
        i == 0 || i == rawAdded || isBefore(added[i &- 1] & AddedEntry.idMask, id)
      else { throw bad(added, i) }
      if i < rawAdded {
        addedStarts.insert(text[start(id)])
      } else {
        normalizedStarts.insert(text[start(id)])
      }
    }
  }

  /// Byte tokens are their byte; character tokens are their group of at most four bytes.
  func checkCharacters() throws(CurtaError) {
    for byte in 0..<byteIds.count where byteIds[byte] != Tokenizer.none {
      guard isPlain(byteIds[byte]) else { throw bad(byteIds, byte) }
      let id = Int(byteIds[byte])
      guard length(id) == 1, Int(text[start(id)]) == byte else { throw bad(byteIds, byte) }
    }
    for i in 0..<(characters.count / 2) {
      let key = characters[2 &* i].byteSwapped
      guard isPlain(characters[2 &* i &+ 1]) else { throw bad(characters, 2 &* i &+ 1) }
      let id = Int(characters[2 &* i &+ 1])
      let size = length(id)
      guard size >= 1, size <= 4, key == CharacterGroup.key(text + start(id), size),
        CharacterGroup.length(text + start(id), size) == size,
        i == 0 || characters[2 &* i &- 2].byteSwapped < key
      else { throw bad(characters, 2 &* i) }
    }
  }

  /// Words are plain tokens and ascend by their text.
  func checkWords() throws(CurtaError) {
    for i in 0..<words.count {
      guard isPlain(words[i]) else { throw bad(words, i) }
      let id = Int(words[i])
      guard length(id) > 0, i == 0 || isBefore(words[i &- 1], id) else { throw bad(words, i) }
    }
  }

  /// Merges ascend by left and right id, and each makes a token of exactly both texts.
  func checkMerges() throws(CurtaError) {
    guard mergeStart.count > 0 else { return }
    guard mergeStart[0] == 0 else { throw bad(mergeStart, 0) }
    let count = UInt32(truncatingIfNeeded: merges.count / 3)
    for left in 0..<vocabularySize {
      let first = mergeStart[left]
      let end = mergeStart[left &+ 1]
      guard first <= end, end <= count else { throw bad(mergeStart, left &+ 1) }
      for i in Int(first)..<Int(end) {
        let right = merges[3 &* i]
        guard isToken(right), i == Int(first) || merges[3 &* i &- 3] < right else {
          throw bad(merges, 3 &* i)
        }
        guard isPlain(merges[3 &* i &+ 1]),
          isJoin(left, Int(right), Int(merges[3 &* i &+ 1]))
        else { throw bad(merges, 3 &* i &+ 1) }
        guard merges[3 &* i &+ 2] < TokenizerLimits.rank else {
          throw bad(merges, 3 &* i &+ 2)
        }
      }
    }
    guard mergeStart[vocabularySize] == count else { throw bad(mergeStart, vocabularySize) }
  }

  private func isBefore(_ a: UInt32, _ b: Int) -> Bool {
    compare(Int(a), text + start(b), length(b)) < 0
  }

  /// Whether the text of `merged` is that of `left`, then that of `right`, neither empty.
  private func isJoin(_ left: Int, _ right: Int, _ merged: Int) -> Bool {
    let leftSize = length(left)
    let rightSize = length(right)
    guard leftSize > 0, rightSize > 0, leftSize &+ rightSize == length(merged) else {
      return false
    }
    let whole = text + start(merged)
    return Tokenizer.isEqual(whole, text + start(left), leftSize)
      && Tokenizer.isEqual(whole + leftSize, text + start(right), rightSize)
  }

  /// Whether `count` bytes are equal; eight at a time.
  private static func isEqual(
    _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    let p = UnsafeRawPointer(a)
    let q = UnsafeRawPointer(b)
    var i = 0
    while i &+ 8 <= count {
      guard
        p.loadUnaligned(fromByteOffset: i, as: UInt64.self)
          == q.loadUnaligned(fromByteOffset: i, as: UInt64.self)
      else { return false }
      i &+= 8
    }
    while i < count {
      if a[i] != b[i] { return false }
      i &+= 1
    }
    return true
  }
}
