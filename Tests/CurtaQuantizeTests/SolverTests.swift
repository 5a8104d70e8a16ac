// Solvers against numpy, and what every solver promises.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

@Suite struct SolverTests {
  @Test(arguments: SolvedLayer.all)
  func errorIsThatOfNumpy(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    let error = layer.tensor.outputError(of: layer.matrix, hessian)
    #expect(abs(error - layer.error) <= 1e-6 * layer.error)
  }

  /// The same codes as from the inverse, up to ties; rows that GPTQ makes worse are kept.
  @Test(arguments: SolvedLayer.all)
  func gptqIsThatOfNumpy(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    #expect(hessian.damping == 0.01)
    let block = RowBlock(layer.tensor, layer.matrix, hessian, rows: 0..<layer.rows)
    GPTQ.solve(block, hessian)
    #expect(block.part(hessian).codes == layer.gptqCodes)
    var tensor = layer.tensor
    tensor.solve(layer.matrix, hessian, [.gptq])
    #expect(tensor.outputError(of: layer.matrix, hessian) <= layer.gptq * (1 + 1e-6))
  }

  /// The sweeps of numpy, whose gradients are formed anew every time.
  @Test(arguments: SolvedLayer.all)
  func descentIsThatOfNumpy(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    let block = RowBlock(layer.tensor, layer.matrix, hessian, rows: 0..<layer.rows)
    GPTQ.solve(block, hessian)
    QuantEase.solve(block, hessian, sweeps: 8, escape: false)
    #expect(block.errors(hessian).reduce(0, +) <= layer.descent * (1 + 1e-6))
  }

  /// The bias of least squares and what is left beside it, by nearest codes and by GPTQ's.
  @Test(arguments: SolvedLayer.all)
  func correctedBiasesAreTheLeastSquares(_ layer: SolvedLayer) throws {
    let moments = try layer.movedHessian()
    let hessian = try SolverHessian(moments.centred)
    var weights = layer.matrix
    for i in weights.values.indices where moments.diagonal[i % layer.columns] == 0 {
      weights.values[i] = 0  // No input: as numpy has it.
    }
    let size = layer.bias.map(abs).max() ?? 0
    let shift = BiasCorrection.shift(
      of: weights, quantized: layer.tensor.dequantized(), mean: moments.mean)
    for (found, expected) in zip(shift, layer.bias) {
      #expect(abs(Double(found) - expected) <= 1e-6 * size)
    }
    let error = layer.tensor.outputError(of: weights, hessian)
    #expect(abs(error - layer.besideBias) <= 1e-6 * layer.besideBias)
    #expect(error < layer.tensor.outputError(of: weights, try SolverHessian(moments)))
    var tensor = layer.tensor
    tensor.solve(weights, hessian, [.gptq])
    #expect(tensor.outputError(of: weights, hessian) <= layer.gptqBesideBias * (1 + 1e-6))
  }

  /// No worse than Adam in float64, though scales are integers: in the end they fit the codes.
  @Test(arguments: SolvedLayer.all)
  func learnedCodesAreNoWorseThanNumpys(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    var tensor = layer.tensor
    tensor.solve(layer.matrix, hessian, [.adaquant])
    let error = tensor.outputError(of: layer.matrix, hessian)
    print("MEASURED adaquant.\(layer.name.replacing(" ", with: "-")) \(error / layer.adaquant)")
    #expect(layer.adaquant < layer.error)
    #expect(error <= layer.adaquant * (1 + 1e-6))
  }

