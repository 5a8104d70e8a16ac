// The split of a piece into tokens whose scores have the highest sum.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Viterbi's algorithm over the positions of a piece, from left to right.
struct UnigramLattice {
  /// Four 32-bit words for each position.
  static let bytesPerPosition = 16

  private let tokenizer: Tokenizer
  private let nodes: UnsafeMutablePointer<UInt32>  // [positions][4] score (2 words), start, token

  /// Takes `bytesPerPosition * (count + 1)` bytes at `scratch` for a piece of `count` bytes.
  init(_ tokenizer: Tokenizer, _ scratch: UnsafeMutableRawPointer, count: Int) {
    self.tokenizer = tokenizer
    nodes = scratch.bindMemory(to: UInt32.self, capacity: 4 &* (count &+ 1))
  }

  /// Appends the ids of a piece.
  func encode(
    _ text: UnsafePointer<UInt8>, _ count: Int, to sink: inout TokenSink
  ) throws(CurtaError) {
    for i in 0...count { nodes[4 &* i &+ 2] = Tokenizer.none }
    setScore(0, 0)
    let texts = tokenizer.wordTexts
    var position = 0
    while position < count {
      let length = Utf8.scalar(text + position, count &- position).length
      let score = self.score(position)
      var isAlone = false
      var walk = PrefixWalk(0, tokenizer.words.count)
      var end = position
      while end < count, walk.step(text[end], texts) {
        end &+= 1
        guard let word = walk.match(texts) else { continue }
        let own = Int64(Int32(bitPattern: tokenizer.scores[word]))
        offer(position, end, score &+ own, token: tokenizer.words[word])
        if end &- position == length { isAlone = true }
      }
      if !isAlone {
        let unknown = Int64(tokenizer.unknownScore)
        offer(position, position &+ length, score &+ unknown, token: Tokenizer.none)
      }
      position &+= length
    }
    try emit(text, count, to: &sink)
  }

  /// Takes a path to `end` if it is better than the one there; of equal ones the first stays.
  private func offer(_ start: Int, _ end: Int, _ score: Int64, token: UInt32) {
    let score = tokenizer.rounds24 ? UnigramLattice.rounded24(score) : score
    guard nodes[4 &* end &+ 2] == Tokenizer.none || score > self.score(end) else { return }
    setScore(end, score)
    nodes[4 &* end &+ 2] = UInt32(truncatingIfNeeded: start)
    nodes[4 &* end &+ 3] = token
  }

  private func score(_ position: Int) -> Int64 {
    Int64(bitPattern: UInt64(nodes[4 &* position]) | UInt64(nodes[4 &* position &+ 1]) << 32)
  }

  private func setScore(_ position: Int, _ score: Int64) {
    let bits = UInt64(bitPattern: score)
    nodes[4 &* position] = UInt32(truncatingIfNeeded: bits)
    nodes[4 &* position &+ 1] = UInt32(truncatingIfNeeded: bits >> 32)
  }

  /// The nearest number of 24 significant bits, half to even: what a sum of 32-bit floats becomes.
  static func rounded24(_ value: Int64) -> Int64 {
    let magnitude = value.magnitude
    let extra = 40 &- magnitude.leadingZeroBitCount
    guard extra > 0 else { return value }
    let shift = UInt64(extra)
    let half = UInt64(1) << (shift &- 1)
    let rest = magnitude & ((1 << shift) &- 1)
    var kept = magnitude >> shift
    if rest > half || (rest == half && kept & 1 == 1) { kept &+= 1 }
    let rounded = Int64(bitPattern: kept << shift)
    return value < 0 ? 0 &- rounded : rounded
  }

  /// The tokens of the best path in order; runs of characters without one become bytes or unknown.
  private func emit(
    _ text: UnsafePointer<UInt8>, _ count: Int, to sink: inout TokenSink
  ) throws(CurtaError) {
    // From the end to the start, each node learns where its path goes on.
    var end = count
    while end > 0 {
      let start = Int(nodes[4 &* end &+ 2])
      nodes[4 &* start] = UInt32(truncatingIfNeeded: end)
      end = start
    }
    var position = 0
    while position < count {
      let next = Int(nodes[4 &* position])
      let token = nodes[4 &* next &+ 3]
      if token != Tokenizer.none {
        try sink.append(Int32(bitPattern: token))
        position = next
        continue
      }
      var characters = 1
      var end = next
      while end < count {
        let after = Int(nodes[4 &* end])
        guard nodes[4 &* after &+ 3] == Tokenizer.none else { break }
        characters &+= 1
        end = after
      }
      try unknown(text + position, end &- position, characters, to: &sink)
      position = end
    }
  }

  private func unknown(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ characters: Int, to sink: inout TokenSink
  ) throws(CurtaError) {
    if tokenizer.hasBytes(text, count) {
      for i in 0..<count { try sink.append(Int32(bitPattern: tokenizer.byteIds[Int(text[i])])) }
    } else if tokenizer.unknown >= 0 {
      for _ in 0..<(tokenizer.fusesUnknown ? 1 : characters) { try sink.append(tokenizer.unknown) }
    }
  }
}

extension Tokenizer {
  /// Whether each of these bytes has a token.
  func hasBytes(_ text: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    for i in 0..<count where byteIds[Int(text[i])] == Tokenizer.none { return false }
    return true
  }
}
