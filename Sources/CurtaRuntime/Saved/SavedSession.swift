// Where each part of a saved session lies: Formats/curta-session.md section 2.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

/// The layout of a saved session of one model with so many positions.
struct SavedSession {
  /// `89 43 55 52 54 53 0D 0A` as a little-endian number.
  static let magic: UInt64 = 0x0A0D_5354_5255_4389
  static let version: UInt32 = 1
  static let headerSize = 64
  static let hashSize = 8

  /// Bits of the field `flags`.
  enum Flag {
    static let logits: UInt32 = 1
    static let insideText: UInt32 = 2
    static let all: UInt32 = 3
  }

  /// Offsets of the fields of the header.
  enum Field {
    static let magic = 0
    static let version = 8
    static let flags = 12
    static let size = 16
    static let identity = 24
    static let past = 32
    static let vocabulary = 36
    static let states = 40
    static let carry = 44  // u8 count, u8[3]
    static let random = 48
    static let reserved = 56
  }

  /// The largest magnitude of a scale's exponent.
  static let largestExponent: Int32 = 1 << 24

  let past: Int
  let hasLogits: Bool
  // Offsets of the parts
  let tokens: Int  // u32 [past]
  let logits: Int  // i32 [vocabulary], or nothing
  let caches: Int  // for each state: i8 [heads][past][width], scale [heads][past]
  let hash: Int
  /// Bytes of the whole.
  let size: Int

  /// Throws `overLimit` where the bytes could not be addressed, `unsupported` for a program of
  /// images: its sessions keep nothing from step to step.
  init(_ state: borrowing SessionState, past: Int, hasLogits: Bool) throws(CurtaError) {
    guard state.program.image == nil else { throw CurtaError(.unsupported) }
    self.past = past
    self.hasLogits = hasLogits
    let positions = UInt64(past)
    var end = try CheckedSize(UInt64(SavedSession.headerSize))
      .plus(CheckedSize(state.program.stateCount).times(8))
    tokens = try end.int()
    end = try end.plus(CheckedSize(positions).times(4))
    logits = try end.int()
    if hasLogits { end = try end.plus(CheckedSize(state.program.vocabulary).times(4)) }
    caches = try end.int()
    for i in 0..<Int(state.program.stateCount) {
      let rows = try CheckedSize(UInt64(state.states[i].heads)).times(positions)
      end = try end.plus(rows.times(UInt64(state.states[i].width)))
      end = try end.plus(rows.times(UInt64(MemoryLayout<curta_scale>.stride)))
    }
    hash = try end.int()
    size = try end.plus(UInt64(SavedSession.hashSize)).int()
  }
}
