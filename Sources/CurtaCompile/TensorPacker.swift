// Quantizes and packs the tensors of a file, in their order.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a conversion is doing.
public enum ConversionStage: Sendable, Equatable {
  case reading
  /// Measuring activations.
  case calibrating
  /// Measuring what layer `layer` of `count` loses with fewer bits.
  case measuring(layer: Int, count: Int)
  /// Tensor `index` of `count`, counted from 0.
  case quantizing(name: String, index: Int, count: Int)
  /// What each step left of the error of that tensor.
  case quantized(name: String, steps: [SolvingStep])
  /// What learning the tensors of a layer together led to.
  case learned(BlockReport)
  /// Packing and compressing what was quantized.
  case compressing
  case writing
  /// Checking what was written.
  case checking
}

/// A tensor as the file holds it.
struct PackedTensor {
  /// nil where its factors are all there is.
  let tensor: QuantizedTensor?
  let planned: PlannedTensor
  var factors: PackedFactors?

  /// The real numbers that it stands for, turned back.
  var values: Matrix {
    var values: Matrix?
    if let tensor {
      guard let own = tensor.dequantized() else { preconditionFailure("constants have no values") }
      values = planned.turnedBack(own)
    }
    guard let product = factors?.values else { return values! }
    guard var values else { return product }
    for i in values.values.indices { values.values[i] += product.values[i] }
    return values
  }
}

/// The two factors of a weight.
struct PackedFactors {
  let left: QuantizedTensor
  let right: QuantizedTensor
  /// Hadamard blocks of what comes between them.
  let between: Int
  /// The weight.
  let whole: PlannedTensor

  /// Their product as inputs meet it.
  var turned: Matrix {
    Spreading.turnedBack(left.dequantized()!, block: between).times(right.dequantized()!)
  }

  /// Their product, turned back.
  var values: Matrix { whole.turnedBack(turned) }
}

