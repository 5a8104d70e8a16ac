// The tensors of one layer learned together, by the error of what the layer gives.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import Glibc

/// What learning a layer led to.
public struct BlockReport: Sendable, Equatable {
  /// Means over rows of |output − target|² / |target|².
  public struct Errors: Sendable, Equatable {
    /// Of the inputs that were learned from.
    public var seen: Double
    /// Of those that were held out.
    public var held: Double
  }

  /// Which tensors the file has.
  public enum Kept: String, Sendable {
    case solved, learned, augmented
  }

  /// `layers.3`
  public var name: String
  public var solved: Errors
  public var learned: Errors
  /// nil where the recipe has no augmentation.
  public var augmented: Errors?
  /// Those of the least error of the inputs that were held out.
  public var kept: Kept
  /// Of all learning.
  public var seconds: Double

  /// All errors in their order.
  public var errors: [(kind: Kept, errors: Errors)] {
    [(.solved, solved), (.learned, learned)] + (augmented.map { [(.augmented, $0)] } ?? [])
  }
}

/// Block-wise reconstruction by gradients (BRECQ, Li et al. 2021, arXiv 2102.05426): codes, steps,
/// offsets, biases and norms are learned for the layer's output, not that of single tensors. Codes are
/// free over the whole grid, as "Gradient-based post-training quantization: challenging the status quo"
/// has it (Yvinec et al. 2023, arXiv 2308.07662); its importance-based mixed precision is the integer
/// programme of a budget (`Allocation`, `Sensitivity`).
///
/// Gradients pass roundings, of weights and of activations, as if they were not there. A quarter of the
/// calibration inputs is not learned from: of what there was on the way, as the file would have it, that
/// is kept whose error is least there, which may be what there was before.
struct BlockLearning {
  let rule: BlockRule
  let d: DecoderDescription
  /// What a layer has, in the order of the file.
  let parts: [LayerPart]
  /// Rounds activations as the program does.
  let runner: LayerRunner
  let layer: DecoderLayer
  let index: Int

  /// Rows in a mini-batch, at least where there are as many.
  static let batchRows = 512
  /// How far the logarithm of a step goes in an iteration, and a bias or norm in parts of its mean
  /// magnitude, for a weight that goes a step.
  private static let fineRate: Float = 0.2
  /// How often what there is is held against the inputs that were held out.
  private static let looks = 8

  /// What an input is, and what the layer should make of it.
  struct Sample: Sendable {
    let input: Matrix  // [rows][width]
    let target: Matrix  // [rows][width]
  }

  /// Some tensors and their errors.
  private typealias Found = (tensors: [PackedTensor], errors: BlockReport.Errors)

  /// The tensors that the file gets in place of `tensors`. Of `inputs` every fourth, or the last, is held
  /// out; there are two at least. Throws `QuantizeError`.
  func run(
    _ tensors: [PackedTensor], _ inputs: [Sample]
  ) throws(QuantizeError) -> (tensors: [PackedTensor], report: BlockReport) {
    let start = ContinuousClock().now
    let isHeld = { (i: Int) in inputs.count < 4 ? i == inputs.count - 1 : i % 4 == 3 }
    let seen = inputs.indices.filter { !isHeld($0) }.map { inputs[$0] }
    let held = inputs.indices.filter(isHeld).map { inputs[$0] }
    func errors(_ tensors: [PackedTensor]) -> BlockReport.Errors {
      BlockReport.Errors(seen: error(tensors, seen), held: error(tensors, held))
    }
    let solved: Found = (tensors, errors(tensors))
    let learned = try learn(solved, seen, held, nil)
    var best = learned.errors.held < solved.errors.held ? learned : solved
    var kept = learned.errors.held < solved.errors.held ? BlockReport.Kept.learned : .solved
    var augmented: Found?
    if rule.augments {
      let found = try learn(solved, seen, held, Augmentation(self, seen))
      if found.errors.held < best.errors.held { (best, kept) = (found, .augmented) }
      augmented = found
    }
    let report = BlockReport(
      name: "layers.\(index)", solved: solved.errors, learned: learned.errors,
      augmented: augmented?.errors, kept: kept, seconds: seconds(ContinuousClock().now - start))
    return (best.tensors, report)
  }

  /// The best of what there is on the way from `start`, which it is not.
  private func learn(
    _ start: Found, _ seen: [Sample], _ held: [Sample], _ augmentation: Augmentation?
  ) throws(QuantizeError) -> Found {
    var augmentation = augmentation
    var learned = LearnedLayer(layer, parts, start.tensors)
    var batches = MiniBatches(seen, rows: Self.batchRows, seed: 2)
    var best: (tensors: [PackedTensor], held: Double)?
    for step in 0..<rule.iterations {
      let batch = batches.next()
      let current = learned.layer
      let change = augmentation?.change(for: current, batch, step: step)
      let gradients = self.gradients(current, batch, change).parts
      let rate =
        Float(rule.rate) * 0.5 * (1 + cosf(Float.pi * Float(step) / Float(rule.iterations)))
      learned.step(gradients, rate: rate, fineRate: Self.fineRate * rate)
      let isLook = (step + 1) % max(rule.iterations / Self.looks, 1) == 0
      guard isLook || step + 1 == rule.iterations else { continue }
      let found = try learned.tensors()
      let error = self.error(found, held)
      if error < best?.held ?? .infinity { best = (found, error) }
    }
    guard let best else { return start }
    return (
      best.tensors, BlockReport.Errors(seen: error(best.tensors, seen), held: best.held)
    )
  }

  // MARK: - The loss

