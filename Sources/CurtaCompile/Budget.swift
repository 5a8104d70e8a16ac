// Which bits each tensor gets, so that a file of a given size loses least.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor

/// What the bits of a recipe's choices are shared out for.
public enum Budget: Sendable, Equatable {
  /// Bytes of the file, before compression.
  case bytes(Int)
  /// Bits of the tensors for each parameter, on average, as `ConversionPlan.tensorBytes` counts them.
  case bits(Double)
  /// The loss that the sum of all tensors' losses stays below: KL divergence in nats, or of features
  /// the squared distance over the squared length; as few bytes as that takes.
  case loss(Double)
}

/// The tensors of a file that a budget is for.
struct BudgetPlan {
  let planned: [PlannedTensor]
  let recipe: Recipe
  let budget: Budget
  /// Bytes of a file beside its tensors.
  let otherBytes: Int
  let parameters: Int

  /// Bytes of header, metadata and program, about.
  static let overhead = 16_384

  /// The index of the choice that losses are measured at: the largest that all parameters can have
  /// within the budget, else the smallest; for a budget of loss, one of the recipe's default bits.
  var probe: Int {
    let choices = recipe.choices
    // Of a tensor of a usual shape.
    let sizes = choices.map { Double($0.byteSize(rows: 1024, columns: 1024)) / 0x1p20 }
    let least = choices.indices.min { sizes[$0] < sizes[$1] } ?? 0
    guard let limit else {
      return choices.firstIndex { $0.bits == recipe.standard.bits } ?? least
    }
    let most = Double(limit) / Double(max(parameters, 1))
    return choices.indices.filter { sizes[$0] <= most }.max { sizes[$0] < sizes[$1] } ?? least
  }

  /// The recipe with a rule of its own for each tensor that has `losses`: at its choices, by the name
  /// of the tensor. Throws `ConversionError`.
  func recipe(_ losses: [String: [Double]]) throws(ConversionError) -> Recipe {
    let shared = planned.filter { losses[$0.name] != nil }
    let fixed = planned.filter { losses[$0.name] == nil }.reduce(0) {
      $0 + bytes($1, $1.role.map { recipe.rule(for: $0) })
    }
    let options = shared.map { tensor in
      zip(recipe.choices, losses[tensor.name] ?? []).map {
        Allocation.Option(bytes: bytes(tensor, $0), loss: $1)
      }
    }
    func allocate(_ bytes: Int) throws(ConversionError) -> Allocation {
      do throws(QuantizeError) {
        return try Allocation.choose(options: options, budget: bytes)
      } catch {
        throw .unsupported(["a budget of \(bytes) bytes for the weights of the layers: \(error)"])
      }
    }
    let allocation: Allocation
    switch budget {
    case .bytes, .bits: allocation = try allocate((limit ?? 0) - fixed)
    case .loss(let loss):
      // The least budget, to 1/256 of the range, whose loss is low enough.
      let least = options.reduce(0) { $0 + ($1.map(\.bytes).min() ?? 0) }
      let most = options.reduce(0) { $0 + ($1.map(\.bytes).max() ?? 0) }
      var best = try allocate(most)
      guard best.loss <= loss else {
        throw .unsupported([
          "a loss of \(loss): with most bits the weights of the layers lose \(best.loss)"
        ])
      }
      var (low, high) = (least, most)
      while high - low > max(1, (most - least) / 256) {
        let middle = (low + high) / 2
        let found = try allocate(middle)
        if found.loss <= loss { (best, high) = (found, middle) } else { low = middle }
      }
      allocation = best
    }
    var result = recipe
    for (tensor, choice) in zip(shared, allocation.choices) {
      result.tensors[tensor.name] = recipe.choices[choice]
    }
    return result
  }

  /// Bytes that all tensors have together; nil: as few as a loss takes.
  private var limit: Int? {
    switch budget {
    case .bytes(let bytes): bytes - otherBytes
    case .bits(let bits): Int((bits * Double(parameters) / 8).rounded())
    case .loss: nil
    }
  }

