// Quantizes and packs the tensors of a file, in their order.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a conversion is doing.
public enum ConversionStage: Sendable, Equatable {
  case reading
  /// Measuring activations with the float model.
  case calibrating
  /// Measuring what layer `layer` of `count` loses with fewer bits.
  case measuring(layer: Int, count: Int)
  /// Tensor `index` of `count`, counted from 0.
  case quantizing(name: String, index: Int, count: Int)
  case writing
}

/// A tensor as the file holds it.
struct PackedTensor {
  let tensor: QuantizedTensor
  let planned: PlannedTensor

  /// The real numbers that it stands for, turned back.
  var values: Matrix {
    guard let values = tensor.dequantized() else { preconditionFailure("constants have no values") }
    return Spreading.turnedBack(values, block: planned.block)
  }
}

/// Takes the values of planned tensors, in any order.
struct TensorPacker {
  let planned: [PlannedTensor]
  let recipe: Recipe
  let codec: CodecChoice
  let progress: (ConversionStage) -> Void
  /// Masks of tensors, by name.
  var masks: [String: BlockMask] = [:]
  /// What errors cost, where the recipe has a loss.
  var rates: RatePlan?
  private var slots: [TensorContents?]
  private var done = 0

  init(
    planned: [PlannedTensor], recipe: Recipe, codec: CodecChoice,
    progress: @escaping (ConversionStage) -> Void
  ) {
    self.planned = planned
    self.recipe = recipe
    self.codec = codec
    self.progress = progress
    slots = [TensorContents?](repeating: nil, count: planned.count)
  }

  /// All tensors in the order of the file, when each was put in its place.
  var packed: [TensorContents] {
    slots.map { slot in
      guard let slot else { preconditionFailure("a tensor is missing") }
      return slot
    }
  }

  /// Quantizes and packs the parts of layer `index`, the first of which is at `place`. Throws what
  /// `calibration` throws, `ConversionError` or `WriteError`.
  mutating func put(
    _ layer: DecoderLayer, _ index: Int, _ parts: [LayerPart], at place: Int,
    _ calibration: inout LayerCalibration?
  ) throws {
    let all = parts.map { $0.values(layer) }
    guard calibration != nil else {
      try put(all, at: place)
      return
    }
    if recipe.prune != nil {
      try calibration?.aim(layer, index) { places, moments in
        try put(Array(all[places]), at: place + places.lowerBound, moments: moments)
      }
    } else {
      let tensors = try put(all, at: place, moments: calibration?.watch(layer, index))
      calibration?.advance(layer, index, as: tensors)
    }
  }

  /// Quantizes and packs the tensors at `place` and behind. `moments` are those of their inputs,
  /// which solvers need. Throws `ConversionError` or `WriteError`.
  @discardableResult
  mutating func put(
    _ values: [Matrix], at place: Int, moments: InputMoments? = nil
  ) throws -> [PackedTensor] {
    var tensors: [PackedTensor] = []
    for (place, values) in zip(place..., values) {
      let tensor = planned[place]
      guard let role = tensor.role else { preconditionFailure("\(tensor.name) has no values") }
      report(tensor.name)
      do throws(QuantizeError) {
        let turned = Spreading.turned(values, block: tensor.block)
        let target = moments?.target(turned, for: role) ?? turned
        tensors.append(
          PackedTensor(
            tensor: try quantize(target, tensor.name, role, moments), planned: tensor))
      } catch {
        throw ConversionError.tensor(name: tensor.name, error)
      }
    }
    let contents = tensors.map { TensorContents($0.tensor) }
    for (place, contents) in zip(place..., try TensorContents.packed(contents, codec)) {
      slots[place] = contents
    }
    return tensors
  }

  private func quantize(
    _ values: Matrix, _ name: String, _ role: TensorRole, _ moments: InputMoments?
  ) throws(QuantizeError) -> QuantizedTensor {
    let hessian = try moments?.hessian(for: role)
    if let mask = masks[name], let hessian, let gathered = moments?.gathered(for: role) {
      return try recipe.quantize(
        values, name: name, role: role, mask: mask, moments: gathered, hessian: hessian)
    }
    if let prune = recipe.prune, prune.form != .blocks, role.isPruned,
      let gathered = moments?.gathered(for: role)
    {
      return try recipe.quantize(values, name: name, role: role, prune: prune, moments: gathered)
    }
    return try recipe.quantize(values, name: name, role: role, hessian: hessian, rates: rates)
  }

  /// Packs the phases of a rotary table.
  mutating func put(_ table: RotaryTable, at place: Int) throws {
    let name = planned[place].name
    report(name)
    let words: WordsTensor
    do throws(QuantizeError) {
      words = try PhaseTable.increments(frequencies: table.frequencies)
    } catch {
      throw ConversionError.tensor(name: name, error)
    }
    let tensor = TensorContents(QuantizedTensor(name: name, .words(words)))
    slots[place] = try TensorContents.packed([tensor], codec)[0]
  }

  private mutating func report(_ name: String) {
    progress(.quantizing(name: name, index: done, count: planned.count))
    done += 1
  }
}

extension TensorRole {
  /// Whether a recipe that prunes leaves something of it out: of the weights of the layers.
  fileprivate var isPruned: Bool {
    switch self {
    case .query, .key, .value, .output, .gate, .up, .down: true
    case .embedding, .head, .position, .patch, .norm, .bias: false
    }
  }
}

extension TensorContents {
  /// The writer's view of a quantized tensor.
  init(_ tensor: QuantizedTensor) {
    let payload: Payload
    switch tensor.base {
    case .grid(let grid):
      payload = .grid(
        Grid(
          bits: grid.bits, group: grid.group, exponent: grid.exponent, codes: grid.codes,
          mantissas: grid.mantissas, groupScales: grid.groupScales,
          groupOffsets: grid.groupOffsets, mask: grid.mask.map(Mask.init)))
    case .wide(let wide):
      payload = .wide(
        Wide(exponent: wide.exponent, codes: wide.codes, mantissas: wide.mantissas))
    case .words(let words):
      payload = .words(words.words)
    }
    self.init(name: tensor.name, rows: tensor.rows, columns: tensor.columns, payload: payload)
  }
}

extension TensorContents.Mask {
  fileprivate init(_ mask: GridMask) {
    switch mask {
    case .blocks(let mask): self = .blocks(mask.survives)
    case .pattern(let mask): self = .pattern(n: mask.n, m: mask.m, survives: mask.survives)
    case .columns(let list): self = .columns(list)
    }
  }
}
