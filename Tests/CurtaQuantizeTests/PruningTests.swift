// Pruned layers against Reference/prune.py, and what selection promises.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

/// A layer of Reference/pruned.json.
private struct PrunedLayer: Decodable, CustomTestStringConvertible {
  struct Strip: Decodable {
    /// Blocks as they go, and the loss of each.
    let order: [Int]
    let losses: [Double]
    /// The blocks that are kept in `solved`, [rows of the strip][columns].
    let kept: [Int]
    let solved: [Float]
  }

  struct Pattern: Decodable {
    let n, m: Int
    let wanda: Bool
    let values: [Float]
    let survives: String
  }

  struct KeepList: Decodable {
    let kept: [Int]
    let values: [Float]
  }

  let name: String
  let rows, columns, tokens: Int
  let weights: [Float]
  let moments: [Double]
  let strips: [Strip]
  let patterns: [Pattern]
  let keepList: KeepList

  var testDescription: String { name }

  static let all: [PrunedLayer] = {
    struct File: Decodable { let cases: [PrunedLayer] }
    let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let data = try! Data(contentsOf: place.appendingPathComponent("Reference/pruned.json"))
    return try! JSONDecoder().decode(File.self, from: data).cases
  }()

  var matrix: Matrix { Matrix(rows: rows, columns: columns, values: weights) }

  func hessian() throws -> Hessian {
    try Hessian(columns: columns, values: moments, samples: tokens)
  }
}

/// Σ (w − v) H (w − v)ᵀ with H damped as the selection does, one cell at a time.
private func error(_ w: Matrix, _ v: Matrix, _ moments: [Double]) -> Double {
  var total = 0.0
  for row in 0..<w.rows {
    for i in 0..<w.columns {
      for j in 0..<w.columns {
        total +=
          Double(w[row, i] - v[row, i]) * moments[i * w.columns + j] * Double(w[row, j] - v[row, j])
      }
    }
  }
  return total
}

private func isNear(_ a: [Float], _ b: [Float]) -> Bool {
  let size = b.reduce(0) { max($0, abs($1)) }
  return zip(a, b).allSatisfy { abs($0 - $1) <= 1e-4 * size }
}

