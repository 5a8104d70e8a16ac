// Saved sessions that lie: the right status for each field, and never a change or a trap.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

@Suite struct SavedSessionAttackTests {
  private static let model = ValidVector.named("window")

  /// A session with some tokens, its bytes, and what it says of itself.
  private func saved() throws -> [UInt8] {
    let session = try TestSession(Self.model.bytes, Setup(chunk: 8))
    try session.step([3, 1, 4, 1, 5])
    return try session.save()
  }

  /// Restores `bytes` into a session with a past of its own, which must stay as it was on errors.
  private func attempt(_ bytes: [UInt8], in session: TestSession) throws -> Status {
    let before = try session.save()
    let logits = session.logits(0)
    let status = session.restore(bytes)
    if status == .ok {
      // Whatever it says, the session runs and its memory is whole.
      if curta_past(session.pointer) < Int(session.info.context) { try session.step([2]) }
      if session.logits(0) != nil { _ = try session.sample() }
      #expect(session.arena.canariesAreWhole)
      #expect(session.restore(before) == .ok)
    }
    let after = try session.save()
    #expect(after == before && session.logits(0) == logits, "\(status)")
    return status
  }

  private func victim() throws -> TestSession {
    let session = try TestSession(Self.model.bytes, Setup(chunk: 8))
    try session.step([7, 7, 2])
    return session
  }

  @Test func everyPrefixIsRefused() throws {
    let bytes = try saved()
    let session = try victim()
    for count in 0..<bytes.count {
      #expect(session.restore(Array(bytes[..<count])) == .truncated)
      // With a size and a hash that agree with the prefix.
      guard count >= 72 else { continue }
      var shorter = Array(bytes[..<count])
      shorter.put(16, 8, UInt64(count))
      fixHash(&shorter)
      #expect(session.restore(shorter) == .badSize)
    }
    #expect(try attempt(bytes + [0], in: session) == .badLayout)
    var longer = bytes + [0]
    longer.put(16, 8, UInt64(longer.count))
    fixHash(&longer)
    #expect(try attempt(longer, in: session) == .badSize)
  }

