// Rotary positions: how fast each pair of elements turns (Su et al. 2021, arXiv 2104.09864).
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Which two elements of a head turn together, of those that turn.
public enum RopePairing: String, Sendable, Equatable {
  /// Elements 2i and 2i+1 (llama2.c, the original Llama weights).
  case interleaved
  /// Elements i and i + pairs (Hugging Face).
  case halfSplit
}

/// How the first 2 · `frequencies.count` elements of a head turn; the rest stay.
public struct RotaryTable: Sendable, Equatable {
  /// Pair i turns by position · frequencies[i] radians.
  public var frequencies: [Double]
  public var pairing: RopePairing

  public init(frequencies: [Double], pairing: RopePairing) {
    self.frequencies = frequencies
    self.pairing = pairing
  }

  /// The plain table: pair i turns by base^(−2i/width) radians a position, over `width` elements.
  public init(base: Double, width: Int, pairing: RopePairing) {
    self.init(
      frequencies: (0..<width / 2).map { pow(base, -2 * Double($0) / Double(width)) },
      pairing: pairing)
  }
}
