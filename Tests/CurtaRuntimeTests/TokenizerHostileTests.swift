// Does every damaged section give an error or a tokenizer that works, in time, without a trap?
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime
import CurtaTestSupport
import Foundation
import Testing

@Suite struct TokenizerHostileTests {
  /// Loads a section; where that succeeds, uses all of it.
  @discardableResult
  private func exercise(_ memory: GuardedMemory, _ section: [UInt8]) -> CurtaError? {
    do {
      let loaded = try GuardedTokenizer(memory, section)
      let text = Array("ab one<xy>  12 aabba'll \u{4E2D}\u{1F600}\u{2581}".utf8) + [0xFF, 0xC3]
      for special in [false, true] {
        // A map whose growth is not true may ask for more room than there is.
        let ids: [Int32]
        do {
          ids = try loaded.encode(text, special: special)
        } catch {
          precondition(error.status == .overLimit, "\(error)")
          continue
        }
        for id in ids {
          precondition(id >= 0 && id < loaded.tokenizer.vocabularySize, "an id outside")
        }
      }
      let size = min(loaded.tokenizer.vocabularySize, 400)
      _ = try loaded.decode((0..<size).map { Int32($0) }, showControl: true)
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: SectionBuilder.all.indices)
  func everyTruncation(_ index: Int) {
    let section = SectionBuilder.all[index].bytes()
    let memory = GuardedMemory(section.count)
    for count in 0..<section.count {
      let error = exercise(memory, Array(section[..<count]))
      #expect(error?.status == .badTokenizer && error?.section == 2, "\(count) bytes")
    }
    #expect(exercise(GuardedMemory(section.count + 1), section + [0])?.status == .badTokenizer)
  }

  /// Every byte of the small section takes every value; the larger ones, some values.
  @Test(arguments: SectionBuilder.all.indices)
  func everyByte(_ index: Int) {
    var section = SectionBuilder.all[index].bytes()
    let memory = GuardedMemory(section.count)
    let values =
      section.count < 400
      ? (1...255).map { UInt8($0) } : [0x01, 0x80, 0xFF]
    for i in section.indices {
      let good = section[i]
      for change in values {
        section[i] = good ^ change
        if let error = exercise(memory, section) {
          #expect(
            [.badTokenizer, .unsupported, .overLimit].contains(error.status)
              && error.section == 2 && error.offset <= UInt64(section.count),
            "byte \(i) ^ \(change): \(error)")
        }
      }
      section[i] = good
    }
  }

  @Test func manyBytesAtOnce() {
    var random = SeededRandom.announced("damaged tokenizers")
    for builder in SectionBuilder.all {
      let good = builder.bytes()
      let memory = GuardedMemory(good.count)
      for _ in 0..<400 {
        var section = good
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          let word = Int.random(in: 0..<section.count / 4, using: &random) * 4
          let value = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, UInt32.random(in: 0...300)]
            .randomElement(using: &random)!
          for i in 0..<4 { section[word + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
        }
        exercise(memory, section)
      }
    }
  }

