// Checks of the tables that change text: classes of characters, the map, marks and compositions.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Tokenizer {
  /// Ranges of characters ascend without overlap, and their classes are known.
  func checkRanges() throws(CurtaError) {
    try checkRanges(ranges, most: CharacterClass.dropped.rawValue)
    try checkRanges(marks, most: 255)
  }

  private func checkRanges(_ table: Words, most: UInt32) throws(CurtaError) {
    var next: UInt32 = 0
    for i in 0..<(table.count / 2) {
      let first = table[2 &* i]
      let last = table[2 &* i &+ 1] & 0xFF_FFFF
      let characterClass = table[2 &* i &+ 1] >> 24
      guard first >= next, first <= last, last <= 0x10_FFFF,
        characterClass >= 1, characterClass <= most
      else { throw bad(table, 2 &* i) }
      next = last &+ 1
    }
  }

  /// Nodes of the map lie one after the other; their edges ascend and go to later nodes only.
  mutating func checkMap() throws(CurtaError) {
    expansion = max(1, mapGrowth)
    if normalizer.has(NormalizerSteps.repair | NormalizerSteps.hangul) {
      expansion = max(expansion, 3)
    }
    if normalizer.has(NormalizerSteps.classes) { expansion &+= 2 }
    var i = 0
    while i < map.count {
      let node = map[i]
      let edges = MapNode.edges(node)
      guard MapNode.isNode(node), edges < map.count &- i else { throw bad(map, i) }
      if let offset = MapNode.value(node) {
        guard offset < mapBytes, UInt32(mapText[Int(offset)]) < mapBytes &- offset else {
          throw bad(map, i)
        }
      }
      for e in 0..<edges {
        let edge = map[i &+ 1 &+ e]
        let target = MapNode.target(edge)
        guard !MapNode.isNode(edge), target > i, target < map.count, MapNode.isNode(map[target]),
          e == 0 || MapNode.byte(map[i &+ e]) < MapNode.byte(edge)
        else { throw bad(map, i &+ 1 &+ e) }
        if i == 0 { mapStarts.insert(MapNode.byte(edge)) }
      }
      i &+= 1 &+ edges
    }
  }

  /// Compositions ascend, and none is longer in UTF-8 than the pair it is made of.
  func checkCanonical() throws(CurtaError) {
    func size(_ value: UInt32) -> Int { Utf8.encode(value) { _, _ in } }
    func isScalar(_ value: UInt32) -> Bool {
      value <= 0x10_FFFF && (value < 0xD800 || value > 0xDFFF)
    }
    for i in 0..<(compositions.count / 3) {
      let first = compositions[3 &* i]
      let second = compositions[3 &* i &+ 1]
      let composed = compositions[3 &* i &+ 2]
      let isAscending =
        i == 0 || compositions[3 &* i &- 3] < first
        || (compositions[3 &* i &- 3] == first && compositions[3 &* i &- 2] < second)
      guard isAscending, isScalar(first), isScalar(second), isScalar(composed),
        size(composed) <= size(first) &+ size(second)
      else { throw bad(compositions, 3 &* i) }
    }
  }
}
