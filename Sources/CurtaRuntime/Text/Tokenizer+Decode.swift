// From token ids to text, piece by piece, never half a character.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Turns a stream of token ids into a stream of valid UTF-8.
///
/// Bytes that start a character wait (at most three) until a later token completes it. What
/// cannot become a character is written as U+FFFD, one for each maximal part, as the Unicode
/// standard recommends.
public struct TokenDecoder {
  private let tokenizer: Tokenizer
  private let showControl: Bool
  /// Whether no visible token has come since the text began.
  var atStart: Bool
  var tail = Utf8Tail()

  /// - Parameters:
  ///   - atStart: the first token begins a text (so no space goes before it). Pass false to go
  ///     on after a text that has been shown already.
  ///   - showControl: write the text of control tokens too.
  public init(_ tokenizer: Tokenizer, atStart: Bool, showControl: Bool = false) {
    self.tokenizer = tokenizer
    self.showControl = showControl
    self.atStart = atStart
  }

  /// Writes the text that `token` completes and returns its size in bytes.
  ///
  /// `TokenizerLimits.decodedBytes` of room is always enough. On an error nothing has changed,
  /// and the call can be made again.
  ///
  /// - Throws: `badArgument` for an id outside the vocabulary, `outputTooSmall`.
  public mutating func decode(
    _ token: Int32, into output: UnsafeMutablePointer<UInt8>, capacity: Int
  ) throws(CurtaError) -> Int {
    let piece = try tokenizer.bytes(of: token)
    var sink = ByteSink(output, capacity)
    var after = tail
    var start = atStart
    if piece.count > 0, showControl || !tokenizer.isControl(token) {
      var i = start ? try spacesToDrop(token, piece) : 0
      if !start {
        switch tokenizer.decoder {
        case .spaced: try after.append(0x20, to: &sink)
        case .wordPiece, .wordPieceClean:
          let isMark = tokenizer.decoder == .wordPieceClean ? try self.isMark(piece) : false
          if try isInner(piece) {
            i = 2
          } else if !isMark {
            try after.append(0x20, to: &sink)
          }
        default: break
        }
      }
      while i < piece.count {
        try after.append(piece.u8(i), to: &sink)
        i &+= 1
      }
      start = false
    }
    if token == tokenizer.bos, tokenizer.decoder == .stripAfterBos { start = true }
    tail = after
    atStart = start
    return sink.count
  }

  /// How many spaces at the front of the token that starts the text are not shown.
  private func spacesToDrop(_ token: Int32, _ piece: ByteView) throws(CurtaError) -> Int {
    guard try piece.u8(0) == 0x20 else { return 0 }
    switch tokenizer.decoder {
    case .concatenate, .spaced, .wordPiece, .wordPieceClean: return 0
    case .stripAtStart: return 1
    case .stripAfterBos:
      let isByte =
        tokenizer.byteIds.count > 0 && tokenizer.byteIds[0x20] == UInt32(bitPattern: token)
      return isByte ? 0 : 1
    case .stripAllAtStart:
      var count = 1
      while count < piece.count, try piece.u8(count) == 0x20 { count &+= 1 }
      return count
    }
  }

  /// Whether a token begins with `##`.
  private func isInner(_ piece: ByteView) throws(CurtaError) -> Bool {
    guard piece.count >= 2 else { return false }
    let (a, b) = (try piece.u8(0), try piece.u8(1))
    return a == 0x23 && b == 0x23
  }

  /// Whether a word begins with `.`, `?`, `!`, `,`, `'m`, `'s`, `'ve`, `'re` or `n't`.
  private func isMark(_ piece: ByteView) throws(CurtaError) -> Bool {
    func byte(_ i: Int) throws(CurtaError) -> UInt8 { i < piece.count ? try piece.u8(i) : 0 }
    let (a, b, c) = (try byte(0), try byte(1), try byte(2))
    switch (a, b, c) {
    case (0x2E, _, _), (0x3F, _, _), (0x21, _, _), (0x2C, _, _): return true
    case (0x27, 0x6D, _), (0x27, 0x73, _), (0x27, 0x76, 0x65), (0x27, 0x72, 0x65): return true
    case (0x6E, 0x27, 0x74): return true
    default: return false
    }
  }

  /// Ends the text: a character that was never completed becomes one U+FFFD.
  ///
  /// - Throws: `outputTooSmall` where less than three bytes are free for it.
  public mutating func flush(
    into output: UnsafeMutablePointer<UInt8>, capacity: Int
  ) throws(CurtaError) -> Int {
    var sink = ByteSink(output, capacity)
    var after = tail
    try after.flush(to: &sink)
    tail = after
    return sink.count
  }
}

/// The caller's bytes, filled from the front.
struct ByteSink {
  private let bytes: UnsafeMutablePointer<UInt8>
  private let capacity: Int
  private(set) var count = 0

  init(_ bytes: UnsafeMutablePointer<UInt8>, _ capacity: Int) {
    self.bytes = bytes
    self.capacity = capacity
  }

  mutating func append(_ byte: UInt8) throws(CurtaError) {
    guard count < capacity else { throw CurtaError(.outputTooSmall) }
    bytes[count] = byte
    count &+= 1
  }
}

/// The start of a character whose other bytes have not come yet.
struct Utf8Tail {
  var first: UInt8 = 0
  var second: UInt8 = 0
  var third: UInt8 = 0
  var count = 0

  /// Takes one byte; writes it with what waited once a character is complete.
  mutating func append(_ byte: UInt8, to sink: inout ByteSink) throws(CurtaError) {
    if count > 0 {
      if Utf8.isContinuation(byte, at: count, after: first) {
        if count &+ 1 == Utf8.sequenceLength(first) {
          try sink.append(first)
          if count > 1 { try sink.append(second) }
          if count > 2 { try sink.append(third) }
          try sink.append(byte)
          count = 0
        } else {
          if count == 1 { second = byte } else { third = byte }
          count &+= 1
        }
        return
      }
      try flush(to: &sink)
    }
    switch Utf8.sequenceLength(byte) {
    case 0: try replace(&sink)
    case 1: try sink.append(byte)
    default:
      first = byte
      count = 1
    }
  }

  /// Writes U+FFFD for what waits.
  mutating func flush(to sink: inout ByteSink) throws(CurtaError) {
    guard count > 0 else { return }
    try replace(&sink)
    count = 0
  }

  /// U+FFFD: EF BF BD.
  private func replace(_ sink: inout ByteSink) throws(CurtaError) {
    try sink.append(0xEF)
    try sink.append(0xBF)
    try sink.append(0xBD)
  }
}