@Suite struct PruningTests {
  @Test(arguments: PrunedLayer.all)
  private func removalsAreTheLeastOfAll(_ layer: PrunedLayer) throws {
    let moments = try dampedMoments(layer.hessian(), 0.01)
    let inverse = try #require(symmetricInverse(moments, layer.columns))
    let mask = BlockMask(rows: layer.rows, columns: layer.columns)
    #expect(layer.strips.count == mask.strips)
    for (strip, expected) in layer.strips.enumerated() {
      let rows = mask.rows(of: strip)
      let own = layer.weights[rows.lowerBound * layer.columns..<rows.upperBound * layer.columns]
      let removal = StripRemoval(
        weights: own.map(Double.init), rows: rows.count, inverse: inverse, columns: layer.columns,
        count: mask.blocks)
      #expect(removal.order == expected.order)
      for (a, b) in zip(removal.losses, expected.losses) { #expect(abs(a - b) <= 1e-6 * b) }
    }
  }

  @Test(arguments: PrunedLayer.all)
  private func compensationIsTheLeastSquares(_ layer: PrunedLayer) throws {
    var mask = BlockMask(rows: layer.rows, columns: layer.columns)
    for (strip, expected) in layer.strips.enumerated() {
      for block in 0..<mask.blocks {
        mask.survives[strip * mask.blocks + block] = expected.kept.contains(block)
      }
    }
    let solved = try BlockPruning().compensate(layer.matrix, try layer.hessian(), mask)
    let isClose = isNear(solved.values, layer.strips.flatMap(\.solved))
    #expect(isClose)
    // The losses of the order add up to the error that is left.
    let moments = try dampedMoments(layer.hessian(), 0.01)
    let sum = layer.strips.reduce(0) {
      $0 + $1.losses.prefix(mask.blocks - $1.kept.count).reduce(0, +)
    }
    #expect(abs(error(layer.matrix, solved, moments) - sum) <= 1e-4 * sum)
    // Nothing pruned: nothing moves.
    let whole = BlockMask(rows: layer.rows, columns: layer.columns)
    let isTheSame =
      try BlockPruning().compensate(layer.matrix, layer.hessian(), whole) == layer.matrix
    #expect(isTheSame)
  }

  @Test(arguments: PrunedLayer.all)
  private func patternsAreThoseOfSparseGPT(_ layer: PrunedLayer) throws {
    #expect(!layer.patterns.isEmpty)
    for pattern in layer.patterns {
      let pruning = try PatternPruning(
        n: pattern.n, m: pattern.m, score: pattern.wanda ? .wanda : .conditional)
      let pruned = try pruning.prune(layer.matrix, layer.hessian())
      let isSame = pruned.mask.survives == pattern.survives.map { $0 == "1" }
      let isClose = isNear(pruned.weight.values, pattern.values)
      #expect(isSame && isClose, "\(pattern.n):\(pattern.m), wanda \(pattern.wanda)")
      let grid = try GridQuantizer(bits: 8, group: 32).quantize(
        pruned.weight, mask: .pattern(pruned.mask))
      for (code, survives) in zip(grid.codes, pruned.mask.survives) where !survives {
        #expect(code == 0)
      }
    }
  }

  @Test(arguments: PrunedLayer.all)
  private func columnsAreTheLeastMissed(_ layer: PrunedLayer) throws {
    let pruned = try ColumnPruning().prune(
      layer.matrix, layer.hessian(), keeping: layer.keepList.kept.count)
    #expect(pruned.columns == layer.keepList.kept)
    let isClose = isNear(pruned.weight.values, layer.keepList.values)
    #expect(isClose)
    #expect(throws: QuantizeError.self) {
      try ColumnPruning().prune(layer.matrix, layer.hessian(), keeping: 0)
    }
  }

  // MARK: - Selection

  /// Layers with inputs that depend on one another.
  private func tensors(_ generator: inout SeededRandom) throws -> [PrunableTensor] {
    try [(48, 96), (20, 160), (64, 40)].map { rows, columns in
      var hessian = Hessian(columns: columns)
      try hessian.accumulate(rows: mixedInputs(200, columns, &generator))
      return PrunableTensor(
        weight: heavyTailed(rows, columns, &generator), hessian: hessian, tokens: 50)
    }
  }

  private func density(_ masks: [BlockMask]) -> Double {
    let cells = masks.map { Double($0.rows * $0.columns) }
    return zip(masks, cells).reduce(0) { $0 + $1.0.density * $1.1 } / cells.reduce(0, +)
  }

