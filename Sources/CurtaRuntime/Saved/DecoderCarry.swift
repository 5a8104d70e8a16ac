// What a decoder keeps between tokens, as four bytes.
// SPDX-License-Identifier: Apache-2.0

/// The bytes of a character that is not complete yet, and whether the text has begun.
struct DecoderCarry: Equatable {
  var atStart = true
  /// How many bytes wait, 0…3, then the bytes, then zeros: the first is the lowest byte.
  var packed: UInt32 = 0

  init() {}

  init(atStart: Bool, tail: Utf8Tail) {
    self.atStart = atStart
    packed = UInt32(truncatingIfNeeded: tail.count)
    if tail.count > 0 { packed |= UInt32(tail.first) << 8 }
    if tail.count > 1 { packed |= UInt32(tail.second) << 16 }
    if tail.count > 2 { packed |= UInt32(tail.third) << 24 }
  }

  /// Nil unless the bytes are the beginning of a character.
  init?(packed: UInt32, atStart: Bool) {
    self.atStart = atStart
    self.packed = packed
    let count = Int(packed & 0xFF)
    guard count <= 3, count == 3 || packed >> UInt32(8 + 8 * count) == 0 else { return nil }
    guard count > 0 else { return }
    guard count < Utf8.sequenceLength(byte(0)) else { return nil }
    for i in 1..<count where !Utf8.isContinuation(byte(i), at: i, after: byte(0)) { return nil }
  }

  func byte(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: packed >> UInt32(8 + 8 * i)) }

  var tail: Utf8Tail {
    var tail = Utf8Tail()
    tail.count = Int(packed & 0xFF)
    (tail.first, tail.second, tail.third) = (byte(0), byte(1), byte(2))
    return tail
  }
}

extension TokenDecoder {
  var carry: DecoderCarry { DecoderCarry(atStart: atStart, tail: tail) }

  /// A decoder that goes on where another stopped.
  init(_ tokenizer: Tokenizer, carry: DecoderCarry) {
    self.init(tokenizer, atStart: carry.atStart)
    tail = carry.tail
  }
}