  @Test func everyBitCounts() throws {
    let bytes = try saved()
    let session = try victim()
    for bit in 0..<8 * bytes.count {
      var changed = bytes
      changed[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(session.restore(changed) != .ok, "bit \(bit)")
    }
    #expect(try attempt(bytes, in: session) == .ok)
  }

  @Test func fieldsHaveTheirStatus() throws {
    let bytes = try saved()
    let session = try victim()
    let states = Int(bytes.number(40, 4))
    let past = Int(bytes.number(32, 4))
    let tokens = 64 + 8 * states
    let logits = tokens + 4 * past
    let caches = logits + 4 * session.vocabulary
    let heads = Int(bytes.number(64, 4))
    let scales = caches + heads * past * Int(bytes.number(68, 4))
    let minus = UInt64(bitPattern: -(1 << 24) - 1)
    for (at, count, value, status) in [
      (0, 1, 0x88, .badMagic), (7, 1, 0x0D, .badMagic), (8, 4, 0, .badVersion),
      (8, 4, 2, .badVersion), (8, 4, 0x0100_0000, .badVersion), (12, 4, 5, .badPadding),
      (12, 4, 0x8000_0001, .badPadding), (12, 4, 0, .badSize), (24, 8, 1, .wrongModel),
      (32, 4, 4, .badSize), (32, 4, 6, .badSize), (32, 4, 0, .badPayload),
      (32, 4, UInt64(session.info.context) + 1, .contextFull), (32, 4, 0xFFFF_FFFF, .contextFull),
      (36, 4, 15, .badPlan),
      (36, 4, 0xFFFF_FFFF, .badPlan), (40, 4, 0, .badPlan), (40, 4, 0xFFFF_FFFF, .badPlan),
      // This model has no tokenizer.
      (44, 4, 1, .badPayload), (44, 4, 0xC301, .badPayload), (12, 4, 3, .badPayload),
      (48, 8, 0, .badPayload), (56, 1, 1, .badPadding), (63, 1, 0x80, .badPadding),
      (64, 4, 0, .badPlan), (68, 4, 3, .badPlan), (64, 4, 0xFFFF_FFFF, .badPlan),
      (tokens, 4, 16, .badPayload), (tokens + 8, 4, 0xFFFF_FFFF, .badPayload),
      (logits, 4, 0x8000_0000, .badPayload), (caches, 1, 0x80, .badPayload),
      (scales - 1, 1, 0x80, .badPayload), (scales, 4, 0x7FFF, .badPayload),
      (scales, 4, 0x10000, .badPayload), (scales, 4, 0, .badPayload),
      (scales + 4, 4, 1 << 24 + 1, .badPayload), (scales + 4, 4, minus, .badPayload),
      (scales + 4, 4, 0x8000_0000, .badPayload), (bytes.count - 12, 4, 1 << 30, .badPayload),
    ] as [(Int, Int, UInt64, Status)] {
      var changed = bytes
      changed.put(at, count, value)
      fixHash(&changed)
      #expect(try attempt(changed, in: session) == status, "\(at) = \(value)")
    }
    // Ends of ranges that are right.
    for (at, count, value) in [
      (caches, 1, 0x81), (logits, 4, 0x8000_0001), (scales, 4, 0x8000), (scales, 4, 0xFFFF),
      (scales + 4, 4, 1 << 24), (scales + 4, 4, minus &+ 1), (48, 8, .max),
    ] as [(Int, Int, UInt64)] {
      var changed = bytes
      changed.put(at, count, value)
      fixHash(&changed)
      #expect(try attempt(changed, in: session) == .ok, "\(at) = \(value)")
    }
  }

  /// Extreme but valid caches give the same logits on all kernels.
  @Test func extremeCachesAgree() throws {
    let bytes = try saved()
    var random = SeededRandom.announced("caches")
    let scalar = try TestSession(Self.model.bytes, Setup(chunk: 8, kernels: 1))
    let fastest = try TestSession(Self.model.bytes, Setup(chunk: 8, threads: 2, kernels: 0))
    let states = Int(bytes.number(40, 4))
    let past = Int(bytes.number(32, 4))
    for _ in 0..<200 {
      var changed = bytes
      var at = 64 + 8 * states + 4 * past + 4 * scalar.vocabulary
      for state in 0..<states {
        let rows = Int(bytes.number(64 + 8 * state, 4)) * past
        for _ in 0..<rows * Int(bytes.number(68 + 8 * state, 4)) {
          changed[at] = random.element([0x81, 0x7F, 0, 1, 0xFF] as [UInt8])
          at += 1
        }
        for _ in 0..<rows {
          changed.put(at, 4, random.element([0x8000, 0xFFFF, 0xABCD] as [UInt64]))
          let exponent = random.element([0, 14, 31, 62, -1, 1 << 24, -(1 << 24)] as [Int64])
          changed.put(at + 4, 4, UInt64(bitPattern: exponent))
          at += 8
        }
      }
      fixHash(&changed)
      #expect(scalar.restore(changed) == .ok && fastest.restore(changed) == .ok)
      for token: Int32 in [1, 9, 3] {
        try scalar.step([token])
        try fastest.step([token])
        #expect(scalar.logits(0) == fastest.logits(0))
      }
    }
  }

  /// Mutations with right hashes and sizes: a status, or a session that runs.
  @Test func mutations() throws {
    let bytes = try saved()
    let session = try victim()
    let seed = SeededRandom.announcedSeed("saved sessions")
    var accepted = 0
    for i in 0..<4000 {
      var random = SeededRandom(seed &+ UInt64(i))
      var changed = bytes
      for _ in 0...random.below(3) {
        let at = random.below(random.chance(2) ? 96 : changed.count - 8)
        switch random.below(4) {
        case 0: changed[at] ^= 1 << UInt8(random.below(8))
        case 1: changed[at] = UInt8(random.below(256))
        case 2 where at + 12 < changed.count:
          changed.put(at & ~3, 4, random.element([0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 31]))
        default: if at >= 64 { changed.remove(at: at) }
        }
      }
      if random.chance(2) { changed.put(16, 8, UInt64(changed.count)) }
      fixHash(&changed)
      if try attempt(changed, in: session) == .ok { accepted += 1 }
    }
    #expect(accepted > 100, "too few mutations were accepted, seed \(seed)")
  }
}
