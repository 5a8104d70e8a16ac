// The map of a normalizer: an automaton whose paths are the sources, with shared beginnings and ends.
// SPDX-License-Identifier: Apache-2.0

/// Words of the map: a node, then its edges in ascending order of their bytes.
///
/// - Node: bits 0–8 number of edges, 9–30 one more than the offset of its replacement or 0, 31 set.
/// - Edge: bits 0–22 index of the node it goes to, 23–30 byte, 31 clear.
enum MapNode {
  static func isNode(_ word: UInt32) -> Bool { word >> 31 == 1 }

  static func edges(_ word: UInt32) -> Int { Int(word & 0x1FF) }

  static func value(_ word: UInt32) -> UInt32? {
    let value = word >> 9 & 0x3F_FFFF
    return value == 0 ? nil : value &- 1
  }

  static func target(_ word: UInt32) -> Int { Int(word & 0x7F_FFFF) }

  static func byte(_ word: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: word >> 23) }
}

extension Tokenizer {
  /// The longest source that `text` begins with: offset of its replacement, and its own size.
  func longestReplacement(
    _ text: UnsafePointer<UInt8>, _ count: Int
  ) -> (offset: Int, size: Int)? {
    guard map.count > 0 else { return nil }
    var found: (offset: Int, size: Int)?
    var node = 0
    var size = 0
    while size < count, let next = mapEdge(node, text[size]) {
      node = next
      size &+= 1
      if let offset = MapNode.value(map[node]) { found = (Int(offset), size) }
    }
    return found
  }

  private func mapEdge(_ node: Int, _ byte: UInt8) -> Int? {
    var low = node &+ 1
    var high = low &+ MapNode.edges(map[node])
    while low < high {
      let middle = (low &+ high) / 2
      let edge = map[middle]
      let other = MapNode.byte(edge)
      if other == byte { return MapNode.target(edge) }
      if other < byte { low = middle &+ 1 } else { high = middle }
    }
    return nil
  }
}
