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
  private var atStart: Bool
  private var tail = Utf8Tail()

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
      var i = 0
      if start, try dropsSpace(token, piece) { i = 1 }
      if !start, tokenizer.decoder == .spaced { try after.append(0x20, to: &sink) }
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

  /// Whether the first byte of a token at the start of the text is a space that is not shown.
  private func dropsSpace(_ token: Int32, _ piece: ByteView) throws(CurtaError) -> Bool {
    guard try piece.u8(0) == 0x20 else { return false }
    switch tokenizer.decoder {
    case .concatenate, .spaced: return false
    case .stripAtStart: return true
    case .stripAfterBos:
      return tokenizer.byteIds.count == 0 || tokenizer.byteIds[0x20] != UInt32(bitPattern: token)
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
  private var first: UInt8 = 0
  private var second: UInt8 = 0
  private var third: UInt8 = 0
  private var count = 0

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
