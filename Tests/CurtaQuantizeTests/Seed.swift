// Random numbers that a failing test can be run with again.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// splitmix64 (Steele, Lea and Flood 2014).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  /// Seeded with CURTA_TEST_SEED, else at random; prints the seed.
  init(printing test: String = #function) {
    let given = ProcessInfo.processInfo.environment["CURTA_TEST_SEED"].flatMap(UInt64.init)
    let seed = given ?? UInt64.random(in: 0...UInt64.max)
    print("\(test): CURTA_TEST_SEED=\(seed)")
    self.init(seed)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