  /// One wrong thing at a time, and the field that the error points at.
  @Test func wrongFields() {
    func error(_ change: (inout SectionBuilder) -> Void, kind: Int = 0) -> CurtaError? {
      var builder = SectionBuilder.all[kind]
      change(&builder)
      let section = builder.bytes()
      return exercise(GuardedMemory(section.count), section)
    }
    func status(_ change: (inout SectionBuilder) -> Void, kind: Int = 0) -> Status? {
      error(change, kind: kind)?.status
    }
    for (offset, change): (UInt64, (inout SectionBuilder) -> Void) in [
      (0, { $0.layout = 2 }), (4, { $0.kind = 6 }), (8, { $0.pretokenizer = 8 }),
      (12, { $0.normalizer = 1 << 12 }), (16, { $0.decoder = 7 }), (20, { $0.flags = 32 }),
    ] {
      #expect(error(change) == CurtaError(.unsupported, section: 2, at: offset))
    }
    #expect(status { $0.bos = 100_000 } == .badTokenizer)
    #expect(status { $0.bos = -2 } == .badTokenizer)
    #expect(status { $0.bos = -1 } == .badTokenizer, "bos is asked for but not there")
    #expect(status { $0.ends = [5, 5] } == .badTokenizer)
    #expect(status { $0.ends = [100_000] } == .badTokenizer)
    #expect(status { $0.ends = Array(0..<65) } == .overLimit)
    #expect(status { $0.tokens[260] = [UInt8](repeating: 1, count: 1025) } == .badTokenizer)
    #expect(status { $0.added[5] = true } == .badTokenizer, "a byte that is a control token")
    #expect(status { $0.byteIds[3] = $0.byteIds[4] } == .badTokenizer)
    #expect(status { $0.merges[0].merged = $0.merges[1].merged } == .badTokenizer)
    #expect(status { $0.merges[0].rank = 1 << 31 } == .badTokenizer)
    #expect(status { $0.merges.append($0.merges[0]) } == .badTokenizer)
    #expect(status { $0.ranges[1].0 = 0x0D } == .badTokenizer)
    #expect(status { $0.ranges[1].2 = 7 } == .badTokenizer)
    #expect(status({ $0.unknown = -1 }, kind: 6) == .badTokenizer)
    #expect(status({ $0.words.append($0.words[0]) }, kind: 6) == .badTokenizer)
    #expect(status({ $0.flags |= 16 }) == .badTokenizer)
    #expect(status({ $0.addedFlags[0] = 1 << 26 }) == .badTokenizer)
    #expect(status({ $0.map[1] = 0x3080_0002 }, kind: 7) == .badTokenizer, "an edge in a node")
    #expect(status({ $0.map[4] = 0x3100_0003 }, kind: 7) == .badTokenizer, "an edge back")
    #expect(status({ $0.map[9] = 0x8000_0C00 }, kind: 7) == .badTokenizer, "a text outside")
    #expect(status({ $0.mapGrowth = 33 }, kind: 7) == .overLimit)
    #expect(status({ $0.compositions[0].2 = 0xD800 }, kind: 9) == .badTokenizer)
    #expect(status({ $0.compositions.append($0.compositions[0]) }, kind: 9) == .badTokenizer)
    #expect(status({ $0.marks[0].2 = 0 }, kind: 9) == .badTokenizer)
    #expect(status({ $0.words.append($0.words[0]) }, kind: 7) == .badTokenizer)
    #expect(status({ $0.eos = -1 }, kind: 7) == .badTokenizer)
    #expect(status({ $0.wordLimit = 5000 }, kind: 9) == .overLimit)
    #expect(status({ $0.characters.append($0.characters[0]) }, kind: 3) == .badTokenizer)
    #expect(error { $0 = SectionBuilder(kind: 3, pretokenizer: 2) }?.offset == 44, "no tokens")
  }

  /// Time of this thread's processor, which other work on the machine does not add to.
  private func processorSeconds(_ body: () throws -> Void) rethrows -> Double {
    func now() -> Double {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
    let start = now()
    try body()
    return now() - start
  }

  /// Merges that make ever longer runs, so that the obvious loop would need n² steps.
  @Test(arguments: [0, 1]) func oneMegabyteOfOneLetter(_ scored: Int) throws {
    var builder = SectionBuilder(kind: UInt32(1 + scored))
    builder.addBytes()
    let a = builder.tokens.count
    builder.tokens.append([0x61])
    if scored == 1 { builder.characters = [a] } else { builder.byteIds[0x61] = UInt32(a) }
    for size in 2...512 {
      let id = builder.tokens.count
      builder.tokens.append([UInt8](repeating: 0x61, count: size))
      // The longer token first: a run grows by one at a time from the left.
      builder.merges.append(.init(left: id - 1, right: a, merged: id, rank: UInt32(512 - size)))
    }
    let loaded = try GuardedTokenizer(builder.bytes())
    let text = [UInt8](repeating: 0x61, count: 1 << 20)
    var ids: [Int32] = []
    let time = try processorSeconds { ids = try loaded.encode(text) }
    print("1 MiB of one letter, kind \(1 + scored): \(time) s")
    #expect(ids == [Int32](repeating: Int32(a + 511), count: 2048))
    #expect(time < 30)
  }

  /// Long runs of marks in the wrong order, of jamo, and of pieces that overlap.
  @Test(arguments: [7, 9]) func oneMegabyteOfMarks(_ kind: Int) throws {
    let loaded = try GuardedTokenizer(SectionBuilder.all[kind].bytes())
    for unit in ["\u{307}\u{323}", "s\u{307}\u{323}", "\u{1100}\u{1161}\u{11A8}", "ab", "b "] {
      let text = Array(String(repeating: unit, count: (1 << 18) / unit.utf8.count).utf8)
      let time = try processorSeconds { _ = try loaded.encode(text) }
      print("256 KiB of \(unit.unicodeScalars.map(\.value)), section \(kind): \(time) s")
      #expect(time < 30)
    }
  }

  /// Text that matches all but the last byte of many added tokens, everywhere.
  @Test func addedTokensThatAlmostMatch() throws {
    var builder = SectionBuilder(kind: 1)
    builder.addBytes()
    for last in UInt8(0x62)...0x7A {
      for size in 1...127 {
        builder.added[builder.tokens.count] = false
        builder.tokens.append([UInt8](repeating: 0x61, count: size) + [last])
      }
    }
    let loaded = try GuardedTokenizer(builder.bytes())
    let text = [UInt8](repeating: 0x61, count: 1 << 14)
    var ids: [Int32] = []
    let time = try processorSeconds { ids = try loaded.encode(text) }
    print("16 KiB of almost added tokens: \(time) s")
    #expect(ids.count == text.count)
    #expect(time < 30)
  }
}
