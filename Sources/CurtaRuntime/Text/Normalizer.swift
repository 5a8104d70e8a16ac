// What a segment of text becomes before it is cut and tokenized.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Writes the normalized form of one segment to memory of the caller's scratch.
struct Normalizer {
  private let tokenizer: Tokenizer
  private let steps: NormalizerSteps
  private let bytes: UnsafeMutablePointer<UInt8>
  private let capacity: Int
  private var count = 0
  /// Size up to the last character that a strip at the end does not take.
  private var kept = 0
  /// Whether a space that comes now is one too many.
  private var afterSpace = false
  /// Whether the next character begins a word (step `words`).
  private var beginsWord = true

  /// `capacity` bytes at `bytes`.
  init(_ tokenizer: Tokenizer, _ bytes: UnsafeMutablePointer<UInt8>, capacity: Int) {
    self.tokenizer = tokenizer
    steps = tokenizer.normalizer
    self.bytes = bytes
    self.capacity = capacity
  }

  /// Normalizes a segment that is not empty; the result is bytes start..<end.
  ///
  /// - Parameters:
  ///   - isFirst: the segment begins where the text does.
  ///   - work: `count` of the segment's most bytes and `Canonical.extraBytes` for `Canonical`.
  /// - Throws: `overLimit` where the result is longer than the capacity.
  mutating func run(
    _ text: UnsafePointer<UInt8>, _ size: Int, isFirst: Bool, work: UnsafeMutableRawPointer
  ) throws(CurtaError) -> (start: Int, end: Int) {
    afterSpace = steps.has(NormalizerSteps.stripStart)
    let prefix =
      steps.has(NormalizerSteps.prefix) && (isFirst || !steps.has(NormalizerSteps.prefixFirst))
    if prefix { try append(0x20) }
    try map(text, size)
    if steps.has(NormalizerSteps.stripEnd | NormalizerSteps.trimEnd) { count = kept }
    let first = prefix ? 1 : 0
    guard count > first else { return (0, 0) }
    if tokenizer.marks.count > 0 || tokenizer.compositions.count > 0 {
      count = first &+ Canonical(tokenizer, work, capacity).run(bytes + first, count &- first)
    }
    let isSpaced = prefix && steps.has(NormalizerSteps.prefixUnlessSpace) && bytes[1] == 0x20
    return (isSpaced ? 1 : 0, count)
  }

  // MARK: - The map

  private mutating func map(_ text: UnsafePointer<UInt8>, _ size: Int) throws(CurtaError) {
    let classes = steps.has(NormalizerSteps.classes)
    var position = 0
    while position < size {
      let here = text + position
      let (value, length) = Utf8.scalar(here, size &- position)
      let kind = classes ? tokenizer.characterClass(value) : .other
      if kind == .dropped {
        position &+= length
        continue
      }
      if kind == .spaced { try append(0x20) }
      if tokenizer.mapStarts.contains(here[0]),
        let (offset, taken) = tokenizer.longestReplacement(here, size &- position)
      {
        try write(tokenizer.mapText + (offset &+ 1), Int(tokenizer.mapText[offset]))
        position &+= taken
      } else {
        try write(value, here, length)
        position &+= length
      }
      if kind == .spaced { try append(0x20) }
    }
  }

  /// A character that the map does not have.
  private mutating func write(
    _ value: UInt32, _ text: UnsafePointer<UInt8>, _ length: Int
  ) throws(CurtaError) {
    if value == Utf8.invalid, steps.has(NormalizerSteps.repair) {
      afterSpace = false
      try scalar(0xFFFD)
    } else if steps.has(NormalizerSteps.hangul), Hangul.isSyllable(value) {
      afterSpace = false
      let (lead, vowel, tail) = Hangul.jamo(value)
      try scalar(lead)
      try scalar(vowel)
      if let tail { try scalar(tail) }
    } else {
      try write(text, length)
    }
  }

  private mutating func scalar(_ value: UInt32) throws(CurtaError) {
    var four: (UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0)
    let length = Utf8.encode(value) { i, byte in
      switch i {
      case 0: four.0 = byte
      case 1: four.1 = byte
      case 2: four.2 = byte
      default: four.3 = byte
      }
    }
    try character(value, four, length)
  }

  // MARK: - Writing

  /// Text that stands for one match of the map, or for one character.
  private mutating func write(
    _ text: UnsafePointer<UInt8>, _ size: Int
  ) throws(CurtaError) {
    var position = 0
    if steps.has(NormalizerSteps.collapse | NormalizerSteps.stripStart) {
      while afterSpace, position < size, text[position] == 0x20 { position &+= 1 }
      if position < size {
        afterSpace = steps.has(NormalizerSteps.collapse) && text[size &- 1] == 0x20
      }
    }
    while position < size {
      let here = text + position
      let (value, length) = Utf8.scalar(here, size &- position)
      try character(
        value,
        (
          here[0], length > 1 ? here[1] : 0, length > 2 ? here[2] : 0, length > 3 ? here[3] : 0
        ), length)
      position &+= length
    }
  }

  private mutating func character(
    _ value: UInt32, _ four: (UInt8, UInt8, UInt8, UInt8), _ length: Int
  ) throws(CurtaError) {
    let isMetaspace = value == 0x2581 && steps.has(NormalizerSteps.metaspace)
    let isSpace = steps.looksAtSpaces && tokenizer.characterClass(value) == .space
    if steps.has(NormalizerSteps.words) {
      if isSpace {
        beginsWord = true
        return
      }
      if beginsWord, !isMetaspace { try append(0x20) }
      beginsWord = false
    }
    if isMetaspace {
      try append(0x20)
    } else {
      try append(four.0)
      if length > 1 { try append(four.1) }
      if length > 2 { try append(four.2) }
      if length > 3 { try append(four.3) }
    }
    if steps.has(NormalizerSteps.trimEnd) {
      if !isSpace { kept = count }
    } else if bytes[count &- 1] != 0x20 {
      kept = count
    }
  }

  private mutating func append(_ byte: UInt8) throws(CurtaError) {
    guard count < capacity else { throw CurtaError(.overLimit) }
    bytes[count] = byte
    count &+= 1
  }
}