  /// Bytes of the streams of a tensor, and unless bits are counted of their entries in a file; nil:
  /// constants.
  private func bytes(_ tensor: PlannedTensor, _ rule: TensorRule?) -> Int {
    var streams = rule?.streams ?? 1
    var own = 4 * tensor.rows * tensor.columns
    if let rule, let role = tensor.role {
      if recipe.outliers(for: role, rule) != nil { streams += 3 }
      own = recipe.byteSize(rows: tensor.rows, columns: tensor.columns, role: role, rule)
    }
    if case .bits = budget { return own }
    // A stream has 48 bytes in the directory, and begins at a multiple of 64; a tensor has 64.
    return own + streams * 80 + 64 + tensor.name.utf8.count
  }
}

extension Recipe {
  /// The recipe with the bits of its choices shared out; itself without a budget.
  ///
  /// Looks at up to four sequences of 128 tokens. All layers are in memory meanwhile. Throws what
  /// reading throws, `QuantizeError` and `ConversionError`.
  func allotted(
    _ checkpoint: Checkpoint, _ budget: Budget?, _ calibration: CalibrationInput,
    progress: (ConversionStage) -> Void
  ) throws -> Recipe {
    guard let budget else { return self }
    let held = try checkpoint.source.foldingNormBiases().held()
    let d = held.description
    let ends = try held.ends()
    let some = Sensitivity.some(of: try CalibrationText.sequences(checkpoint, calibration))
    let stack = LayerStack(held, ends, some)
    let inventory = TensorInventory(d)
    let plan = try BudgetPlan(
      planned: inventory.tensors, recipe: self, budget: budget,
      otherBytes: BudgetPlan.overhead + tokenizerSection(of: checkpoint).count,
      parameters: held.parameterCount)
    let sensitivity = Sensitivity(
      stack: stack, rules: choices, probe: plan.probe, clip: clip, outliers: outliers)
    var losses = try sensitivity.measure(inventory.layerParts) {
      progress(.measuring(layer: $0, count: d.layers))
    }.mapValues(\.losses)
    for part in [EndPart.embedding, .head] where part.isPresent(in: d) {
      let planned = part.planned(d, stack.spreading)
      losses[planned.name] = try sensitivity.losses(
        of: part.values(ends, d), block: planned.block
      ) { values in
        // A tied head changes with the embedding.
        var other = ends
        part.set(values, in: &other)
        return LayerStack(held, other, some)
      }
    }
    return try plan.recipe(losses)
  }

  /// The same of a vision transformer, by up to 16 of the images.
  func allotted(
    _ checkpoint: VisionCheckpoint, _ budget: Budget?, _ calibration: CalibrationInput,
    progress: (ConversionStage) -> Void
  ) throws -> Recipe {
    guard let budget else { return self }
    let weights = checkpoint.weights
    let vision = FoldedVision(weights)
    let images = evenly(16, of: calibration.images ?? DrawnScenes.images(vision.d, count: 16))
    let inventory = VisionInventory(vision)
    let plan = BudgetPlan(
      planned: inventory.tensors, recipe: self, budget: budget, otherBytes: BudgetPlan.overhead,
      parameters: weights.parameterCount)
    let losses = try Sensitivity(
      stack: LayerStack(weights, images), rules: choices, probe: plan.probe, clip: clip,
      outliers: outliers
    ).measure(inventory.layers.parts) {
      progress(.measuring(layer: $0, count: vision.d.body.layers))
    }.mapValues(\.losses)
    return try plan.recipe(losses)
  }
}

extension DecoderSource {
  /// The same with all layers in memory. Throws what reading throws.
  func held() throws -> DecoderSource {
    let ends = try ends()
    let layers = try (0..<description.layers).map { try layer($0) }
    return DecoderSource(
      description: description, parameterCount: parameterCount, ends: { ends },
      layer: { layers[$0] })
  }
}

extension Sensitivity {
  /// What losses are measured on: up to four sequences of 128 tokens.
  static func some(of sequences: [[Int32]]) -> [[Int32]] {
    evenly(4, of: sequences).map { Array($0.prefix(128)) }
  }
}

/// At most `count` elements, evenly out of all.
func evenly<Element>(_ count: Int, of all: [Element]) -> [Element] {
  let taken = min(count, all.count)
  return (0..<taken).map { all[$0 * all.count / taken] }
}
