// Byte-pair merging of one run of symbols: always the lowest rank, the leftmost of equals.
// SPDX-License-Identifier: Apache-2.0

/// Symbols as a linked list, with a tournament over the ranks of neighbouring pairs.
///
/// The result is that of the obvious loop: look at all pairs of neighbours, merge the one of the
/// lowest rank (the leftmost among equals), start again. The tournament tree makes a step
/// O(log n) instead of O(n). Everything lives in the caller's scratch.
struct MergeList {
  /// Five 32-bit words for each symbol.
  static let bytesPerSymbol = 20
  /// Rank of a symbol that cannot be merged with the next one.
  private static let noRank: UInt32 = 0xFFFF_FFFF

  private let ids: UnsafeMutablePointer<UInt32>  // [capacity] token of each symbol
  private let nexts: UnsafeMutablePointer<UInt32>  // [capacity] symbol after it, count: none
  private let previous: UnsafeMutablePointer<UInt32>  // [capacity] symbol before it
  private let ranks: UnsafeMutablePointer<UInt32>  // [capacity] rank of it and the next one
  private let winners: UnsafeMutablePointer<UInt32>  // [capacity] inner nodes of the tree, from 1
  /// Symbols before merging.
  private(set) var count = 0

  /// Takes `capacity * bytesPerSymbol` bytes at `scratch`.
  init(_ scratch: UnsafeMutableRawPointer, capacity: Int) {
    let words = scratch.bindMemory(to: UInt32.self, capacity: 5 &* capacity)
    ids = words
    nexts = words + capacity
    previous = words + 2 &* capacity
    ranks = words + 3 &* capacity
    winners = words + 4 &* capacity
  }

  mutating func removeAll() { count = 0 }

  /// Adds a symbol; the caller stays within the capacity.
  mutating func append(_ id: UInt32) {
    ids[count] = id
    nexts[count] = UInt32(truncatingIfNeeded: count &+ 1)
    previous[count] = UInt32(truncatingIfNeeded: count &- 1)
    count &+= 1
  }

  func id(_ symbol: Int) -> UInt32 { ids[symbol] }

  /// The symbol after `symbol`, or `count` after the last one.
  func next(_ symbol: Int) -> Int { Int(nexts[symbol]) }

  /// Merges until no pair of neighbours has a rank.
  func merge(by tokenizer: Tokenizer) {
    guard count > 1 else { return }
    for symbol in 0..<count { rank(symbol, tokenizer) }
    var node = count &- 1
    while node > 0 {
      winners[node] = winner(node)
      node &-= 1
    }
    while true {
      let left = Int(winners[1])
      if ranks[left] == MergeList.noRank { return }
      let right = Int(nexts[left])
      guard let merge = tokenizer.merge(ids[left], ids[right]) else { return }
      ids[left] = tokenizer.merges[3 &* merge &+ 1]
      nexts[left] = nexts[right]
      if Int(nexts[right]) < count { previous[Int(nexts[right])] = UInt32(left) }
      ranks[right] = MergeList.noRank
      update(right)
      rank(left, tokenizer)
      update(left)
      if left > 0 {
        let before = Int(previous[left])
        rank(before, tokenizer)
        update(before)
      }
    }
  }

  private func rank(_ symbol: Int, _ tokenizer: Tokenizer) {
    ranks[symbol] = MergeList.noRank
    let right = Int(nexts[symbol])
    if right < count, let merge = tokenizer.merge(ids[symbol], ids[right]) {
      ranks[symbol] = tokenizer.merges[3 &* merge &+ 2]
    }
  }

  /// The better of the two children of an inner node; node `count + i` is symbol `i`.
  private func winner(_ node: Int) -> UInt32 {
    let a = symbol(2 &* node)
    let b = symbol(2 &* node &+ 1)
    let rankA = ranks[Int(a)]
    let rankB = ranks[Int(b)]
    return rankA < rankB || (rankA == rankB && a < b) ? a : b
  }

  private func symbol(_ node: Int) -> UInt32 {
    node < count ? winners[node] : UInt32(truncatingIfNeeded: node &- count)
  }

  /// Replays the matches of a symbol whose rank has changed.
  private func update(_ symbol: Int) {
    var node = (symbol &+ count) / 2
    while node > 0 {
      let new = winner(node)
      if winners[node] == new, Int(new) != symbol { return }
      winners[node] = new
      node /= 2
    }
  }
}

extension Tokenizer {
  /// Index of the merge of two tokens, or nothing.
  func merge(_ left: UInt32, _ right: UInt32) -> Int? {
    var low = Int(mergeStart[Int(left)])
    var high = Int(mergeStart[Int(left) &+ 1])
    while low < high {
      let middle = (low &+ high) / 2
      let other = merges[3 &* middle]
      if other == right { return middle }
      if other < right { low = middle &+ 1 } else { high = middle }
    }
    return nil
  }
}