/// Takes the values of planned tensors, in any order.
struct TensorPacker {
  let planned: [PlannedTensor]
  /// By the place of the weight.
  let factors: [Int: FactorPlaces]
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
    planned: [PlannedTensor], factors: [Int: FactorPlaces] = [:], recipe: Recipe,
    codec: CodecChoice,
    progress: @escaping (ConversionStage) -> Void
  ) {
    self.planned = planned
    self.factors = factors
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

  /// Places that something was put in, ascending.
  var filled: [Int] { slots.indices.filter { slots[$0] != nil } }

  /// What was put in some places.
  func contents(_ places: Range<Int>) -> [TensorContents] { places.compactMap { slots[$0] } }

  /// Takes tensors that are packed already, at `place` and behind.
  mutating func set(_ contents: [TensorContents], at place: Int) {
    for (place, contents) in zip(place..., contents) {
      report(contents.name)
      slots[place] = contents
    }
  }

  /// Quantizes and packs the tensors at `place` and behind. `moments` are those of their inputs,
  /// which solvers need; `refine` may give others in their place. Throws `ConversionError` or
  /// `WriteError`, or what `refine` throws.
  @discardableResult
  mutating func put(
    _ values: [Matrix], at place: Int, moments: InputMoments? = nil,
    refine: ([PackedTensor]) throws -> [PackedTensor] = { $0 }
  ) throws -> [PackedTensor] {
    var tensors: [PackedTensor] = []
    var ownFactors: [(place: Int, tensor: QuantizedTensor)] = []
    /// What the biases behind weights have to add.
    var shifts: [TensorRole: [Float]] = [:]
    for (place, values) in zip(place..., values) {
      let tensor = planned[place]
      guard let role = tensor.role else { preconditionFailure("\(tensor.name) has no values") }
      report(tensor.name)
      do throws(QuantizeError) {
        var turned = tensor.turned(values)
        if let shift = tensor.biasOf.flatMap({ shifts[$0] }) { turned.add(Matrix(row: shift)) }
        let inputs = moments.map { Inputs(moments: $0, role: role, isCentred: hasShift(place)) }
        let packed: PackedTensor
        if let own = factors[place] {
          if own.left != place { report(planned[own.left].name) }
          report(planned[own.right].name)
          packed = try factor(values, place, own, role, inputs)
          if let factors = packed.factors {
            ownFactors += [(own.left, factors.left), (own.right, factors.right)]
          }
        } else {
          let target = inputs?.target(turned) ?? turned
          packed = PackedTensor(
            tensor: try quantize(target, tensor.name, role, inputs), planned: tensor)
        }
        if let inputs, inputs.isCentred {
          shifts[role] = inputs.shift(turned, quantized: tensor.turned(packed.values))
        }
        tensors.append(packed)
      } catch {
        throw ConversionError.tensor(name: tensor.name, error)
      }
    }
    tensors = try refine(tensors)
    let contents =
      zip(place..., tensors).compactMap { place, packed in packed.tensor.map { (place, $0) } }
      + ownFactors
    progress(.compressing)
    let packed = try TensorContents.packed(contents.map { TensorContents($0.1) }, codec)
    for (content, packed) in zip(contents, packed) { slots[content.0] = packed }
    return tensors
  }

  /// The rows that a tensor multiplies, as its solvers see them.
  private struct Inputs {
    let moments: InputMoments
    let role: TensorRole
    /// Whether a bias makes up for the mean error of its outputs.
    let isCentred: Bool

    var gathered: Hessian? { moments.gathered(for: role, centred: isCentred) }

    func hessian() throws(QuantizeError) -> SolverHessian? {
      try moments.hessian(for: role, centred: isCentred)
    }

    func target(_ weights: Matrix) -> Matrix {
      moments.target(weights, for: role, centred: isCentred)
    }

    func shift(_ weights: Matrix, quantized: Matrix) -> [Float]? {
      moments.biasShift(weights, quantized: quantized, for: role)
    }
  }

  /// Whether the tensor behind that at `place` is its bias, which the recipe corrects.
  private func hasShift(_ place: Int) -> Bool {
    recipe.correctsBias && planned.indices.contains(place + 1) && planned[place].role != nil
      && planned[place + 1].biasOf == planned[place].role
  }

  /// A weight as two factors, or as a base and two factors of what it leaves, fitted in turn.
  private func factor(
    _ values: Matrix, _ place: Int, _ places: FactorPlaces, _ role: TensorRole,
    _ inputs: Inputs?
  ) throws(QuantizeError) -> PackedTensor {
    let (left, right) = (planned[places.left], planned[places.right])
    var whole = planned[place]
    whole.block = right.block
    let turned = whole.turned(values)
    let gathered = inputs?.gathered.map { $0.damped(by: 0.01) }
    func factors(of weights: Matrix) throws(QuantizeError) -> PackedFactors {
      let best = try LowRank.right(of: weights, rank: places.rank, gathered)
      let first = try quantize(best, right.name, role, inputs, isFine: right.isFine)
      // What the left one multiplies is the Hadamard of the right one's product.
      var between = first.dequantized()!
      between = Spreading.spread(between, block: left.block)
      let fitted = try LowRank.left(of: weights, behind: between, gathered)
      let second = try recipe.quantizeFactor(
        fitted.left, name: left.name, role: role, isFine: left.isFine,
        hessian: gathered == nil ? nil : SolverHessian(fitted.moments.damped(by: 0.001)))
      return PackedFactors(left: second, right: first, between: left.block, whole: whole)
    }
    guard places.left != place else {
      return PackedTensor(tensor: nil, planned: planned[place], factors: try factors(of: turned))
    }
    func rest(_ other: Matrix) -> Matrix {
      var rest = turned
      for i in rest.values.indices { rest.values[i] -= other.values[i] }
      return rest
    }
    let name = planned[place].name
    var base = try quantize(turned, name, role, inputs)
    var found = try factors(of: rest(base.dequantized()!))
    base = try quantize(rest(found.turned), name, role, inputs)
    found = try factors(of: rest(base.dequantized()!))
    return PackedTensor(tensor: base, planned: planned[place], factors: found)
  }

  private func quantize(
    _ values: Matrix, _ name: String, _ role: TensorRole, _ inputs: Inputs?,
    isFine: Bool = false
  ) throws(QuantizeError) -> QuantizedTensor {
    let hessian = try inputs?.hessian()
    if isFine {
      return try recipe.quantizeFactor(
        values, name: name, role: role, isFine: true, hessian: hessian)
    }
    if let mask = masks[name], let hessian, let gathered = inputs?.gathered {
      return try recipe.quantize(
        values, name: name, role: role, mask: mask, moments: gathered, hessian: hessian)
    }
    if let prune = recipe.prune, prune.form != .blocks, role.isPruned,
      let gathered = inputs?.gathered
    {
      return try recipe.quantize(values, name: name, role: role, prune: prune, moments: gathered)
    }
    return try recipe.quantize(values, name: name, role: role, hessian: hessian, rates: rates) {
      progress(.quantized(name: name, steps: $0))
    }
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
          groupOffsets: grid.groupOffsets, mask: grid.mask.map(Mask.init),
          outliers: grid.overlays.lazy.compactMap(OutlierColumns.init).first,
          residual: grid.overlays.lazy.compactMap(SparseResidual.init).first))
    case .wide(let wide):
      payload = .wide(
        Wide(exponent: wide.exponent, codes: wide.codes, mantissas: wide.mantissas))
    case .words(let words):
      payload = .words(words.words)
    }
    self.init(name: tensor.name, rows: tensor.rows, columns: tensor.columns, payload: payload)
  }
}

extension TensorContents.OutlierColumns {
  fileprivate init?(_ overlay: GridOverlay) {
    guard case .columns(let columns) = overlay.cells else { return nil }
    self.init(step: overlay.step, columns: columns, values: overlay.values)
  }
}

extension TensorContents.SparseResidual {
  fileprivate init?(_ overlay: GridOverlay) {
    guard case .entries(let starts, let columns) = overlay.cells else { return nil }
    self.init(step: overlay.step, starts: starts, columns: columns, values: overlay.values)
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