  /// The mean over rows of |output − target|² / |target|², of the tensors as the file has them.
  private func error(_ tensors: [PackedTensor], _ samples: [Sample]) -> Double {
    let outputs = runner.run(
      layer.replacing(parts, tensors), index, over: samples.map(\.input))
    var (sum, rows) = (0.0, 0)
    for (sample, output) in zip(samples, outputs) {
      let difference = output.minus(sample.target)
      for (row, weight) in Self.weights(sample.target).enumerated() {
        sum += Double(weight) * difference.row(row).reduce(0.0) { $0 + Double($1) * Double($1) }
      }
      rows += output.rows
    }
    return sum / Double(max(rows, 1))
  }

  /// 1 / |row|² of every row: the norm that comes next divides by that length.
  private static func weights(_ target: Matrix) -> [Float] {
    (0..<target.rows).map { row in
      1 / max(target.row(row).reduce(0) { $0 + $1 * $1 }, 1e-20)
    }
  }

  /// Gradients of the mean error of a batch.
  struct Gradients: Sendable {
    /// By the layer's weights and vectors; empty where those of the change are asked for.
    var parts: [LayerPart: Matrix] = [:]
    /// By gain and shift of the inputs' channels, [1][width] each.
    var change: [Matrix] = []
  }

  /// Gradients by the parameters of `current`, or with `byChange` by `change`, which both the layer and
  /// the float one see in place of the inputs.
  func gradients(
    _ current: DecoderLayer, _ batch: [Sample], _ change: InputChange?, byChange: Bool = false
  ) -> Gradients {
    let rows = Float(batch.reduce(0) { $0 + $1.input.rows })
    let found = SingleThreadedBLAS.run {
      concurrentMap(batch.count) { i -> Gradients in
        let sample = batch[i]
        let tape = Tape()
        let variables = LayerVariables(current, isWanted: !byChange)
        var input = Variable(sample.input, isWanted: false)
        var target = Variable(sample.target, isWanted: false)
        var moved: [Variable] = []
        if let change {
          let float = LayerTape(LayerRunner(d), layer, index, on: tape)
          let constants = LayerVariables(layer, isWanted: false)
          // What the target has beside the float layer's output stays.
          let rest = target.value.minus(float.run(input, constants).value)
          moved = [change.gain, change.shift].map { Variable($0, isWanted: byChange) }
          input = tape.add(tape.multiply(input, moved[0]), moved[1])
          target = tape.add(float.run(input, constants), Variable(rest, isWanted: false))
        }
        let output = LayerTape(runner, current, index, on: tape).run(input, variables)
        let difference = tape.subtract(output, target)
        var slope = difference.value
        slope.values.withUnsafeMutableBufferPointer { slope in
          for (row, weight) in Self.weights(target.value).enumerated() {
            for i in row * d.width..<(row + 1) * d.width { slope[i] *= 2 * weight / rows }
          }
        }
        tape.goBack(from: difference, gradient: slope)
        guard !byChange else { return Gradients(change: moved.compactMap(\.gradient)) }
        var result = Gradients()
        for part in parts {
          if let gradient = part.variable(variables)?.gradient { result.parts[part] = gradient }
        }
        return result
      }
    }
    return found.dropFirst().reduce(into: found[0]) { sum, other in
      for (part, gradient) in other.parts { sum.parts[part]?.add(gradient) }
      for (i, gradient) in other.change.enumerated() { sum.change[i].add(gradient) }
    }
  }
}

/// Samples in an order that is drawn anew whenever all had their turn.
struct MiniBatches {
  private let samples: [BlockLearning.Sample]
  private let rows: Int
  private var order: [Int]
  private var place: Int
  private var random: RandomNumbers

  /// Mini-batches of `rows` rows, or some more.
  init(_ samples: [BlockLearning.Sample], rows: Int, seed: UInt64) {
    self.samples = samples
    self.rows = rows
    random = RandomNumbers(seed: seed)
    order = Array(samples.indices)
    place = samples.count
  }

  mutating func next() -> [BlockLearning.Sample] {
    var result: [BlockLearning.Sample] = []
    var found = 0
    repeat {
      if place == order.count {
        for i in order.indices.dropFirst().reversed() {
          order.swapAt(i, Int(random.next() % UInt64(i + 1)))
        }
        place = 0
      }
      let sample = samples[order[place]]
      place += 1
      result.append(sample)
      found += sample.input.rows
    } while found < rows && result.count < samples.count
    return result
  }
}

/// Seconds of a duration.
private func seconds(_ duration: Duration) -> Double {
  let (seconds, attoseconds) = duration.components
  return Double(seconds) + Double(attoseconds) * 1e-18
}

extension LayerPart {
  /// Where a gradient by it arrives; nil for the norms of heads.
  fileprivate func variable(_ layer: LayerVariables) -> Variable? {
    switch self {
    case .attentionNorm: layer.attentionNorm.weight
    case .attentionNormBias: layer.attentionNorm.bias
    case .attentionPostNorm: layer.attentionPostNorm?.weight
    case .feedForwardNorm: layer.feedForwardNorm?.weight
    case .feedForwardNormBias: layer.feedForwardNorm?.bias
    case .feedForwardPostNorm: layer.feedForwardPostNorm?.weight
    case .query: layer.query.weight
    case .queryBias: layer.query.bias
    case .key: layer.key.weight
    case .keyBias: layer.key.bias
    case .value: layer.value.weight
    case .valueBias: layer.value.bias
    case .output: layer.output.weight
    case .outputBias: layer.output.bias
    case .gate: layer.gate?.weight
    case .gateBias: layer.gate?.bias
    case .up: layer.up.weight
    case .upBias: layer.up.bias
    case .down: layer.down.weight
    case .downBias: layer.down.bias
    case .queryNorm, .keyNorm: nil
    }
  }
}
