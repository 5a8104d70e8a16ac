// What the two kinds of BPE start from: one symbol for each byte, or for each character.
// SPDX-License-Identifier: Apache-2.0

extension Tokenizer {
  /// The symbol of each byte: its token, else `unknown`, else nothing.
  func appendBytes(
    _ text: UnsafePointer<UInt8>, _ count: Int, to list: inout MergeList
  ) {
    var waiting = false
    for i in 0..<count {
      let id = byteIds[Int(text[i])]
      if id == Tokenizer.none {
        appendUnknown(&waiting, to: &list)
      } else {
        flush(&waiting, to: &list)
        list.append(id)
      }
    }
    flush(&waiting, to: &list)
  }

  /// The symbol of each character that has a token, else one for each of its bytes if they all
  /// have tokens, else `unknown`.
  func appendCharacters(
    _ text: UnsafePointer<UInt8>, _ count: Int, to list: inout MergeList
  ) {
    var waiting = false
    var position = 0
    while position < count {
      let group = text + position
      let size = CharacterGroup.length(group, count &- position)
      position &+= size
      if let id = character(CharacterGroup.key(group, size)) {
        flush(&waiting, to: &list)
        list.append(id)
      } else if hasBytes(group, size) {
        for i in 0..<size { list.append(byteIds[Int(group[i])]) }
      } else {
        appendUnknown(&waiting, to: &list)
      }
    }
    flush(&waiting, to: &list)
  }

  /// One `unknown` waits for others to become one with, until a symbol of another kind comes.
  private func appendUnknown(_ waiting: inout Bool, to list: inout MergeList) {
    if !fusesUnknown { flush(&waiting, to: &list) }
    waiting = unknown >= 0
  }

  private func flush(_ waiting: inout Bool, to list: inout MergeList) {
    if waiting { list.append(UInt32(bitPattern: unknown)) }
    waiting = false
  }

  private func character(_ key: UInt32) -> UInt32? {
    var low = 0
    var high = characters.count / 2
    while low < high {
      let middle = (low &+ high) / 2
      let other = characters[2 &* middle].byteSwapped
      if other == key { return characters[2 &* middle &+ 1] }
      if other < key { low = middle &+ 1 } else { high = middle }
    }
    return nil
  }
}

/// What llama2.c takes for a character: a byte and up to three continuation bytes after it.
enum CharacterGroup {
  /// Bytes of the group at `text[0]`, `count` ≥ 1: 1…4.
  static func length(_ text: UnsafePointer<UInt8>, _ count: Int) -> Int {
    var size = 1
    while size < 4, size < count, text[size] & 0xC0 == 0x80 { size &+= 1 }
    return size
  }

  /// The bytes of a group as a number that orders groups like their bytes.
  static func key(_ text: UnsafePointer<UInt8>, _ size: Int) -> UInt32 {
    var key: UInt32 = 0
    for i in 0..<size { key |= UInt32(text[i]) << UInt32(24 &- 8 &* i) }
    return key
  }
}
