// Bits for tensors against every possible choice.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Testing

@testable import CurtaQuantize

@Suite struct AllocationTests {
  private typealias Option = Allocation.Option

  /// The least loss within the budget, by trying everything.
  private func leastLoss(_ options: [[Option]], _ budget: Int) -> Double? {
    guard let last = options.last else { return budget >= 0 ? 0 : nil }
    return last.compactMap { option in
      leastLoss(options.dropLast(), budget - option.bytes).map { $0 + option.loss }
    }.min()
  }

  @Test func theChoiceIsTheBestOfAll() throws {
    var generator = SeededRandom.announced("allocation")
    for _ in 0..<400 {
      // Any bytes and losses, equal and useless ones among them.
      let options = (0..<1 + generator.below(6)).map { _ in
        (0..<1 + generator.below(5)).map { _ in
          Option(bytes: generator.below(30), loss: Double(generator.below(40)) / 8)
        }
      }
      let budget = generator.below(30 * options.count)
      guard let least = leastLoss(options, budget) else {
        #expect(throws: QuantizeError.self) {
          try Allocation.choose(options: options, budget: budget)
        }
        continue
      }
      let allocation = try Allocation.choose(options: options, budget: budget)
      #expect(allocation.isOptimal)
      #expect(abs(allocation.loss - least) < 1e-9)
      #expect(allocation.bound <= least + 1e-9)
      let chosen = zip(options, allocation.choices).map { $0[$1] }
      #expect(chosen.reduce(0) { $0 + $1.bytes } == allocation.bytes)
      #expect(allocation.bytes <= budget)
      #expect(abs(chosen.reduce(0) { $0 + $1.loss } - allocation.loss) < 1e-9)
    }
  }

  /// As many tensors as a model has: a loss falls fourfold with every bit.
  @Test func modelsAreSolvedToTheLastByte() throws {
    var generator = SeededRandom.announced("allocation of a model")
    let options = (0..<211).map { _ in
      let weights = 1000 * (100 + generator.below(900))
      let loss = Double(1 + generator.below(1000))
      return [2, 3, 4, 5, 6, 8].map { bits in
        Option(bytes: weights * bits / 8 + weights / 32, loss: loss / Double(1 << (2 * bits)))
      }
    }
    let most = options.reduce(0) { $0 + $1[5].bytes }
    for part in [0.3, 0.45, 0.5, 0.62, 0.9] {
      let budget = Int(Double(most) * part)
      let allocation = try Allocation.choose(options: options, budget: budget)
      #expect(allocation.bytes <= budget)
      #expect(allocation.isOptimal)
      #expect(allocation.bound <= allocation.loss)
      #expect(allocation.loss <= allocation.bound * 1.001)
      #expect(try Allocation.choose(options: options, budget: budget) == allocation)
      let hasty = try Allocation.choose(options: options, budget: budget, limit: 0)
      #expect(hasty.bytes <= budget && hasty.loss >= allocation.loss)
    }
    let all = try Allocation.choose(options: options, budget: most)
    #expect(all.choices.allSatisfy { $0 == 5 } && all.isOptimal)
    #expect(try Allocation.choose(options: [], budget: 0).choices.isEmpty)
  }

  @Test func badOptionsAreErrors() {
    for options in [
      [[]], [[Option(bytes: -1, loss: 0)]], [[Option(bytes: 1, loss: .nan)]],
      [[Option(bytes: 1, loss: -1)]],
    ] {
      #expect(throws: QuantizeError.self) { try Allocation.choose(options: options, budget: 9) }
    }
    #expect(
      throws: QuantizeError.unsupported("7 bytes are the least possible, and the budget is 6")
    ) {
      try Allocation.choose(options: [[Option(bytes: 7, loss: 1)]], budget: 6)
    }
  }
}
