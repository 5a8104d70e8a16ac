// Files cut short, with flipped bits, and with mutated fields: a status, never a trap.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

@Suite struct CorruptionTests {
  private func refuses(_ bytes: [UInt8]) -> Bool {
    if case .refused = attempt(bytes, Setup(), tokens: [0], pieces: [1]) { return true }
    return false
  }

  @Test(arguments: ValidVector.all)
  func everyPrefixIsRefused(_ vector: ValidVector) {
    // One file in place, its end moved: what lies behind the end is the true continuation.
    let file = GuardedBytes(vector.bytes)
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    for count in 0..<vector.bytes.count {
      #expect(curta_plan(file.base, count, nil, &info) == Status.truncated.rawValue)
    }
    // And with nothing behind the end, near the places where structures end.
    for count in stride(from: 0, to: vector.bytes.count, by: 61) {
      #expect(refuses(Array(vector.bytes[0..<count])))
    }
  }

  /// A prefix whose header was made to agree with it.
  @Test(arguments: ValidVector.all)
  func everyPrefixWithRightHashesIsRefused(_ vector: ValidVector) {
    for count in stride(from: 64, to: vector.bytes.count, by: 7) {
      var bytes = Array(vector.bytes[0..<count])
      FileParts.fixHashes(&bytes)
      #expect(refuses(bytes), "\(count)")
    }
  }

  @Test(arguments: ValidVector.all)
  func everyBitOfHeaderAndDirectoryCounts(_ vector: ValidVector) throws {
    let parts = try #require(FileParts(vector.bytes))
    let end = FileParts.headerSize + parts.sections.count * FileParts.entrySize
    let file = GuardedBytes(vector.bytes)
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    for bit in 0..<8 * end {
      let byte = (file.base + bit / 8).assumingMemoryBound(to: UInt8.self)
      byte.pointee ^= 1 << UInt8(bit % 8)
      #expect(curta_plan(file.base, file.count, nil, &info) != 0, "bit \(bit)")
      byte.pointee ^= 1 << UInt8(bit % 8)
    }
  }

  @Test(arguments: ValidVector.all)
  func flipsInSectionsAndPaddingAreRefused(_ vector: ValidVector) throws {
    var random = SeededRandom.announced("flips of \(vector.name)")
    let count = Int(vector.bytes.number(12, 4))
    var covered = FileParts.headerSize + count * FileParts.entrySize
    for i in 0..<count {
      let at = FileParts.headerSize + i * FileParts.entrySize
      let start = Int(vector.bytes.number(at + 16, 8))
      let length = Int(vector.bytes.number(at + 24, 8))
      let inside = (0..<12).map { _ in start + random.below(length) }
      for place in Array(covered..<start) + inside {
        var bytes = vector.bytes
        bytes[place] ^= 1 << UInt8(random.below(8))
        #expect(refuses(bytes), "byte \(place)")
      }
      covered = start + length
    }
  }

  /// What is wrong is told alike whoever looks at which section: of several wrong ones the first.
  @Test(arguments: ValidVector.all)
  func threadsRefuseTheSameSection(_ vector: ValidVector) throws {
    let count = Int(vector.bytes.number(12, 4))
    var bytes = vector.bytes
    for i in (0..<count).reversed() {
      let at = FileParts.headerSize + i * FileParts.entrySize
      bytes[Int(bytes.number(at + 16, 8))] ^= 1
      let alone = refusal(bytes, threads: 1)
      #expect(alone?.status == .badChecksum, "section \(i)")
      for threads: UInt32 in [2, 3, 256] {
        #expect(refusal(bytes, threads: threads) == alone, "section \(i), \(threads) threads")
      }
    }
  }

  /// The error of making a session.
  private func refusal(_ bytes: [UInt8], threads: UInt32) -> CurtaError? {
    let setup = Setup(threads: threads)
    guard let whole = try? plan(GuardedBytes(bytes), setup) else {
      return bytes.withUnsafeBytes { buffer in
        do throws(CurtaError) {
          _ = try CurtaFile(ByteView(buffer.baseAddress!, count: buffer.count))
          return nil
        } catch {
          return error
        }
      }
    }
    let file = GuardedBytes(bytes)
    let arena = GuardedBytes(count: Int(whole.arena_bytes), fill: 0xA5)
    do throws(CurtaError) {
      _ = try Session.make(
        file: ByteView(file.base, count: file.count), options: setup.options, arena: arena.base,
        arenaSize: arena.count)
      return nil
    } catch {
      return error
    }
  }

  /// Flips in payloads with hashes made right: accepted or refused, but equal on both kernel sets.
  @Test(arguments: ValidVector.all)
  func payloadFlipsNeverTrap(_ vector: ValidVector) throws {
    var random = SeededRandom.announced("payloads of \(vector.name)")
    let parts = try #require(FileParts(vector.bytes))
    for i in parts.sections.indices {
      for _ in 0..<6 {
        var changed = parts
        let place = random.below(changed.sections[i].stored.count)
        changed.sections[i].stored[place] ^= 1 << UInt8(random.below(8))
        Differential(tokens: [0, 3, 1, 2]).check(changed.assemble())
      }
    }
  }

  /// Thousands of mutations of what the files say: `CURTA_FUZZ_COUNT` of them, from `CURTA_SEED`.
  @Test func structureAwareMutations() throws {
    let environment = ProcessInfo.processInfo.environment
    let count = environment["CURTA_FUZZ_COUNT"].flatMap { Int($0) } ?? 20_000
    let seed = SeededRandom.announcedSeed("mutations")
    var ran = 0
    var tooLarge = 0
    var statuses: [Status: Int] = [:]
    for i in 0..<count {
      let vector = ValidVector.all[i % ValidVector.all.count]
      var mutator = Mutator(SeededRandom(seed &+ UInt64(i)))
      let bytes = mutator.mutate(vector.bytes)
      let started = Date()
      switch Differential(tokens: [1, 0, 5, 2, 3, 3]).check(bytes) {
      case .ran: ran += 1
      case .tooLarge: tooLarge += 1
      case .refused(let status): statuses[status, default: 0] += 1
      }
      let seconds = Date().timeIntervalSince(started)
      #expect(seconds < 5, "mutation \(i) of \(vector.name), seed \(seed): \(seconds) s")
    }
    print("\(count) mutations: \(ran) ran, \(tooLarge) too large, refused: \(statuses)")
    #expect(ran > count / 50, "too few mutations were accepted")
  }
}

/// Runs a file in several ways that must agree bit for bit.
struct Differential {
  let tokens: [Int32]

  /// One step over all tokens on scalar kernels against single steps on the best ones, with
  /// different bytes in the arena before.
  @discardableResult
  func check(_ bytes: [UInt8]) -> Outcome {
    let n = tokens.count
    var whole = Setup(kernels: 1, fill: 0xA5)
    if let context = contextOf(bytes) {
      whole.chunk = UInt32(min(n, context))
      whole.outputs = whole.chunk
    }
    let first = attempt(bytes, whole, tokens: tokens, pieces: [n])
    if case .refused = first { return first }
    var single = whole
    single.kernels = 0
    single.fill = 0x5A
    single.chunk = 1
    single.outputs = 1
    let second = attempt(bytes, single, tokens: tokens, pieces: [1])
    if case .ran = first, case .ran = second { #expect(first == second) }
    return first
  }

  private func contextOf(_ bytes: [UInt8]) -> Int? {
    guard let parts = FileParts(bytes), let program = parts.index(ofKind: 4),
      parts.sections[program].stored.count >= 20
    else { return nil }
    return max(1, Int(parts.sections[program].stored.number(16, 4)))
  }
}