  @Test func theTargetIsMet() throws {
    var generator = SeededRandom.announced("theTargetIsMet")
    let tensors = try tensors(&generator)
    for target in [0.3, 0.5, 0.8, 1] {
      let masks = try BlockPruning().select(tensors, density: target)
      let reached = density(masks)  // blocks have at most 512 of 10 368 cells
      #expect(reached <= target && reached > target - 0.05, "\(reached)")
    }
    #expect(
      try BlockPruning().select(tensors, density: 1).allSatisfy { !$0.survives.contains(false) })
    // Floors hold, also where the target is then missed.
    var floored = tensors
    floored[1].floor = 0.9
    let masks = try BlockPruning().select(floored, density: 0.2)
    #expect(masks[1].density >= 0.9 && masks[0].density < 0.3)
    for mask in try BlockPruning().select(tensors, density: 1e-9) {
      #expect(mask.survives.contains(true))
    }
  }

  /// No other choice of whole prefixes with as few cells loses less: tried for all of two strips.
  @Test func oneSlopeIsTheOptimum() throws {
    var generator = SeededRandom.announced("oneSlopeIsTheOptimum")
    let tensors = try [1.0, 3.0].map { importance in
      var hessian = Hessian(columns: 160)
      try hessian.accumulate(rows: mixedInputs(400, 160, &generator))
      return PrunableTensor(
        weight: heavyTailed(16, 160, &generator), hessian: hessian, importance: importance)
    }
    func loss(_ masks: [BlockMask]) throws -> Double {
      var sum = 0.0
      for (tensor, mask) in zip(tensors, masks) {
        let moved = try BlockPruning().compensate(tensor.weight, tensor.hessian, mask)
        sum +=
          error(tensor.weight, moved, try dampedMoments(tensor.hessian, 0.01)) * tensor.importance!
      }
      return sum
    }
    let orders = try tensors.map { tensor in
      StripRemoval(
        weights: tensor.weight.values.map(Double.init), rows: 16,
        inverse: try #require(symmetricInverse(try dampedMoments(tensor.hessian, 0.01), 160)),
        columns: 160,
        count: 5
      ).order
    }
    for target in [0.8, 0.6, 0.4] {
      let masks = try BlockPruning().select(tensors, density: target)
      let gone = masks.map { mask in mask.survives.count { !$0 } }
      #expect(gone.reduce(0, +) == Int((10 * (1 - target)).rounded()))
      let reached = try loss(masks)
      for first in 0...4 where gone[0] + gone[1] - first >= 0 && gone[0] + gone[1] - first <= 4 {
        let others = [first, gone[0] + gone[1] - first].enumerated().map { index, count in
          var mask = BlockMask(rows: 16, columns: 160)
          for block in orders[index].prefix(count) { mask.survives[block] = false }
          return mask
        }
        // Averaged slopes may cut a run of falling losses.
        #expect(reached <= (try loss(others)) * 1.1, "\(target): \(gone), \(first)")
      }
    }
  }

  /// A price on multiplications moves blocks to the tensor that many tokens pass.
  @Test func powerCountsTokens() throws {
    var generator = SeededRandom.announced("powerCountsTokens")
    var tensors = try tensors(&generator)
    tensors[0].tokens = 1000
    tensors[1].tokens = 1
    let plain = try BlockPruning().select(tensors, density: 0.6)
    let priced = try BlockPruning(power: 1e-3).select(tensors, density: 0.6)
    #expect(priced[0].density < plain[0].density, "\(plain.map(\.density))")
    #expect(priced[1].density > plain[1].density, "\(priced.map(\.density))")
  }

  /// Compensated blocks lose less than blocks set to zero, and chosen ones less than random ones.
  @Test func compensationAndChoiceHelp() throws {
    var generator = SeededRandom.announced("compensationAndChoiceHelp")
    for tensor in try tensors(&generator) {
      let mask = try BlockPruning().select([tensor], density: 0.5)[0]
      var random = mask
      random.survives.shuffle(using: &generator)
      let moments = tensor.hessian.values
      var plain = tensor.weight
      for row in 0..<plain.rows {
        for column in 0..<plain.columns where !mask.survives[mask.index(row: row, column: column)] {
          plain[row, column] = 0
        }
      }
      let moved = try BlockPruning().compensate(tensor.weight, tensor.hessian, mask)
      let other = try BlockPruning().compensate(tensor.weight, tensor.hessian, random)
      let least = error(tensor.weight, moved, moments)
      #expect(least < error(tensor.weight, plain, moments))
      #expect(least < error(tensor.weight, other, moments))
      // On the grid pruned cells stay 0, and the rest is as good as ever.
      let grid = try GridQuantizer(bits: 4, group: 32).quantize(moved, mask: .blocks(mask))
      #expect(grid.mask == .blocks(mask))
      for row in 0..<moved.rows {
        for column in 0..<moved.columns where !mask.survives[mask.index(row: row, column: column)] {
          #expect(grid.codes[row * moved.columns + column] == 0)
        }
      }
      let dense = try GridQuantizer(bits: 4, group: 32).quantize(moved)
      let isEqual = grid.dequantized() == dense.dequantized()
      #expect(isEqual && grid.byteSize < dense.byteSize)
    }
  }

  // MARK: - Drop and regrow

  /// What a block would lose or gain is the difference of two least-squares solutions.
  @Test func movesAreExact() throws {
    var generator = SeededRandom.announced("movesAreExact")
    for tensor in try tensors(&generator) {
      let columns = tensor.weight.columns
      let moments = try dampedMoments(tensor.hessian, 0.01)
      var mask = try BlockPruning().select([tensor], density: 0.5)[0]
      mask.survives.shuffle(using: &generator)
      func loss(_ mask: BlockMask, _ strip: Int) throws -> Double {
        let moved = try BlockPruning().compensate(tensor.weight, tensor.hessian, mask)
        let rows = mask.rows(of: strip)
        func part(_ matrix: Matrix) -> Matrix {
          Matrix(
            rows: rows.count, columns: columns,
            values: Array(
              matrix.values[rows.lowerBound * columns..<rows.upperBound * columns]))
        }
        return error(part(tensor.weight), part(moved), moments)
      }
      let weights = tensor.weight.values.map(Double.init)
      for strip in 0..<mask.strips {
        let rows = mask.rows(of: strip)
        let own = Array(weights[rows.lowerBound * columns..<rows.upperBound * columns])
        var targets = [Double](repeating: 0, count: own.count)
        product(own, moments, into: &targets, m: rows.count, n: columns, k: columns)
        let kept = (0..<mask.blocks).filter { mask.survives[strip * mask.blocks + $0] }
          .flatMap { Array(mask.columns(of: $0)) }
        let solved = try #require(
          StripSolution(
            weights: own, targets: targets, rows: rows, moments: moments, columns: columns,
            kept: kept))
        let now = try loss(mask, strip)
        let whole = try loss(BlockMask(rows: mask.rows, columns: columns), strip)
        let size = try own.isEmpty ? 1 : loss(emptied(mask, strip), strip)
        #expect(abs(solved.error - now) <= 1e-5 * size && whole <= 1e-9 * size)
        for block in 0..<mask.blocks {
          let place = strip * mask.blocks + block
          var other = mask
          other.survives[place].toggle()
          let change = try abs(loss(other, strip) - now)
          let found = try #require(
            mask.survives[place]
              ? solved.loss(without: mask.columns(of: block))
              : solved.gain(with: mask.columns(of: block)))
          #expect(abs(found - change) <= 1e-5 * size, "\(strip), \(block)")
        }
      }
    }
  }

  /// Patterns lose less by least squares than as SparseGPT leaves them, and less still by exchange; what
  /// is left is the least-squares solution of each row.
  @Test(arguments: PrunedLayer.all)
  private func patternsGetBetter(_ layer: PrunedLayer) throws {
    let hessian = try layer.hessian()
    let moments = try dampedMoments(hessian, 0.01)
    for pattern in layer.patterns {
      let pruned = try PatternPruning(
        n: pattern.n, m: pattern.m, score: pattern.wanda ? .wanda : .conditional
      ).prune(layer.matrix, hessian)
      let solved = try DropAndRegrow(rounds: 0).refine(layer.matrix, hessian, pruned.mask)
      #expect(solved.mask == pruned.mask)
      let regrown = try DropAndRegrow(rounds: 8, share: 0.3).refine(
        layer.matrix, hessian, pruned.mask)
      let losses = [pruned.weight, solved.weight, regrown.weight].map {
        error(layer.matrix, $0, moments)
      }
      #expect(losses[1] < losses[0] && losses[2] < losses[1], "\(losses)")
      for row in 0..<layer.rows {
        for first in stride(from: 0, to: layer.columns, by: pattern.m) {
          let own = (0..<pattern.m).filter {
            regrown.mask.survives[row * layer.columns + first + $0]
          }
          #expect(own.count == pattern.n)
        }
        // The gradient is 0 where a weight survives, which makes it the minimum.
        for column in 0..<layer.columns
        where regrown.mask.survives[row * layer.columns + column] {
          var gradient = 0.0
          for k in 0..<layer.columns {
            gradient +=
              Double(layer.matrix[row, k] - regrown.weight[row, k])
              * moments[k * layer.columns + column]
          }
          #expect(abs(gradient) <= 1e-3 * moments[column * (layer.columns + 1)])
        }
      }
    }
  }

  private func emptied(_ mask: BlockMask, _ strip: Int) -> BlockMask {
    var mask = mask
    for block in 0..<mask.blocks { mask.survives[strip * mask.blocks + block] = false }
    return mask
  }

  /// Random masks get better by exchange, with no more cells; chosen ones do not get worse.
  @Test func exchangesLoseLess() throws {
    var generator = SeededRandom.announced("exchangesLoseLess")
    let tensors = try tensors(&generator)
    func loss(_ masks: [BlockMask]) throws -> Double {
      try zip(tensors, masks).reduce(0) { sum, pair in
        let moved = try BlockPruning().compensate(pair.0.weight, pair.0.hessian, pair.1)
        let moments = try dampedMoments(pair.0.hessian, 0.01)
        return try sum + error(pair.0.weight, moved, moments) * pair.0.weightOfErrors()
      }
    }
    let chosen = try BlockPruning().select(tensors, density: 0.5)
    var random = chosen
    for i in random.indices { random[i].survives.shuffle(using: &generator) }
    let bettered = try DropAndRegrow(rounds: 12).refine(tensors, random)
    #expect(density(bettered) <= density(random))
    #expect(try loss(bettered) < 0.9 * loss(random))
    let refined = try DropAndRegrow(rounds: 12).refine(tensors, chosen)
    #expect(density(refined) <= density(chosen))
    #expect(try loss(refined) <= loss(chosen) * (1 + 1e-9))
    #expect(try DropAndRegrow(rounds: 0).refine(tensors, chosen) == chosen)
    // Floors hold.
    var floored = tensors
    floored[1].floor = random[1].density
    #expect(try DropAndRegrow(rounds: 12).refine(floored, random)[1].density >= random[1].density)
  }

  @Test func badArgumentsAreNamed() throws {
    var generator = SeededRandom(3)
    let tensor = try tensors(&generator)[0]
    for density in [0, -1, 1.1, .nan] {
      #expect(throws: QuantizeError.self) { try BlockPruning().select([tensor], density: density) }
    }
    var broken = tensor
    broken.weight[3, 5] = .nan
    #expect(throws: QuantizeError.notFinite(row: 3, column: 5)) {
      try BlockPruning().select([broken], density: 0.5)
    }
    broken = tensor
    broken.hessian = Hessian(columns: 95)
    #expect(throws: QuantizeError.self) { try BlockPruning().select([broken], density: 0.5) }
    // Without any input all weights count alike.
    broken.hessian = Hessian(columns: 96)
    #expect(try abs(BlockPruning().select([broken], density: 0.5)[0].density - 0.5) < 0.06)
    let mask = BlockMask(rows: 48, columns: 95)
    #expect(throws: QuantizeError.self) {
      try BlockPruning().compensate(tensor.weight, tensor.hessian, mask)
    }
    for (n, m) in [(0, 4), (4, 4), (1, 3), (1, 64)] {
      #expect(throws: QuantizeError.self) { try PatternPruning(n: n, m: m) }
    }
    let quantizer = try GridQuantizer(bits: 4, group: 64)
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(tensor.weight, mask: .blocks(BlockMask(rows: 48, columns: 96)))
    }
  }
}
