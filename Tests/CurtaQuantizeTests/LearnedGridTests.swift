// Grids that are learned by gradients.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Testing

@testable import CurtaQuantize

@Suite struct LearnedGridTests {
  /// Before the first step it stands for what the tensor stands for.
  @Test(arguments: SolvedLayer.all)
  func beginsAsTheTensor(_ layer: SolvedLayer) {
    let grid = LearnedGrid(layer.tensor, weights: layer.matrix, edge: 0.3)
    let (a, b) = (grid.values.values, layer.tensor.dequantized().values)
    let largest = b.map(abs).max() ?? 0
    #expect(zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 * largest })
    let integers = grid.tensor
    #expect(integers.codes == layer.tensor.codes)
    let c = integers.dequantized().values
    // The largest scale of a row becomes 255: others and offsets are rounded anew.
    #expect(zip(b, c).allSatisfy { abs($0 - $1) <= 0.01 * largest })
  }

  /// With the gradient of (w − ŵ) H (w − ŵ)ᵀ it gets below the error of rounding, and its integers with it.
  @Test(arguments: SolvedLayer.all)
  func learnsFromGradients(_ layer: SolvedLayer) {
    var grid = LearnedGrid(layer.tensor, weights: layer.matrix, edge: 0.3)
    let h = Matrix(
      rows: layer.columns, columns: layer.columns,
      values: layer.products.map { Float($0 / Double(layer.tokens)) })
    var least = layer.error
    for step in 0..<120 {
      let slope = grid.values.minus(layer.matrix).times(h)
      let pace = 1 - Float(step) / 120
      grid.step(gradient: slope, weightRate: 0.01 * pace, stepRate: 0.002 * pace)
      least = min(least, layer.error(of: grid.tensor))
    }
    print("MEASURED learned.\(layer.name.replacing(" ", with: "-")) \(least / layer.error)")
    #expect(least < 0.8 * layer.error)
    let range = GridTensor.codeRange(bits: layer.bits)
    #expect(grid.tensor.codes.allSatisfy { range.contains(Int($0)) })
  }

  /// A weight goes over as many codes as gradients take it, and no further than the grid.
  @Test func codesAreFree() {
    let start = GridTensor(
      rows: 1, columns: 2, bits: 4, group: 0, exponent: 10, codes: [0, 1], mantissas: [64])
    var grid = LearnedGrid(
      start, weights: Matrix(rows: 1, columns: 2, values: [0, 0.0625]), edge: 0.3)
    let slope = Matrix(rows: 1, columns: 2, values: [-1, 1])
    for _ in 0..<300 { grid.step(gradient: slope, weightRate: 0.05, stepRate: 0) }
    #expect(grid.tensor.codes == [7, -8])
    #expect(grid.tensor.mantissas == [64])
  }
}
