// Texts in ascending order, and all of them that another text begins with.
// SPDX-License-Identifier: Apache-2.0

/// A table of texts, no two equal, ascending byte by byte.
protocol SortedTexts {
  /// Text `i` of the table and its size in bytes.
  func text(_ i: Int) -> (start: UnsafePointer<UInt8>, count: Int)
}

/// Goes through a text byte by byte and keeps the table entries that begin with what it has seen.
///
/// A step is two binary searches in what is left, so that no index besides the order is needed.
struct PrefixWalk {
  // Invariant: exactly the entries low..<high begin with the bytes seen. Of these, only the
  // first can be no longer than that.
  private var low: Int
  private var high: Int
  private var size = 0

  /// Starts with the entries low..<high.
  init(_ low: Int, _ high: Int) {
    self.low = low
    self.high = high
  }

  /// The entry that equals the bytes seen.
  func match(_ texts: some SortedTexts) -> Int? {
    low < high && texts.text(low).count == size ? low : nil
  }

  /// Takes one more byte; false where no entry begins with it.
  mutating func step(_ byte: UInt8, _ texts: some SortedTexts) -> Bool {
    if low < high, texts.text(low).count == size { low &+= 1 }
    low = first(above: Int(byte) &- 1, texts)
    high = first(above: Int(byte), texts)
    size &+= 1
    return low < high
  }

  /// The first entry whose next byte is above `byte`, else `high`.
  private func first(above byte: Int, _ texts: some SortedTexts) -> Int {
    var low = low
    var high = high
    while low < high {
      let middle = (low &+ high) / 2
      if Int(texts.text(middle).start[size]) > byte { high = middle } else { low = middle &+ 1 }
    }
    return low
  }
}

/// Token texts in the order of a table of ids.
struct TokenTexts: SortedTexts {
  let ids: Words  // [count] id, and flags above `mask`
  let mask: UInt32
  let entries: Words
  let bytes: UnsafePointer<UInt8>

  func text(_ i: Int) -> (start: UnsafePointer<UInt8>, count: Int) {
    let id = Int(ids[i] & mask)
    let start = Int(entries[id] & TokenEntry.offsetMask)
    return (bytes + start, Int(entries[id &+ 1] & TokenEntry.offsetMask) &- start)
  }
}

extension Tokenizer {
  var addedTexts: TokenTexts {
    TokenTexts(ids: added, mask: AddedEntry.idMask, entries: entries, bytes: text)
  }

  var wordTexts: TokenTexts {
    TokenTexts(ids: words, mask: UInt32.max, entries: entries, bytes: text)
  }

  /// Index in `words` of the token whose bytes these are.
  func word(_ other: UnsafePointer<UInt8>, _ count: Int) -> Int? {
    var low = 0
    var high = words.count
    while low < high {
      let middle = (low &+ high) / 2
      let order = compare(Int(words[middle]), other, count)
      if order == 0 { return middle }
      if order < 0 { low = middle &+ 1 } else { high = middle }
    }
    return nil
  }
}
