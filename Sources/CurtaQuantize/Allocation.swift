// Which encoding each tensor gets so that a model of so many bytes loses least.
// SPDX-License-Identifier: Apache-2.0

/// One choice for every tensor: the least sum of losses within a budget of bytes.
///
/// The integer programme of AdaQuant (Hubara et al. 2020, arXiv 2006.10518), a multiple-choice
/// knapsack. Losses are taken to add up, which a measurement of the whole must confirm.
public struct Allocation: Sendable, Equatable {
  /// A way to encode a tensor, and what it costs.
  public struct Option: Sendable, Equatable {
    public var bytes: Int
    /// What the model loses, in any unit that adds up.
    public var loss: Double

    public init(bytes: Int, loss: Double) {
      self.bytes = bytes
      self.loss = loss
    }
  }

  /// For every tensor the index of its option.
  public let choices: [Int]
  public let bytes: Int
  public let loss: Double
  /// No choice within the budget loses less than this (the dual of the programme).
  public let bound: Double
  /// Whether the search ended: no choice within the budget loses less than `loss`.
  public let isOptimal: Bool

  /// Chooses among `options` [tensors][options of that tensor] within `budget` bytes.
  ///
  /// Takes the slope at which a byte is worth spending, spends by it, and then branches over what is
  /// left, at most `limit` times (a few thousand do for most models). Of equal losses the same is
  /// chosen every time. Throws `QuantizeError.unsupported` where the smallest options are beyond the
  /// budget, a tensor has none, or a number is negative or not finite.
  public static func choose(
    options: [[Option]], budget: Int, limit: Int = 2_000_000
  ) throws(QuantizeError) -> Allocation {
    for (i, options) in options.enumerated() {
      guard !options.isEmpty else { throw .unsupported("tensor \(i) has no options") }
      for option in options {
        guard option.bytes >= 0, option.loss >= 0, option.loss.isFinite else {
          throw .unsupported(
            "an option of tensor \(i) with \(option.bytes) bytes and a loss of \(option.loss)")
        }
      }
    }
    let least = options.reduce(0) { $0 + ($1.map(\.bytes).min() ?? 0) }
    guard least <= budget else {
      throw .unsupported("\(least) bytes are the least possible, and the budget is \(budget)")
    }
    var search = Search(options, budget: budget)
    search.spend()
    let bound = search.bound
    search.branch(limit: limit)
    return Allocation(
      choices: search.best, bytes: search.sum(search.best, \.bytes),
      loss: search.sum(search.best, \.loss), bound: min(bound, search.bestLoss),
      isOptimal: search.hasEnded)
  }
}

/// The state of a choice: first the linear relaxation, then depth first.
private struct Search {
  let options: [[Allocation.Option]]
  let budget: Int
  /// What the last byte of the relaxation saves.
  private(set) var slope = 0.0
  private(set) var bound = 0.0
  private(set) var best: [Int] = []
  private(set) var bestLoss = Double.infinity
  private(set) var hasEnded = true

  init(_ options: [[Allocation.Option]], budget: Int) {
    self.options = options
    self.budget = budget
  }

  func sum<Number: AdditiveArithmetic>(
    _ choices: [Int], _ path: KeyPath<Allocation.Option, Number>
  ) -> Number {
    zip(options, choices).reduce(.zero) { $0 + $1.0[$1.1][keyPath: path] }
  }

  // MARK: The relaxation, and what it says as whole choices

  /// A step on the lower convex hull of a tensor's options.
  private struct Step {
    let tensor: Int
    let option: Int
    let bytes: Int
    let saving: Double  // per byte
  }

  /// Spends the budget on the steps that save most a byte, then on any that still fit.
  mutating func spend() {
    var choices: [Int] = []
    var steps: [Step] = []
    for (tensor, options) in options.enumerated() {
      let hull = Search.hull(options)
      choices.append(hull[0])
      for (a, b) in zip(hull, hull.dropFirst()) {
        let bytes = options[b].bytes - options[a].bytes
        let saving = (options[a].loss - options[b].loss) / Double(bytes)
        steps.append(Step(tensor: tensor, option: b, bytes: bytes, saving: saving))
      }
    }
    // Steps of one tensor stay in order: their savings descend strictly.
    steps.sort { ($0.saving, $1.tensor) > ($1.saving, $0.tensor) }
    var left = budget - sum(choices, \.bytes)
    var next = 0
    while next < steps.count, steps[next].bytes <= left {
      left -= steps[next].bytes
      choices[steps[next].tensor] = steps[next].option
      next += 1
    }
    slope = next < steps.count ? steps[next].saving : 0
    bound = sum(choices, \.loss) - slope * Double(left)
    fill(&choices, left)
    best = choices
    bestLoss = sum(choices, \.loss)
  }

