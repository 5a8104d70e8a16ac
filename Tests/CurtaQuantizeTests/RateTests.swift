// Codes that are chosen by error and bits: against numpy, and against what was planned.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaQuantize

/// A layer of Reference/solved.json whose codes have prices.
struct PricedLayer: Decodable, CustomTestStringConvertible {
  let name: String
  let rows, columns, exponent, tokens: Int
  let mantissas: [UInt16]
  let weights: [Float]
  /// Σ x xᵀ over the tokens.
  let products: [Double]
  /// [255], code −127 first.
  let bits: [Float]
  let errorPerBit: [Double]
  /// GPTQ's codes, of all in range the cheapest each time, and what they cost.
  let codes: [Int8]
  let cost: Double
  /// The cost after 6 sweeps of coordinate descent from there.
  let descent: Double

  var testDescription: String { name }

  static let all: [PricedLayer] = {
    struct File: Decodable { let priced: [PricedLayer] }
    let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let data = try! Data(contentsOf: place.appendingPathComponent("Reference/solved.json"))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try! decoder.decode(File.self, from: data).priced
  }()

  func hessian() throws -> SolverHessian {
    try SolverHessian(
      Hessian(columns: columns, values: products.map { $0 / Double(tokens) }, samples: tokens))
  }

  /// All rows, with code 0 throughout.
  func block(_ hessian: SolverHessian) -> RowBlock {
    let tensor = GridTensor(
      rows: rows, columns: columns, bits: 8, group: 0, exponent: exponent,
      codes: [Int8](repeating: 0, count: rows * columns), mantissas: mantissas)
    let block = RowBlock(
      tensor, Matrix(rows: rows, columns: columns, values: weights), hessian, rows: 0..<rows)
    let (table, errors) = (NumberBuffer<Float>(256), NumberBuffer<Float>(block.lanes))
    for (i, bits) in bits.enumerated() { table[i] = bits }
    for (i, error) in errorPerBit.enumerated() { errors[i] = Float(error * hessian.unit) }
    block.prices = RowPrices(bits: table, errorPerBit: errors)
    return block
  }
}

@Suite struct RateTests {
  @Test(arguments: PricedLayer.all)
  func pricedSolversAreThoseOfNumpy(_ layer: PricedLayer) throws {
    let hessian = try layer.hessian()
    let block = layer.block(hessian)
    GPTQ.solve(block, hessian)
    #expect(block.part(hessian).codes == layer.codes)
    let cost = block.costs(hessian).reduce(0, +)
    #expect(abs(cost - layer.cost) <= 1e-5 * layer.cost)
    QuantEase.solve(block, hessian, sweeps: 6, escape: false)
    #expect(block.costs(hessian).reduce(0, +) <= layer.descent * (1 + 1e-5))
  }

