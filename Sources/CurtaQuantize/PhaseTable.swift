// The turns per position of rotary embeddings, as words.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Phase increments of rotary positions (Su et al. 2021, arXiv 2104.09864).
public enum PhaseTable {
  /// One row of words, one a pair: nearest(frequency / 2π · 2^32) mod 2^32, in units of 2^−32 turns.
  ///
  /// `frequencies` are radians a position, not empty, finite and not negative. Throws
  /// `QuantizeError.unsupported` for others.
  public static func increments(frequencies: [Double]) throws(QuantizeError) -> WordsTensor {
    guard !frequencies.isEmpty, frequencies.allSatisfy({ $0.isFinite && $0 >= 0 && $0 < 0x1p20 })
    else { throw .unsupported("rotary frequencies that are not finite numbers from 0") }
    let words = frequencies.map { frequency in
      let turns = frequency / (2 * Double.pi)
      return UInt32(truncatingIfNeeded: UInt64((turns * 0x1p32).rounded()))
    }
    return WordsTensor(rows: 1, columns: words.count, words: words)
  }
}
