// What errors of every tensor cost at a model's outputs, so that all bits of a file have one price.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor
import Foundation

extension Recipe {
  /// The plan behind the recipe's loss, which the weights of the layers, embedding and head share; nil
  /// without one.
  ///
  /// Looks at up to four sequences of 128 tokens, and how often tokens occur in all. All layers are in
  /// memory meanwhile. Throws what reading throws, `QuantizeError` and `ConversionError`.
  func rates(
    _ checkpoint: Checkpoint, _ sequences: [[Int32]], progress: (ConversionStage) -> Void
  ) throws -> RatePlan? {
    guard let loss else { return nil }
    let held = try checkpoint.source.foldingNormBiases().held()
    let (d, ends) = (held.description, try held.ends())
    let stack = LayerStack(held, ends, Sensitivity.some(of: sequences))
    let sensitivity = Sensitivity(stack: stack, rules: [Recipe.probe], clip: clip)
    var weights = try sensitivity.slopes(of: TensorInventory(d).layerParts) {
      progress(.measuring(layer: $0, count: d.layers))
    }
    var streams = stack.streams
    for index in 0..<d.layers { streams = stack.run(try held.layer(index), index, over: streams) }
    let rows = TokenFrequencies(streams.map(stack.outputs), sequences, d.vocabularySize).weights
    let moments = try LayerCalibration(d, streams).watchHead(ends)
    func model(_ change: (inout DecoderEnds) -> Void) -> LayerStack {
      var other = ends
      change(&other)
      return LayerStack(held, other, Sensitivity.some(of: sequences))
    }
    for part in [EndPart.embedding, .head] where part.isPresent(in: d) {
      let planned = part.planned(d, stack.spreading)
      // What an embedding multiplies is known where it is the head as well.
      let hessian =
        part == .head || d.tiedHead ? try moments.hessian(for: .head) : nil
      weights[planned.name] = try sensitivity.weight(
        of: part.values(ends, d), block: planned.block, rows: rows, hessian
      ) { values in
        model { part.set(values, in: &$0) }
      } read: { values in
        guard d.tiedHead else { return nil }
        return model { ($0.embedding, $0.head) = (values, ends.embedding) }
      }
    }
    return RatePlan(loss: loss, TensorInventory(d).tensors, weights)
  }

  /// The same of a vision transformer, by up to 16 of the images, for the weights of its layers.
  func rates(
    _ weights: VisionWeights, _ images: [[UInt8]], progress: (ConversionStage) -> Void
  ) throws -> RatePlan? {
    guard let loss else { return nil }
    let vision = FoldedVision(weights)
    let seen = evenly(16, of: images.isEmpty ? DrawnScenes.images(vision.d, count: 16) : images)
    let inventory = VisionInventory(vision)
    let slopes = try Sensitivity(
      stack: LayerStack(weights, seen), rules: [Recipe.probe], clip: clip
    ).slopes(of: inventory.layers.parts) {
      progress(.measuring(layer: $0, count: vision.d.body.layers))
    }
    return RatePlan(loss: loss, inventory.tensors, slopes)
  }

  /// Errors about as large as the ones that are planned for.
  private static let probe = TensorRule(bits: 4, group: 32)
}

extension RatePlan {
  /// `loss` shared by all weights of the tensors that have a weight.
  fileprivate init(loss: Double, _ planned: [PlannedTensor], _ tensors: [String: ErrorWeight]) {
    let count = planned.filter { tensors[$0.name] != nil }.reduce(0) { $0 + $1.rows * $1.columns }
    self.init(lossPerWeight: loss / Double(max(count, 1)), tensors: tensors)
  }
}

extension Sensitivity {
  /// What errors of every weight among `parts` of every layer cost, by name.
  fileprivate func slopes(
    of parts: [LayerPart], progress: (Int) -> Void
  ) throws -> [String: ErrorWeight] {
    try measure(parts, progress: progress).mapValues { ErrorWeight(slope: $0.slope) }
  }

  /// What errors of a matrix outside the layers cost, whose rows count `rows`: the loss of the model
  /// with `changed` in its place at the only rule. `read` is the model where an embedding that is the
  /// head as well is changed only where tokens are read: that part of the loss knows no moments.
  fileprivate func weight(
    of values: Matrix, block: Int, rows: [Float], _ hessian: SolverHessian?,
    changed: (Matrix) -> LayerStack, read: (Matrix) -> LayerStack?
  ) throws -> ErrorWeight {
    let turned = Spreading.turned(values, block: block)
    let grid = try GridQuantizer(bits: rules[0].bits, group: rules[0].group, clip: clip)
      .quantize(turned)
    func weighted(_ errors: [Double]) -> Double {
      max(zip(errors, rows).reduce(0) { $0 + $1.0 * Double($1.1) }, 1e-300)
    }
    let probe = Spreading.turnedBack(grid.dequantized(), block: block)
    let loss = try loss(changed(probe))
    let squares = weighted(grid.squaredErrors(of: turned))
    guard let hessian else { return ErrorWeight(slope: loss / squares, rows: rows) }
    let errors = weighted(grid.outputErrors(of: turned, hessian))
    guard let model = read(probe) else { return ErrorWeight(slope: loss / errors, rows: rows) }
    let share = min(try self.loss(model) / max(loss, 1e-300), 0.9)
    return ErrorWeight(
      slope: (1 - share) * loss / errors, rows: rows,
      ridge: share / (1 - share) * errors / squares)
  }
}

/// How often tokens are read and predicted.
struct TokenFrequencies {
  /// [vocabulary], 1 on average.
  let weights: [Float]

  /// A part of all weight that tokens share alike, so that no text loses more than its inverse times
  /// what is planned for all texts.
  private static let even = 0.25

  /// Half by the mean probabilities of rows of logits, half by the tokens of `sequences`.
  init(_ logits: [Matrix], _ sequences: [[Int32]], _ vocabulary: Int) {
    var sums = [Double](repeating: 0, count: vocabulary)
    let positions = logits.reduce(0) { $0 + $1.rows }
    for rows in logits {
      for i in 0..<rows.rows {
        let row = rows.row(i)
        let largest = row.max() ?? 0
        let powers = row.map { exp(Double($0 - largest)) }
        let unit = 0.5 / Double(positions) / powers.reduce(0, +)
        for (token, power) in powers.enumerated() { sums[token] += power * unit }
      }
    }
    let tokens = sequences.reduce(0) { $0 + $1.count }
    for token in sequences.joined() { sums[Int(token)] += 0.5 / Double(max(tokens, 1)) }
    let scale = (1 - TokenFrequencies.even) * Double(vocabulary) / max(sums.reduce(0, +), 1e-300)
    weights = sums.map { Float($0 * scale + TokenFrequencies.even) }
  }
}
