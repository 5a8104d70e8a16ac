// From float weights to the integers of a file: every tensor quantized, and the program over them.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// What a conversion is doing.
public enum ConversionStage: Sendable, Equatable {
  case reading
  /// Measuring activations with the float model.
  case calibrating
  /// Tensor `index` of `count`, counted from 0.
  case quantizing(name: String, index: Int, count: Int)
  case writing
}

/// Turns a decoder into tensors and a program.
struct Lowering {
  let weights: DecoderWeights
  let recipe: Recipe
  /// The token that texts begin with, for calibration.
  let begin: Int32?
  let progress: (ConversionStage) -> Void

  /// Quantizes tensor by tensor; beside the float weights only the results are in memory.
  ///
  /// Throws `ConversionError` or `WriteError`.
  func run() throws -> (tensors: [TensorContents], program: ProgramDescription) {
    let d = weights.description
    try Lowering.checkLimits(d)
    progress(.calibrating)
    let largest = Calibration.largestResidual(weights, begin: begin)
    guard largest.isFinite else {
      throw ConversionError.unsupported([
        "activations beyond float32: the residual stream is not finite; check the weights"
      ])
    }
    let scale = ResidualScale(largest: largest, epsilon: d.normEpsilon)
    let inventory = TensorInventory(d)
    let program = try DecoderProgram.make(d, inventory, scale)
    var contents: [TensorContents] = []
    contents.reserveCapacity(inventory.tensors.count)
    for (index, tensor) in inventory.tensors.enumerated() {
      progress(
        .quantizing(name: tensor.name, index: index, count: inventory.tensors.count))
      contents.append(try quantize(tensor))
    }
    return (contents, program)
  }

  private func quantize(_ tensor: PlannedTensor) throws(ConversionError) -> TensorContents {
    do throws(QuantizeError) {
      guard let role = tensor.role else {
        let d = weights.description
        let phases = try PhaseTable.increments(base: d.ropeBase, width: d.headWidth)
        return TensorContents(QuantizedTensor(name: tensor.name, .words(phases)))
      }
      let block = Spreading(weights.description).block(of: role)
      let values = Spreading.turned(tensor.values(weights), block: block)
      return TensorContents(try recipe.quantize(values, name: tensor.name, role: role))
    } catch {
      throw .tensor(name: tensor.name, error)
    }
  }

  /// Lists everything about the model that passes a limit of the format.
  static func checkLimits(_ d: DecoderDescription) throws(ConversionError) {
    let limits: [(String, Int, UInt32)] = [
      ("context", d.contextLength, Limits.context),
      ("width", d.width, Limits.codesWidth),
      ("feed-forward width", d.feedForwardWidth, Limits.codesWidth),
      ("width of all query heads", d.queryWidth, Limits.codesWidth),
      ("vocabulary", d.vocabularySize, Limits.rows),
      ("query heads", d.queryHeads, Limits.heads),
      ("width of a head", d.headWidth, Limits.headWidth),
      ("caches", 2 * d.layers, Limits.states),
    ]
    let passed = limits.filter { $0.1 > Int($0.2) }
    guard passed.isEmpty else {
      throw .unsupported(passed.map { "\($0.0): \($0.1) (at most \($0.2))" })
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
          groupOffsets: grid.groupOffsets))
    case .wide(let wide):
      payload = .wide(
        Wide(exponent: wide.exponent, codes: wide.codes, mantissas: wide.mantissas))
    case .words(let words):
      payload = .words(words.words)
    }
    self.init(name: tensor.name, rows: tensor.rows, columns: tensor.columns, payload: payload)
  }
}
