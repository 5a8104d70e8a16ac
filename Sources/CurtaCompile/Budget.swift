// Which bits each tensor gets, so that a file of a given size loses least.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor

/// What the bits of a recipe's choices are shared out for.
public enum Budget: Sendable, Equatable {
  /// Bytes of the file, before compression.
  case bytes(Int)
  /// Bits of the tensors for each parameter, on average.
  case bits(Double)
  /// The loss that the sum of all tensors' losses stays below: KL divergence in nats, or of features
  /// the squared distance over the squared length; as few bytes as that takes.
  case loss(Double)
}

/// The tensors that share a budget, and what each loses at each choice.
struct BudgetPlan {
  let planned: [PlannedTensor]
  let recipe: Recipe
  /// Bytes of a file beside its tensors.
  let otherBytes: Int
  let parameters: Int
  /// Losses at the recipe's choices, by the name of the tensor.
  let losses: [String: [Double]]

  /// The recipe with a rule of its own for each of those tensors. Throws `ConversionError`.
  func recipe(for budget: Budget) throws(ConversionError) -> Recipe {
    let shared = planned.filter { losses[$0.name] != nil }
    let fixed = planned.filter { losses[$0.name] == nil }.reduce(0) {
      $0 + Self.bytes($1, $1.role.map { recipe.rule(for: $0) })
    }
    let options = shared.map { tensor in
      zip(recipe.choices, losses[tensor.name] ?? []).map {
        Allocation.Option(bytes: Self.bytes(tensor, $0), loss: $1)
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
    case .bytes(let bytes): allocation = try allocate(bytes - otherBytes - fixed)
    case .bits(let bits):
      allocation = try allocate(Int(bits * Double(parameters) / 8) - fixed)
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

  /// Bytes of the streams of a tensor and of their entries in a file; nil: constants.
  private static func bytes(_ tensor: PlannedTensor, _ rule: TensorRule?) -> Int {
    let streams = rule.map { $0.bits == 16 ? 2 : $0.group == 0 ? 2 : 3 } ?? 1
    let own = rule?.byteSize(rows: tensor.rows, columns: tensor.columns) ?? 4 * tensor.columns
    // A stream begins at a multiple of 64, and has 48 bytes in the directory.
    return own + streams * 80 + 64 + tensor.name.utf8.count
  }
}

extension Lowering {
  /// The recipe with the bits of its choices shared out for `budget`.
  ///
  /// Looks at up to four sequences of 256 tokens. All layers are in memory meanwhile. Throws what
  /// reading throws, `QuantizeError` and `ConversionError`.
  static func allotted(
    _ original: DecoderSource, _ recipe: Recipe, _ budget: Budget, sequences: [[Int32]],
    otherBytes: Int, progress: (ConversionStage) -> Void
  ) throws -> Recipe {
    let source = original.foldingNormBiases()
    let d = source.description
    let ends = try source.ends()
    let layers = try (0..<d.layers).map { try source.layer($0) }
    let held = DecoderSource(
      description: d, parameterCount: source.parameterCount, ends: { ends },
      layer: { layers[$0] })
    let some = stride(from: 0, to: sequences.count, by: max(1, sequences.count / 4)).prefix(4)
      .map { Array(sequences[$0].prefix(256)) }
    let stack = LayerStack(held, ends, some)
    let inventory = TensorInventory(d)
    let parts = inventory.layerParts.filter(\.isWeight)
    let sensitivity = Sensitivity(stack: stack, rules: recipe.choices, clip: recipe.clip)
    var losses = named(
      try sensitivity.losses(of: parts) { progress(.measuring(layer: $0, count: d.layers)) }, parts)
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
    return try BudgetPlan(
      planned: inventory.tensors, recipe: recipe, otherBytes: otherBytes,
      parameters: source.parameterCount, losses: losses
    ).recipe(for: budget)
  }
}

extension VisionLowering {
  /// The recipe with the bits of its choices shared out for `budget`, by up to 16 of the images.
  static func allotted(
    _ weights: VisionWeights, _ recipe: Recipe, _ budget: Budget, images: [[UInt8]],
    progress: (ConversionStage) -> Void
  ) throws -> Recipe {
    let vision = FoldedVision(weights)
    let inputs = images.isEmpty ? VisionCalibration.drawn(vision.d) : images
    let some = stride(from: 0, to: inputs.count, by: max(1, inputs.count / 16)).prefix(16)
    let stack = LayerStack(weights, some.map { inputs[$0] })
    let inventory = VisionInventory(vision)
    let parts = inventory.layers.parts.filter(\.isWeight)
    let losses = try Sensitivity(stack: stack, rules: recipe.choices, clip: recipe.clip).losses(
      of: parts
    ) { progress(.measuring(layer: $0, count: vision.d.body.layers)) }
    return try BudgetPlan(
      planned: inventory.tensors, recipe: recipe, otherBytes: fileOverhead,
      parameters: weights.parameterCount, losses: named(losses, parts)
    ).recipe(for: budget)
  }
}

/// Header, metadata, program.
let fileOverhead = 16_384

private func named(_ losses: [[[Double]]], _ parts: [LayerPart]) -> [String: [Double]] {
  var result: [String: [Double]] = [:]
  for (layer, losses) in losses.enumerated() {
    for (part, losses) in zip(parts, losses) { result["layers.\(layer).\(part.rawValue)"] = losses }
  }
  return result
}
