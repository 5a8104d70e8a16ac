// curta_sample against the arithmetic vectors, a second implementation, and what chance expects.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

/// Section 5 of curta-arithmetic.md, written plainly.
struct PlainSampler {
  var temperature: UInt64 = 0
  var topK = 0
  var topP: UInt64 = 0
  var minP: UInt64 = 0
  var penalty: Int64 = 0
  var recent: [Int32] = []

  private func exp30(_ d: UInt64) -> UInt64 { Fixed.exp30(UInt32(d)) }

  func token(_ logits: [Int32], random: UInt64) -> Int32 {
    var l = logits.map { Int64($0) }
    if penalty != 0, penalty != 16384 {
      for id in Set(recent) {
        let x = l[Int(id)]
        let y = x > 0 ? (x << 14 + penalty / 2) / penalty : (x * penalty + 8192) >> 14
        l[Int(id)] = min(max(y, -0x7FFF_FFFF), 0x7FFF_FFFF)
      }
    }
    var order = Array(l.indices).sorted { l[$0] != l[$1] ? l[$0] > l[$1] : $0 < $1 }
    guard temperature > 0 else { return Int32(order[0]) }
    let k = (1_549_082_005 + temperature / 2) / temperature
    let most = l[order[0]]
    let w = l.map { exp30(min((UInt64(most - $0) * k + 8192) >> 14, 40 << 16)) }
    if topK > 0 { order = Array(order.prefix(topK)) }
    order = [order[0]] + order.dropFirst().filter { w[$0] >= minP << 14 }
    if topP > 0, topP < 65536 {
      let (high, low) = order.reduce(0) { $0 + w[$1] }.multipliedFullWidth(by: topP)
      let need = max(1, high << 48 | low >> 16)
      var sum: UInt64 = 0
      var count = 0
      while sum < need {
        sum += w[order[count]]
        count += 1
      }
      order = Array(order.prefix(count))
    }
    var rest = random.multipliedFullWidth(by: order.reduce(0) { $0 + w[$1] }).high
    for id in order.sorted() {
      if w[id] > rest { return Int32(id) }
      rest -= w[id]
    }
    return -1
  }
}

/// A session whose logits and recent tokens a test sets.
final class SamplingBench {
  let session: TestSession
  let state: UnsafeMutablePointer<SessionState>

  init(vocabulary: Int, context: UInt32 = 64) throws {
    var f = FileBuilder(context: context, vocabulary: UInt32(vocabulary), seed: 3)
    let x = f.buffer(1, 8, fraction: 12)
    let last = f.buffer(1, 8, outputs: true, fraction: 12)
    let codes = f.buffer(3, 8, outputs: true)
    f.output = f.buffer(1, vocabulary, outputs: true, fraction: 16)
    let table = f.wide(vocabulary, 8)
    let gamma = f.wide(1, 8)
    f.op(1, table, x)
    f.op(9, x, last)
    f.op(2, last, gamma, codes, 1, 0, 0)
    f.op(10, codes, table, f.output)
    session = try TestSession(f.build(), Setup(chunk: 1))
    state = UnsafeMutablePointer<SessionState>(session.pointer)
    try session.step([0])
  }

  func set(_ logits: [Int32], recent: [Int32] = []) {
    let row = state.pointee.buffers[Int(state.pointee.program.output)].values
    row.update(from: logits, count: logits.count)
    let place = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    place.update(from: recent, count: recent.count)
    state.pointee.past = recent.count
  }

  func sample(_ plain: PlainSampler, window: UInt32 = UInt32.max) throws -> Int32 {
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    sampling.temperature = UInt32(plain.temperature)
    sampling.top_k = UInt32(plain.topK)
    sampling.top_p = UInt32(plain.topP)
    sampling.min_p = UInt32(plain.minP)
    sampling.repetition_penalty = UInt32(plain.penalty)
    sampling.penalty_window = window
    var token: Int32 = -1
    try check(curta_sample(session.pointer, &sampling, &token))
    return token
  }

  /// Makes `number` the next random number: xorshift64* backwards.
  func force(_ number: UInt64) {
    var inverse: UInt64 = 0x2545_F491_4F6C_DD1D
    for _ in 0..<6 { inverse = inverse &* (2 &- 0x2545_F491_4F6C_DD1D &* inverse) }
    let y = number &* inverse
    func unshiftRight(_ y: UInt64, _ n: UInt64) -> UInt64 {
      var x = y
      for _ in 0..<64 / n { x = y ^ x >> n }
      return x
    }
    func unshiftLeft(_ y: UInt64, _ n: UInt64) -> UInt64 {
      var x = y
      for _ in 0..<64 / n { x = y ^ x << n }
      return x
    }
    state.pointee.random = unshiftRight(unshiftLeft(unshiftRight(y, 27), 25), 12)
  }
}

@Suite struct SamplingTests {
  @Test func vectors() throws {
    for var f in try arithmetic("sampling") {
      let logits = f.list(Int32.self)
      let recent = f.list(Int32.self)
      var plain = PlainSampler()
      plain.temperature = f.number()
      plain.topK = f.number()
      plain.topP = f.number()
      plain.minP = f.number()
      plain.penalty = f.number()
      plain.recent = recent
      let random = f.number(UInt64.self)
      let expected = f.number(Int32.self)
      let bench = try SamplingBench(vocabulary: logits.count)
      bench.set(logits, recent: recent)
      bench.force(random)
      #expect(try bench.sample(plain) == expected, "\(f.line)")
      #expect(plain.token(logits, random: random) == expected, "plain: \(f.line)")
    }
  }