  /// Changes single choices while that saves anything within the budget.
  private func fill(_ choices: inout [Int], _ left: Int) {
    var left = left
    while true {
      var change: (tensor: Int, option: Int, saving: Double)?
      for (tensor, options) in options.enumerated() {
        let own = options[choices[tensor]]
        for (i, option) in options.enumerated() where option.bytes - own.bytes <= left {
          let saving = own.loss - option.loss
          if saving > change?.saving ?? 0 { change = (tensor, i, saving) }
        }
      }
      guard let change else { return }
      left -= options[change.tensor][change.option].bytes
      left += options[change.tensor][choices[change.tensor]].bytes
      choices[change.tensor] = change.option
    }
  }

  /// Indices of the options on the lower convex hull of (bytes, loss), from the fewest bytes to the
  /// least loss.
  private static func hull(_ options: [Allocation.Option]) -> [Int] {
    let order = options.indices.sorted {
      (options[$0].bytes, options[$0].loss, $0) < (options[$1].bytes, options[$1].loss, $1)
    }
    var hull: [Int] = []
    for i in order {
      if let last = hull.last, options[i].loss >= options[last].loss { continue }
      while hull.count >= 2 {
        let (a, b) = (options[hull[hull.count - 2]], options[hull[hull.count - 1]])
        let former = (a.loss - b.loss) * Double(options[i].bytes - b.bytes)
        let latter = (b.loss - options[i].loss) * Double(b.bytes - a.bytes)
        guard former <= latter else { break }
        hull.removeLast()
      }
      hull.append(i)
    }
    return hull
  }

  // MARK: Branch and bound

  /// The tensors in the order of the tree, each with the options that a better choice may have.
  private var open: [(tensor: Int, options: [Int])] = []
  /// What the last i tensors of `open` take at least, in bytes and in price.
  private var leastBytes = [0]
  private var leastPrice = [0.0]

  /// Tries choices in order of what they cost beyond the relaxation, until no other can be better.
  mutating func branch(limit: Int) {
    let gap = bestLoss - bound
    guard gap > 0 else { return }
    let slope = slope
    let price = { (option: Allocation.Option) in option.loss + slope * Double(option.bytes) }
    for (tensor, options) in options.enumerated() {
      let prices = options.map(price)
      let least = prices.min() ?? 0
      // What costs more than the gap cannot be in a better choice.
      let close = options.indices.filter { prices[$0] - least < gap }
      open.append((tensor, close.sorted { (prices[$0], $0) < (prices[$1], $1) }))
    }
    open.sort { ($0.options.count, $1.tensor) > ($1.options.count, $0.tensor) }
    for (tensor, choices) in open.reversed() {
      let own = choices.map { options[tensor][$0] }
      leastBytes.append(leastBytes.last! + (own.map(\.bytes).min() ?? 0))
      leastPrice.append(leastPrice.last! + (own.map(price).min() ?? 0))
    }
    walk(limit: limit)
  }

  private mutating func walk(limit: Int) {
    var current = best
    var visits = 0
    // One frame a level: the option that comes next, and what those above took.
    var frames = [(next: 0, bytes: 0, loss: 0.0)]
    while let frame = frames.last {
      let depth = frames.count - 1
      if depth == open.count, frame.loss < bestLoss { (best, bestLoss) = (current, frame.loss) }
      guard depth < open.count, frame.next < open[depth].options.count else {
        frames.removeLast()
        continue
      }
      guard visits < limit else {
        hasEnded = false
        return
      }
      visits += 1
      frames[depth].next += 1
      let (tensor, choice) = (open[depth].tensor, open[depth].options[frame.next])
      let option = options[tensor][choice]
      let (bytes, loss) = (frame.bytes + option.bytes, frame.loss + option.loss)
      let rest = open.count - depth - 1
      let least = loss + leastPrice[rest] + slope * Double(bytes - budget)
      guard bytes + leastBytes[rest] <= budget, least < bestLoss else { continue }
      current[tensor] = choice
      frames.append((0, bytes, loss))
    }
  }
}
