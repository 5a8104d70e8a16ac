// From text to token ids: added tokens first, then the pieces between them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Tokenizer {
  /// Whether segments are copied and changed before they are tokenized.
  private var normalizes: Bool {
    normalizer.bits != 0 || map.count > 0 || marks.count > 0 || compositions.count > 0
  }

  /// The most bytes that a normalizer makes of a segment of `n` bytes.
  private func normalizedLimit(_ n: Int) -> Int {
    guard normalizes else { return n }
    let most = TokenizerLimits.input
    return (n > most / expansion ? most : n &* expansion) &+ 1
  }

  /// Bytes of scratch that `encode` needs for a text of `n` bytes, aligned to 4.
  public func scratchBytes(forTextBytes n: Int) -> Int {
    let bytes = normalizedLimit(min(max(n, 0), TokenizerLimits.input))
    var work = 0
    switch kind {
    case .byteBPE, .scoredBPE: work = (bytes &+ 1) &* MergeList.bytesPerSymbol
    case .unigram: work = (bytes &+ 1) &* UnigramLattice.bytesPerPosition
    case .word, .wordPiece: break
    }
    if marks.count > 0 || compositions.count > 0 {
      work = max(work, bytes &+ Canonical.extraBytes)
    }
    return (normalizes ? (bytes &+ 3) & ~3 : 0) &+ ((work &+ 3) & ~3)
  }

  /// The most ids that `encode` can return for a text of `n` bytes.
  ///
  /// One per byte of the normalized text, one for `bos` and `eos` each, and one for each space that
  /// a normalizer adds: before the text, and after each added token.
  public func tokenLimit(forTextBytes n: Int) -> Int {
    let bytes = UInt64(min(max(n, 0), TokenizerLimits.input))
    var most = bytes &* UInt64(normalizes ? expansion : 1) &+ 1 &+ (addsEos ? 1 : 0)
    if normalizer.addsSpace { most &+= added.count == 0 ? 1 : bytes &+ 1 }
    return Int(clamping: most)
  }

  /// Writes the ids of `text` to `ids` and returns how many there are. O(n log n).
  ///
  /// - Parameters:
  ///   - text: `count` bytes, which need not be valid UTF-8.
  ///   - addBos: put `bos` first, and `eos` last, if the file says that its texts have them.
  ///   - parseSpecial: look for control tokens in the text. Leave this off for text that comes
  ///     from outside: without it no input makes a control token.
  ///   - ids: room for `capacity` ids.
  ///   - scratch: `scratchBytes(forTextBytes: count)` bytes, aligned to 4, in any state.
  /// - Throws: `outputTooSmall` where `capacity` or `scratchBytes` is too small, `overLimit` for
  ///   more than `TokenizerLimits.input` bytes, also after normalization, `unaligned`,
  ///   `badArgument` for negative sizes.
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
    let tokens = AddedTokens(self, normalized: false, control: parseSpecial)
    var segment = 0
    while let match = tokens.next(text, count, from: segment) {
      try encodeSegment(text, segment, match.start, parseSpecial, scratch, &sink)
      try sink.append(match.id)
      segment = match.end
    }
    try encodeSegment(text, segment, count, parseSpecial, scratch, &sink)
    if addBos, addsEos { try sink.append(eos) }
    return sink.count
  }

  /// Normalizes bytes start..<end of the text and looks for the added tokens in the result.
  private func encodeSegment(
    _ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ parseSpecial: Bool,
    _ scratch: UnsafeMutableRawPointer, _ sink: inout TokenSink
  ) throws(CurtaError) {
    guard start < end else { return }
    guard normalizes else { return try encodePart(text + start, end &- start, scratch, &sink) }
    let room = normalizedLimit(end &- start)
    let bytes = scratch.bindMemory(to: UInt8.self, capacity: room)
    let work = scratch + (room &+ 3) & ~3
    var writer = Normalizer(self, bytes, capacity: room)
    let (first, count) = try writer.run(
      text + start, end &- start, isFirst: start == 0, work: work)
    let tokens = AddedTokens(self, normalized: true, control: parseSpecial)
    var part = first
    while let match = tokens.next(bytes, count, from: part) {
      try encodePart(bytes + part, match.start &- part, work, &sink)
      try sink.append(match.id)
      part = match.end
    }
    try encodePart(bytes + part, count &- part, work, &sink)
  }

  /// Cuts normalized text without added tokens into pieces and appends their ids.
  private func encodePart(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ work: UnsafeMutableRawPointer,
    _ sink: inout TokenSink
  ) throws(CurtaError) {
    var cut = PreTokenizer(self, text, count)
    var position = 0
    while let (start, end) = cut.next(from: position) {
      let piece = text + start
      let size = end &- start
      position = end
      switch kind {
      case .byteBPE, .scoredBPE:
        if takesWholePieces, let word = word(piece, size) {
          try sink.append(Int32(bitPattern: words[word]))
        } else {
          var list = MergeList(work, capacity: size)
          if kind == .byteBPE {
            appendBytes(piece, size, to: &list)
          } else {
            appendCharacters(piece, size, to: &list)
          }
          list.merge(by: self)
          try sink.append(list)
        }
      case .word:
        try sink.append(word(piece, size).map { Int32(bitPattern: words[$0]) } ?? unknown)
      case .unigram:
        try UnigramLattice(self, work, count: size).encode(piece, size, to: &sink)
      case .wordPiece: try wordPieces(piece, size, to: &sink)
      }
    }
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

  /// Takes the last ids back, so that `count` are left.
  mutating func remove(downTo count: Int) { self.count = count }
}
