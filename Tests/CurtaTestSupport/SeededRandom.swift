// Random numbers that a printed seed replays.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// PCG-XSH-RR (M. O'Neill): 64 bits of state, two outputs a number.
public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(_ seed: UInt64) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0xDA3E_39CB_94B9_5BDB
    _ = next()
  }

  /// A generator for `name`, from CURTA_SEED or a fixed seed, which is printed.
  public static func announced(_ name: String) -> SeededRandom {
    let seed = announcedSeed(name)
    return SeededRandom(seed)
  }

  /// The seed for `name`: CURTA_SEED, or a fixed one. It is printed.
  public static func announcedSeed(_ name: String) -> UInt64 {
    let given = ProcessInfo.processInfo.environment["CURTA_SEED"].flatMap { UInt64($0) }
    let seed = given ?? 20_260_101
    print("seed of \(name): \(seed) (CURTA_SEED)")
    return seed
  }

  private mutating func word() -> UInt32 {
    let old = state
    state = old &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let mixed = UInt32(truncatingIfNeeded: ((old >> 18) ^ old) >> 27)
    let turn = UInt32(truncatingIfNeeded: old >> 59)
    return mixed >> turn | mixed << ((32 - turn) & 31)
  }

  public mutating func next() -> UInt64 {
    let high = UInt64(word())
    return high << 32 | UInt64(word())
  }

  public mutating func below(_ n: Int) -> Int { Int(next() % UInt64(max(n, 1))) }
  public mutating func chance(_ n: Int) -> Bool { below(n) == 0 }
  public mutating func bytes(_ n: Int) -> [UInt8] {
    (0..<n).map { _ in UInt8(truncatingIfNeeded: word()) }
  }
  public mutating func element<T>(_ items: [T]) -> T { items[below(items.count)] }
}
