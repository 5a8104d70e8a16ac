// The turns per position of rotary embeddings, as words.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Phase increments of rotary positions (Su et al. 2021, arXiv 2104.09864).
public enum PhaseTable {
  /// One row of width / 2 words: nearest(base^(−2i/width) / 2π · 2^32), in units of 2^−32 turns.
  ///
  /// `width` is the number of elements of a head that turn, even, 2 or more; `base` is above 1, as
  /// in 10000. Throws `QuantizeError.unsupported` for other arguments.
  public static func increments(base: Double, width: Int) throws(QuantizeError) -> WordsTensor {
    guard base > 1, base.isFinite else {
      throw .unsupported("a rotary base of \(base); it is a number above 1")
    }
    guard width >= 2, width % 2 == 0 else {
      throw .unsupported("\(width) rotary elements; the number is even and 2 or more")
    }
    let words = (0..<width / 2).map { i in
      let turns = pow(base, -2 * Double(i) / Double(width)) / (2 * Double.pi)
      return UInt32((turns * 0x1p32).rounded())
    }
    return WordsTensor(rows: 1, columns: words.count, words: words)
  }
}