  @Test func randomNumbers() throws {
    let bench = try SamplingBench(vocabulary: 2)
    for var f in try arithmetic("xorshift") {
      curta_seed(bench.session.pointer, f.number())
      let first = bench.state.pointee.random
      #expect(first == f.number())
      for number in f.list(UInt64.self) {
        let before = bench.state.pointee.random
        bench.force(number)
        #expect(bench.state.pointee.random == before, "\(f.line)")
        bench.set([0, 0])
        _ = try bench.sample(PlainSampler(temperature: 65536))  // takes one number
        #expect(bench.state.pointee.random != before)
      }
    }
  }

  @Test func againstTheSecondImplementation() throws {
    var random = SeededRandom.announced("sampling")
    for size in [1, 2, 3, 17, 300] {
      let bench = try SamplingBench(vocabulary: size)
      for _ in 0..<600 {
        let spread = UInt64(1) << UInt64(random.below(32))
        let logits = (0..<size).map { _ in
          Int32(clamping: Int64(random.next() % (2 * spread)) - Int64(spread))
        }
        var plain = PlainSampler()
        plain.temperature = random.chance(5) ? 0 : random.next() >> UInt64(32 + random.below(32))
        plain.topK = random.chance(2) ? 0 : random.below(size + 2)
        plain.topP = random.chance(2) ? 0 : UInt64(random.below(70_000))
        plain.minP = random.chance(2) ? 0 : UInt64(random.below(70_000))
        plain.penalty = random.chance(2) ? 0 : Int64(random.next() >> UInt64(32 + random.below(32)))
        plain.recent = (0..<random.below(20)).map { _ in Int32(random.below(size)) }
        let number = random.next()
        bench.set(logits.map { max($0, -Int32.max) }, recent: plain.recent)
        bench.force(number)
        let expected = plain.token(logits.map { max($0, -Int32.max) }, random: number)
        #expect(try bench.sample(plain) == expected, "\(plain) \(logits)")
      }
    }
  }

  @Test func greedyTakesTheLowestOfEquals() throws {
    let bench = try SamplingBench(vocabulary: 5)
    bench.set([1, 7, 3, 7, 7])
    let before = bench.state.pointee.random
    #expect(try bench.sample(PlainSampler()) == 1)
    #expect(bench.state.pointee.random == before)  // no number was drawn
    bench.set([-0x7FFF_FFFF, -0x7FFF_FFFF, -0x7FFF_FFFF, -0x7FFF_FFFF, -0x7FFF_FFFF])
    #expect(try bench.sample(PlainSampler()) == 0)
  }

  @Test func penaltyLooksBackAsFarAsItsWindow() throws {
    let bench = try SamplingBench(vocabulary: 3)
    let plain = PlainSampler(penalty: 32768)
    bench.set([100, 90, 40], recent: [0, 1, 2])
    #expect(try bench.sample(plain, window: 0) == 0)
    #expect(try bench.sample(plain, window: 2) == 0)
    #expect(try bench.sample(plain, window: 3) == 0)  // all halved
    bench.set([100, 90, 40], recent: [1, 2, 0])
    #expect(try bench.sample(plain, window: 1) == 1)
    #expect(try bench.sample(plain, window: UInt32.max) == 0)
  }

  @Test func arguments() throws {
    let session = try TestSession(ValidVector.named("tiny").bytes, Setup())
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    var token: Int32 = -7
    let bad = Status.badArgument.rawValue
    #expect(curta_sample(session.pointer, &sampling, &token) == bad)  // no step yet
    try session.step([1])
    #expect(curta_sample(nil, &sampling, &token) == bad)
    #expect(curta_sample(session.pointer, nil, &token) == bad)
    #expect(curta_sample(session.pointer, &sampling, nil) == bad)
    sampling.struct_size = 24
    #expect(curta_sample(session.pointer, &sampling, &token) == bad && token == -7)
    sampling.struct_size = 28
    #expect(curta_sample(session.pointer, &sampling, &token) == 0 && token >= 0)
    try check(curta_rewind(session.pointer, 0))
    #expect(curta_sample(session.pointer, &sampling, &token) == bad)
  }

  /// 20 000 draws follow the weights: chi-square below its 99.99 % point for 7 degrees of freedom.
  @Test func drawsFollowTheWeights() throws {
    let bench = try SamplingBench(vocabulary: 8)
    let logits: [Int32] = (0..<8).map { 65536 * $0 / 4 }
    bench.set(logits)
    let seed = SeededRandom.announcedSeed("draws")
    curta_seed(bench.session.pointer, seed)
    var counts = [Double](repeating: 0, count: 8)
    let draws = 20_000
    for _ in 0..<draws {
      counts[Int(try bench.sample(PlainSampler(temperature: 65536)))] += 1
    }
    // Weights e^(i / 4), by repeated multiplication.
    let weights = (0..<8).map { i in (0..<i).reduce(1.0) { x, _ in x * 1.284_025_416_687_741_5 } }
    let total = weights.reduce(0, +)
    let chi = zip(counts, weights).reduce(0.0) { sum, pair in
      let expected = pair.1 / total * Double(draws)
      return sum + (pair.0 - expected) * (pair.0 - expected) / expected
    }
    #expect(chi < 29.9, "chi-square \(chi), seed \(seed)")
  }
}