  @Test func noRowCostsMore() throws {
    for layer in PricedLayer.all {
      let hessian = try layer.hessian()
      let block = layer.block(hessian)
      var before = block.costs(hessian)
      for solver in Solver.allCases {
        block.run([solver], hessian)
        let after = block.costs(hessian)
        for (a, b) in zip(after, before) { #expect(a <= b) }
        before = after
      }
    }
  }

  /// No code is longer than zstd's, Kraft's sum is full, and the average lies between the entropy and
  /// one bit more.
  @Test func lengthsAreThoseOfAHuffmanCode() {
    #expect(CodePrices.lengths([0, 5, 0]) == [0, 0, 0])
    #expect(CodePrices.lengths([1, 1, 2, 4]) == [3, 3, 2, 1])
    #expect(CodePrices.lengths([4, 0, 3, 3]) == [1, 0, 2, 2])
    // Fibonacci numbers would make a code of 19 bits.
    var numbers = [1, 1]
    while numbers.count < 20 {
      numbers.append(numbers[numbers.count - 1] + numbers[numbers.count - 2])
    }
    #expect(CodePrices.lengths(numbers).max()! <= 11)
    var generator = SeededRandom.announced("Huffman")
    for _ in 0..<50 {
      let counts = (0..<255).map { _ in
        Bool.random(using: &generator) ? 0 : Int.random(in: 1...2000, using: &generator)
      }
      let lengths = CodePrices.lengths(counts)
      let total = Double(counts.reduce(0, +))
      let kraft = lengths.reduce(0.0) { $1 == 0 ? $0 : $0 + pow(2, -Double($1)) }
      #expect(kraft == 1)
      let average = zip(counts, lengths).reduce(0.0) { $0 + Double($1.0 * $1.1) } / total
      let entropy = counts.filter { $0 > 0 }.reduce(0.0) {
        $0 - Double($1) / total * log2(Double($1) / total)
      }
      #expect(average >= entropy - 1e-9 && average < entropy + 0.1)
    }
  }

  private func layer(
    _ rows: Int, _ columns: Int, _ generator: inout SeededRandom
  ) throws -> (weights: Matrix, hessian: SolverHessian) {
    var moments = Hessian(columns: columns)
    try moments.accumulate(rows: mixedInputs(4 * columns, columns, &generator))
    return (heavyTailed(rows, columns, &generator), try SolverHessian(moments))
  }

  private func entropy(_ codes: [Int8]) -> Double {
    Dictionary(grouping: codes, by: { $0 }).values.reduce(0.0) {
      let p = Double($1.count) / Double(codes.count)
      return $0 - p * log2(p)
    }
  }

  /// The loss is about the planned one, and a quarter of it takes one bit more.
  @Test func theLossIsThePlannedOne() throws {
    var generator = SeededRandom.announced("planned loss")
    let (weights, hessian) = try layer(128, 96, &generator)
    var bits: [Double] = []
    for loss in [4e-5, 1e-5] {
      for slope in [0.5, 20] {
        let tensor = try RateQuantizer(lossPerWeight: loss * slope).quantize(
          weights, ErrorWeight(slope: slope), hessian: hessian, solvers: [.gptq])
        let found = tensor.outputError(of: weights, hessian) / Double(128 * 96)
        #expect(found < 1.25 * loss && found > 0.5 * loss)
        bits.append(entropy(tensor.codes))
      }
    }
    for i in [0, 2] { #expect(abs(bits[i] - bits[i + 1]) < 1e-3, "only the quotient counts") }
    #expect(abs(bits[2] - bits[0] - 1) < 0.15)
  }

  /// At the same price, a lower cost than codes without one.
  @Test func priceSavesBits() throws {
    var generator = SeededRandom.announced("price")
    let (weights, hessian) = try layer(128, 96, &generator)
    let loss = 1e-5
    let priced = try RateQuantizer(lossPerWeight: loss).quantize(
      weights, ErrorWeight(slope: 1), hessian: hessian, solvers: [.gptq, .quantease])
    var plain = priced
    plain.solve(weights, hessian, [.gptq])
    let cost = { (tensor: GridTensor) in
      let error = tensor.outputError(of: weights, hessian) / Double(128 * 96)
      return error + 2 * log(2.0) * loss * self.entropy(tensor.codes)
    }
    #expect(entropy(priced.codes) < entropy(plain.codes))
    #expect(cost(priced) < cost(plain))
  }

  /// Rows that count 16 times as much in a block of their own have a quarter of the step, those among
  /// others half of it.
  @Test func rowsThatCountMoreAreFiner() throws {
    var generator = SeededRandom.announced("rows")
    let weights = heavyTailed(128, 1024, &generator)
    let block = CodePrices.rowsInBlock(columns: 1024)
    #expect(block == 128)
    let apart = (0..<128).map { _ in Float(0.1) } + (0..<128).map { _ in Float(1.6) }
    let mixed = (0..<256).map { $0 % 2 == 0 ? Float(0.1) : 1.6 }
    let double = Matrix(rows: 256, columns: 1024, values: weights.values + weights.values)
    for (rows, ratio) in [(apart, 4.0), (mixed, 2.0)] {
      let tensor = try RateQuantizer(lossPerWeight: 1e-5).quantize(
        double, ErrorWeight(slope: 1, rows: rows), hessian: nil, solvers: [])
      var means = [0.0, 0.0]
      for (row, mantissa) in tensor.mantissas.enumerated() {
        means[rows[row] < 1 ? 0 : 1] += log2(Double(mantissa)) / 128
      }
      #expect(abs(means[0] - means[1] - log2(ratio)) < 0.02)
    }
  }

  @Test func aRidgeIsPartOfTheMoments() throws {
    var generator = SeededRandom.announced("ridge")
    let weights = heavyTailed(70, 40, &generator)
    var moments = Hessian(columns: 40)
    try moments.accumulate(rows: mixedInputs(160, 40, &generator))
    var values = moments.values
    for i in 0..<40 { values[i * 41] += 0.5 }
    let ridged = try Hessian(columns: 40, values: values, samples: 1)
    let quantizer = RateQuantizer(lossPerWeight: 1e-3)
    let (given, added) = (
      try quantizer.quantize(
        weights, ErrorWeight(slope: 1), hessian: SolverHessian(ridged), solvers: []),
      try quantizer.quantize(
        weights, ErrorWeight(slope: 1, ridge: 0.5), hessian: SolverHessian(moments), solvers: [])
    )
    #expect(given == added)
  }

  @Test func raggedShapesAndZerosStayInRange() throws {
    var generator = SeededRandom.announced("ragged rates")
    for (rows, columns) in [(1, 1), (3, 33), (70, 40)] {
      var weights = heavyTailed(rows, columns, &generator)
      for i in 0..<columns { weights.values[i] = 0 }
      for loss in [1e-30, 1e-6, 1e6] {
        let tensor = try RateQuantizer(lossPerWeight: loss).quantize(
          weights, ErrorWeight(slope: 1), hessian: nil, solvers: Solver.best)
        #expect(tensor.codes.allSatisfy { $0 != -128 } && tensor.codes[0] == 0)
        #expect(!tensor.mantissas.contains(0))
        if loss == 1e-30 {
          let error = squaredError(tensor.dequantized(), weights)
          #expect(error <= 1e-4 * weights.values.reduce(0.0) { $0 + Double($1 * $1) })
        }
      }
    }
  }

  /// What has no effect takes the fewest bits.
  @Test func withoutEffectCodesAreZero() throws {
    var generator = SeededRandom.announced("no effect")
    let weights = heavyTailed(70, 64, &generator)
    let tensor = try RateQuantizer(lossPerWeight: 1e-6).quantize(
      weights, ErrorWeight(slope: 0), hessian: nil, solvers: [.gptq])
    #expect(tensor.codes.allSatisfy { $0 == 0 })
  }

  @Test func problemsAreNamed() {
    let weights = Matrix(rows: 2, columns: 2, values: [1, 2, .nan, 4])
    let quantizer = RateQuantizer(lossPerWeight: 1)
    #expect(throws: QuantizeError.notFinite(row: 1, column: 0)) {
      try quantizer.quantize(weights, ErrorWeight(slope: 1), hessian: nil, solvers: [])
    }
    #expect(throws: QuantizeError.unsupported("an empty matrix")) {
      try quantizer.quantize(
        Matrix(rows: 0, columns: 0, values: []), ErrorWeight(slope: 1), hessian: nil, solvers: [])
    }
    #expect(throws: QuantizeError.self) {
      try quantizer.quantize(
        Matrix(rows: 1, columns: 2, values: [1, 2]), ErrorWeight(slope: 1, rows: [0]), hessian: nil,
        solvers: [])
    }
  }
}
