// From text to token ids: added tokens first, then the pieces between them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Tokenizer {
  /// Bytes of scratch that `encode` needs for a text of `n` bytes, aligned to 4.
  public func scratchBytes(forTextBytes n: Int) -> Int {
    guard kind != .word else { return 0 }
    return (min(max(n, 0), TokenizerLimits.input) &+ 1) &* MergeList.bytesPerSymbol
  }

  /// The most ids that `encode` can return for a text of `n` bytes.
  ///
  /// One per byte, one for `bos`, and one for each space that a normalizer adds: before the
  /// text, and after each added token.
  public func tokenLimit(forTextBytes n: Int) -> Int {
    let bytes = min(max(n, 0), TokenizerLimits.input)
    guard normalizer != .none else { return bytes &+ 1 }
    return added.count == 0 ? bytes &+ 2 : 2 &* bytes &+ 2
  }

  /// Writes the ids of `text` to `ids` and returns how many there are. O(n log n).
  ///
  /// - Parameters:
  ///   - text: `count` bytes, which need not be valid UTF-8.
  ///   - addBos: put `bos` first if the file says that its texts start with it.
  ///   - parseSpecial: look for control tokens in the text. Leave this off for text that comes
  ///     from outside: without it no input makes a control token.
  ///   - ids: room for `capacity` ids.
  ///   - scratch: `scratchBytes(forTextBytes: count)` bytes, aligned to 4, in any state.
  /// - Throws: `outputTooSmall` where `capacity` or `scratchBytes` is too small, `overLimit` for
  ///   more than `TokenizerLimits.input` bytes, `unaligned`, `badArgument` for negative sizes.
  public func encode(
    _ text: UnsafePointer<UInt8>, _ count: Int, addBos: Bool, parseSpecial: Bool,
    into ids: UnsafeMutablePointer<Int32>, capacity: Int,
    scratch: UnsafeMutableRawPointer, scratchBytes: Int
  ) throws(CurtaError) -> Int {
    guard count >= 0, capacity >= 0, scratchBytes >= 0 else { throw CurtaError(.badArgument) }
    guard count <= TokenizerLimits.input else { throw CurtaError(.overLimit) }
    guard scratchBytes >= self.scratchBytes(forTextBytes: count) else {
      throw CurtaError(.outputTooSmall)
    }
    guard UInt(bitPattern: scratch) & 3 == 0 else { throw CurtaError(.unaligned) }

    var sink = TokenSink(ids, capacity)
    if addBos, addsBos { try sink.append(bos) }
    var segment = 0
    if added.count > 0 {
      var position = 0
      while position < count {
        guard addedStarts.contains(text[position]),
          let id = addedToken(text + position, count &- position, control: parseSpecial)
        else {
          position &+= 1
          continue
        }
        try encodeSegment(text + segment, position &- segment, scratch, &sink)
        try sink.append(Int32(truncatingIfNeeded: id))
        position &+= length(id)
        segment = position
      }
    }
    try encodeSegment(text + segment, count &- segment, scratch, &sink)
    return sink.count
  }

  /// The longest added token that `text` starts with.
  private func addedToken(
    _ text: UnsafePointer<UInt8>, _ count: Int, control: Bool
  ) -> Int? {
    var found: Int? = nil
    var low = 0
    var high = added.count
    var size = 0
    // Invariant: exactly the entries low..<high start with text[..<size]. Of these, only the
    // first can be as short as `size`.
    while low < high {
      let id = Int(added[low])
      if length(id) == size {
        if control || entries[id] & TokenEntry.control == 0 { found = id }
        low &+= 1
        if low == high { break }
      }
      guard size < count else { break }
      low = firstAdded(low, high, at: size, above: Int(text[size]) &- 1)
      high = firstAdded(low, high, at: size, above: Int(text[size]))
      size &+= 1
    }
    return found
  }

  /// The first of the entries low..<high whose byte `index` is above `byte`, else `high`.
  private func firstAdded(_ low: Int, _ high: Int, at index: Int, above byte: Int) -> Int {
    var low = low
    var high = high
    while low < high {
      let middle = (low &+ high) / 2
      if Int(text[start(Int(added[middle])) &+ index]) > byte {
        high = middle
      } else {
        low = middle &+ 1
      }
    }
    return low
  }

  private func encodeSegment(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ scratch: UnsafeMutableRawPointer,
    _ sink: inout TokenSink
  ) throws(CurtaError) {
    guard count > 0 else { return }
    switch kind {
    case .byteBPE:
      var list = MergeList(scratch, capacity: count)
      var cut = PreTokenizer(self, text, count)
      var position = 0
      while position < count {
        let end = cut.end(from: position)
        list.removeAll()
        while position < end {
          appendByte(text[position], to: &list)
          position &+= 1
        }
        list.merge(by: self)
        try sink.append(list)
      }
    case .scoredBPE:
      var list = MergeList(scratch, capacity: count &+ 1)
      appendCharacters(text, count, to: &list)
      list.merge(by: self)
      try sink.append(list)
    case .word:
      var cut = PreTokenizer(self, text, count)
      var position = cut.skipSpace(from: 0)
      while position < count {
        let end = cut.end(from: position)
        try sink.append(word(text + position, end &- position))
        position = cut.skipSpace(from: end)
      }
    }
  }

  /// The symbol of one byte: its token, else `unknown`, else nothing.
  private func appendByte(_ byte: UInt8, to list: inout MergeList) {
    let id = byteIds[Int(byte)]
    if id != Tokenizer.none {
      list.append(id)
    } else if unknown >= 0 {
      list.append(UInt32(bitPattern: unknown))
    }
  }

  /// The symbols of a segment: one per character that has a token, else one per byte.
  private func appendCharacters(
    _ text: UnsafePointer<UInt8>, _ count: Int, to list: inout MergeList
  ) {
    if normalizer != .none { appendSpace(to: &list) }
    var position = 0
    while position < count {
      let group = text + position
      let size = CharacterGroup.length(group, count &- position)
      let key = CharacterGroup.key(group, size)
      position &+= size
      if normalizer == .prefixSpaceMetaspace, key == CharacterGroup.metaspace {
        appendSpace(to: &list)
      } else if let id = character(key) {
        list.append(id)
      } else {
        for i in 0..<size { appendByte(group[i], to: &list) }
      }
    }
  }

  private func appendSpace(to list: inout MergeList) {
    if let id = character(CharacterGroup.space) {
      list.append(id)
    } else {
      appendByte(0x20, to: &list)
    }
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

  private func word(_ text: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    var low = 0
    var high = words.count
    while low < high {
      let middle = (low &+ high) / 2
      let order = compare(Int(words[middle]), text, count)
      if order == 0 { return Int32(bitPattern: words[middle]) }
      if order < 0 { low = middle &+ 1 } else { high = middle }
    }
    return unknown
  }
}

/// The caller's array of ids, filled from the front.
struct TokenSink {
  private let ids: UnsafeMutablePointer<Int32>
  private let capacity: Int
  private(set) var count = 0

  init(_ ids: UnsafeMutablePointer<Int32>, _ capacity: Int) {
    self.ids = ids
    self.capacity = capacity
  }

  mutating func append(_ id: Int32) throws(CurtaError) {
    guard count < capacity else { throw CurtaError(.outputTooSmall) }
    ids[count] = id
    count &+= 1
  }

  mutating func append(_ list: MergeList) throws(CurtaError) {
    var i = 0
    while i < list.count {
      try append(Int32(bitPattern: list.id(i)))
      i = list.next(i)
    }
  }
}

/// What llama2.c takes for a character: a byte and up to three continuation bytes after it.
enum CharacterGroup {
  static let space: UInt32 = 0x2000_0000
  /// `▁`, U+2581: E2 96 81.
  static let metaspace: UInt32 = 0xE296_8100

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