  /// Between the best real scales and those to which no integer beside them is better.
  @Test(arguments: SolvedLayer.all)
  func scalesAreThoseOfLeastSquares(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    var start = layer.tensor
    start.codes = layer.gptqCodes
    let block = RowBlock(start, layer.matrix, hessian, rows: 0..<layer.rows)
    ScaleFit.solve(block, hessian)
    let error = block.errors(hessian).reduce(0, +)
    #expect(error >= layer.scalesAfterGptq * (1 - 1e-6))
    #expect(error <= layer.scalesAfterGptq * 1.01)
    let part = block.part(hessian)
    #expect(part.codes == layer.gptqCodes)
    var best = start
    best.mantissas = part.mantissas
    best.groupScales = part.groupScales
    best.groupOffsets = part.groupOffsets
    let least = layer.error(of: best)
    #expect(abs(least - error) <= 1e-5 * error)
    for cell in 0..<(best.groupScales?.count ?? 0) {
      for step: UInt8 in [1, 255] {
        var other = best
        other.groupScales?[cell] &+= step
        #expect(layer.error(of: other) >= least * (1 - 1e-6))
      }
    }
    for cell in 0..<(best.groupOffsets?.count ?? 0) {
      for step: Int16 in [1, -1] {
        var other = best
        other.groupOffsets?[cell] += step
        #expect(layer.error(of: other) >= least * (1 - 1e-6))
      }
    }
  }

  @Test(arguments: Solver.allCases)
  func noRowGetsWorse(_ solver: Solver) throws {
    for layer in SolvedLayer.all {
      let hessian = try SolverHessian(layer.hessian())
      let before = RowBlock(layer.tensor, layer.matrix, hessian, rows: 0..<layer.rows)
      var tensor = layer.tensor
      tensor.solve(layer.matrix, hessian, [solver])
      let after = RowBlock(tensor, layer.matrix, hessian, rows: 0..<layer.rows)
      for (a, b) in zip(after.errors(hessian), before.errors(hessian)) { #expect(a <= b) }
      if layer.rows > 1 {
        #expect(tensor.outputError(of: layer.matrix, hessian) < 0.99 * layer.error)
      }
    }
  }

  @Test(arguments: Solver.allCases)
  func integersStayInRange(_ solver: Solver) throws {
    var generator = SeededRandom.announced("solvers on ragged shapes, \(solver)")
    for (rows, columns, bits, group) in [
      (1, 1, 2, 0), (3, 33, 3, 32), (70, 40, 8, 64), (2, 130, 5, 0),
    ] {
      let weights = heavyTailed(rows, columns, &generator)
      var hessian = Hessian(columns: columns)
      try hessian.accumulate(rows: mixedInputs(50, columns, &generator))
      let quantizer = try GridQuantizer(bits: bits, group: group)
      let tensor = try quantizer.quantize(weights, hessian: hessian, solvers: [solver])
      let range = GridTensor.codeRange(bits: bits)
      #expect(tensor.codes.count == rows * columns)
      #expect(tensor.codes.allSatisfy { range.contains(Int($0)) })
      #expect(tensor.mantissas.count == rows && !tensor.mantissas.contains(0))
      #expect(tensor.groupScales?.count == (group == 0 ? nil : rows * tensor.groups))
      #expect(tensor == (try quantizer.quantize(weights, hessian: hessian, solvers: [solver])))
    }
  }

  /// What one thread makes of a block of rows after the other is what all cores make of them.
  @Test(arguments: Solver.allCases)
  func coresDoNotMatter(_ solver: Solver) throws {
    var generator = SeededRandom.announced("cores, \(solver)")
    let weights = heavyTailed(150, 36, &generator)
    var moments = Hessian(columns: 36)
    try moments.accumulate(rows: mixedInputs(90, 36, &generator))
    let hessian = try SolverHessian(moments)
    let start = try GridQuantizer(bits: 3, group: 32).quantize(weights)
    var together = start
    together.solve(weights, hessian, [solver])
    for first in stride(from: 0, to: 150, by: RowBlock.width) {
      let rows = first..<min(first + RowBlock.width, 150)
      let part = SingleThreadedBLAS.run {
        let block = RowBlock(start, weights, hessian, rows: rows)
        block.run([solver], hessian)
        return block.part(hessian)
      }
      #expect(part.codes == Array(together.codes[rows.lowerBound * 36..<rows.upperBound * 36]))
      #expect(part.mantissas == Array(together.mantissas[rows]))
      let cells = rows.lowerBound * start.groups..<rows.upperBound * start.groups
      #expect(part.groupScales == together.groupScales.map { Array($0[cells]) })
    }
  }

  @Test(arguments: Solver.allCases)
  func columnsWithoutInputGetCodeZero(_ solver: Solver) throws {
    var generator = SeededRandom.announced("columns without input, \(solver)")
    let weights = heavyTailed(4, 40, &generator)
    var inputs = mixedInputs(60, 40, &generator)
    for token in 0..<60 { for column in [3, 39] { inputs[token, column] = 0 } }
    var hessian = Hessian(columns: 40)
    try hessian.accumulate(rows: inputs)
    let quantizer = try GridQuantizer(bits: 4, group: 32)
    let tensor = try quantizer.quantize(weights, hessian: hessian, solvers: [solver])
    for row in 0..<4 {
      for column in [3, 39] { #expect(tensor.codes[row * 40 + column] == 0) }
    }
    // Without any input nothing is known, and nothing fails.
    let silent = try quantizer.quantize(weights, hessian: Hessian(columns: 40), solvers: [solver])
    #expect(silent.codes.count == 160)
  }

  /// Inputs by a power of two give the same integers, however large or small they are.
  @Test func magnitudeOfInputsDoesNotMatter() throws {
    var generator = SeededRandom.announced("magnitude of inputs")
    let weights = heavyTailed(3, 40, &generator)
    let inputs = mixedInputs(60, 40, &generator)
    let quantizer = try GridQuantizer(bits: 3, group: 32)
    let tensors = try [0, 40, -40].map { power in
      var scaled = inputs
      for i in scaled.values.indices { scaled.values[i] *= Float(scalbn(1.0, power)) }
      var hessian = Hessian(columns: 40)
      try hessian.accumulate(rows: scaled)
      return try quantizer.quantize(weights, hessian: hessian, solvers: Solver.best)
    }
    #expect(tensors[1] == tensors[0])
    #expect(tensors[2] == tensors[0])
  }

  /// Moments of one token have rank 1; damping makes them definite.
  @Test func fewTokensAreDamped() throws {
    var generator = SeededRandom.announced("one token")
    var one = Hessian(columns: 50)
    try one.accumulate(rows: mixedInputs(1, 50, &generator))
    #expect(try SolverHessian(one).damping == 0.01)
    let values = (0..<4).map { $0 == 0 || $0 == 3 ? 1.0 : -1.05 }
    let indefinite = try Hessian(columns: 2, values: values, samples: 1)
    #expect(try SolverHessian(indefinite).damping == 0.1)
    #expect(throws: QuantizeError.self) { try SolverHessian(Hessian(columns: 0)) }
    let weights = heavyTailed(2, 50, &generator)
    let quantizer = try GridQuantizer(bits: 4, group: 0)
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(weights, hessian: indefinite, solvers: Solver.allCases)
    }
  }
}

@Suite struct SolvingStepTests {
  /// The steps of all solvers in a row leave what each prefix of them leaves, over the outputs' energy.
  @Test(arguments: SolvedLayer.all)
  func stepsReportWhatTheyLeft(_ layer: SolvedLayer) throws {
    let hessian = try SolverHessian(layer.hessian())
    let solvers = Solver.best
    var steps: [SolvingStep] = []
    var tensor = layer.tensor
    tensor.solve(layer.matrix, hessian, solvers, watch: { steps = $0 })
    #expect(steps.map(\.name) == ["nearest"] + solvers.map(\.rawValue))
    var zero = layer.tensor
    zero.codes = zero.codes.map { _ in 0 }
    zero.groupOffsets = zero.groupOffsets?.map { _ in 0 }
    let energy = layer.error(of: zero)
    for (count, step) in steps.enumerated() {
      var other = layer.tensor
      other.solve(layer.matrix, hessian, Array(solvers.prefix(count)))
      let error = layer.error(of: other) / energy
      #expect(abs(step.error - error) <= 1e-5 * error)
      #expect(count == 0 || step.error <= steps[count - 1].error)
    }
  }
}
