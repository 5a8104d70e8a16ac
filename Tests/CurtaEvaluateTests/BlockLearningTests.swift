// Layers learned behind the solvers.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaCompile

@Suite struct BlockLearningTests {
  /// 3 bits in groups of 32 by GPTQ, then learned in a few steps.
  private func recipe(augments: Bool = false, offsets: Bool = false) -> Recipe {
    var recipe = Recipe(
      name: "blocks", solvers: [.gptq],
      standard: TensorRule(bits: 3, group: 32, offsets: offsets))
    recipe.blocks = BlockRule(iterations: 12, rate: 0.02, augments: augments)
    return recipe
  }

  /// What was learned, and the bytes of the file.
  private func convert(
    _ name: String, _ recipe: Recipe, in folder: URL, keep: String? = nil
  ) throws -> (bytes: Data, layers: [BlockReport]) {
    let path = folder.appendingPathComponent("tiny.curta").path
    var conversion = Conversion(
      source: ArchitectureTests.folder.path + "/" + name, recipe: recipe)
    conversion.context = 32
    conversion.calibration.tokens = 160
    conversion.work.keep = keep
    var layers: [BlockReport] = []
    _ = try conversion.run(to: path) { stage in
      if case .learned(let report) = stage { layers.append(report) }
    }
    return (try Data(contentsOf: URL(fileURLWithPath: path)), layers)
  }

  /// Decoders of all arrangements get through; no layer gets worse on what was held out, and what was
  /// learned is less wrong on what it was learned from. The same inputs give the same bytes.
  @Test(arguments: ["qwen2", "gpt2", "gemma2", "phi", "qwen3"])
  func decodersAreLearned(name: String) throws {
    try withTemporaryFolder { folder in
      let augments = name == "qwen2"
      let recipe = recipe(augments: augments, offsets: name == "phi")
      let (bytes, layers) = try convert(name, recipe, in: folder)
      #expect(!layers.isEmpty)
      for layer in layers {
        let kept = try #require(layer.errors.first { $0.kind == layer.kept })
        #expect(layer.errors.allSatisfy { kept.errors.held <= $0.errors.held })
        #expect(layer.learned.seen < layer.solved.seen)
        #expect((layer.augmented != nil) == augments)
      }
      #expect(try convert(name, recipe, in: folder).bytes == bytes)
    }
  }

  /// Vision transformers too, with heads of v that the file's weights turn, and their biases.
  @Test func turnedHeadsAreLearned() throws {
    let weights = try #require(TinyVision.all.last).weights(seed: 7)
    #expect(Spreading(weights.description.body).value == 32)
    var layers: [BlockReport] = []
    _ = try Conversion.contents(weights, recipe: recipe(), drawn: 8) { stage in
      if case .learned(let report) = stage { layers.append(report) }
    }
    #expect(layers.count == 3)
    for layer in layers { #expect(layer.learned.seen < layer.solved.seen) }
  }

  /// A conversion that goes on from kept layers gives the bytes of one that was not cut off.
  @Test func keptLayersAreTheSame() throws {
    try withTemporaryFolder { folder in
      let keep = folder.appendingPathComponent("keep").path
      let plain = try convert("qwen2", recipe(), in: folder).bytes
      let first = try convert("qwen2", recipe(), in: folder, keep: keep)
      #expect(first.bytes == plain)
      let files = FileManager.default
      let parts = try files.subpathsOfDirectory(atPath: keep).filter { $0.hasSuffix(".part") }
        .map {
          (path: keep + "/" + $0, place: Int($0.split(separator: "/")[1].prefix { $0 != "-" })!)
        }
        .sorted { $0.place < $1.place }
      // Embedding and first layer are left.
      for part in parts.dropFirst(2) { try files.removeItem(atPath: part.path) }
      let second = try convert("qwen2", recipe(), in: folder, keep: keep)
      #expect(second.bytes == plain)
      #expect(second.layers.count < first.layers.count)
    }
  }

  /// Without inputs of which some can be held out there is an error; moments are not enough.
  @Test func whatCannotBeLearnedIsAnError() throws {
    try withTemporaryFolder { folder in
      var conversion = Conversion(
        source: ArchitectureTests.folder.path + "/qwen2", recipe: recipe())
      conversion.context = 32
      conversion.calibration.tokens = 16
      let path = folder.appendingPathComponent("tiny.curta").path
      let error = #expect(throws: ConversionError.self) { try conversion.run(to: path) }
      #expect("\(error!)".contains("'blocks' with one input"))
      conversion.work.statistics = path
      let other = #expect(throws: WorkError.self) { try conversion.run(to: path) }
      #expect("\(other!)".contains("leave --statistics out"))
    }
  }

  /// The gradient by gains and shifts of the inputs, which the float layer sees too, against differences
  /// of the loss along it.
  @Test func gradientsByTheChangeAreThoseOfDifferences() throws {
    var random = SeededRandom.announced("gradients by a change of inputs")
    func matrix(_ rows: Int, _ columns: Int, _ range: Float) -> Matrix {
      Matrix(
        rows: rows, columns: columns,
        values: (0..<rows * columns).map { _ in Float.random(in: -range...range, using: &random) })
    }
    let source = try loadCheckpoint(ArchitectureTests.folder.path + "/qwen2").source
      .foldingNormBiases()
    let (d, layer) = (source.description, try source.layer(0))
    var current = layer
    for i in current.up.weight.values.indices {
      current.up.weight.values[i] *= i % 3 == 0 ? 1.2 : 1
    }
    for i in current.key.weight.values.indices { current.key.weight.values[i] *= 0.9 }
    let runner = LayerRunner(d)
    let inputs = [matrix(6, d.width, 1), matrix(4, d.width, 1)]
    let floats = runner.run(layer, 0, over: inputs)
    let rests = inputs.map { matrix($0.rows, d.width, 0.1) }
    let samples = (0..<2).map { i in
      var target = floats[i]
      target.add(rests[i])
      return BlockLearning.Sample(input: inputs[i], target: target)
    }
    let learning = BlockLearning(
      rule: BlockRule(), d: d, parts: LayerPart.present(in: d.parts), runner: runner, layer: layer,
      index: 0)
    var gain = matrix(1, d.width, 0.2)
    for i in gain.values.indices { gain.values[i] += 1 }
    let shift = matrix(1, d.width, 0.2)
    let found = learning.gradients(
      current, samples, InputChange(gain: gain, shift: shift), byChange: true
    ).change

    /// Targets for a change, and how far the layer is from them with the row weights `weights`.
    func changed(_ gain: Matrix, _ shift: Matrix) -> (outputs: [Matrix], targets: [Matrix]) {
      let moved = inputs.map { input in
        var result = input
        for i in result.values.indices {
          let channel = i % d.width
          result.values[i] = result.values[i] * gain.values[channel] + shift.values[channel]
        }
        return result
      }
      let targets = zip(runner.run(layer, 0, over: moved), rests).map { float, rest in
        var target = float
        target.add(rest)
        return target
      }
      return (runner.run(current, 0, over: moved), targets)
    }
    // The lengths of the rows are those before the step.
    let lengths = changed(gain, shift).targets.map { target in
      (0..<target.rows).map { row in target.row(row).reduce(0.0) { $0 + Double($1 * $1) } }
    }
    func loss(_ step: Float) -> Double {
      func along(_ start: Matrix, _ direction: Matrix) -> Matrix {
        var result = start
        for i in result.values.indices { result.values[i] += step * direction.values[i] }
        return result
      }
      let (outputs, targets) = changed(along(gain, found[0]), along(shift, found[1]))
      var sum = 0.0
      for (i, output) in outputs.enumerated() {
        for row in 0..<output.rows {
          let distance = zip(output.row(row), targets[i].row(row)).reduce(0.0) {
            $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
          }
          sum += distance / lengths[i][row]
        }
      }
      return sum / Double(inputs.reduce(0) { $0 + $1.rows })
    }
    let square = found.flatMap(\.values).reduce(0.0) { $0 + Double($1) * Double($1) }
    let step = Float(0.02 / square.squareRoot())
    let slope = (loss(step) - loss(-step)) / Double(2 * step)
    #expect(square > 0)
    #expect(abs(slope - square) < 0.02 * square, "\(slope), \(square)")
  }

  /// The same of vision transformers, whose error on images that nothing was learned from falls: in all
  /// layers together, behind layers that were learned.
  @Test(arguments: TinyVision.all.filter { ["vit", "norms behind"].contains($0.name) })
  func visionTransformersAreLearned(tiny: TinyVision) throws {
    let weights = tiny.weights()
    let d = weights.description
    var random = SeededRandom.announced("images to learn from")
    let images = (0..<16).map { _ in random.bytes(d.height * d.width * d.channels) }
    var layers: [BlockReport] = []
    _ = try Conversion.contents(weights, recipe: recipe(), images: images) { stage in
      if case .learned(let report) = stage { layers.append(report) }
    }
    #expect(layers.count == d.body.layers)
    let ratios = layers.map { layer in
      layer.errors.first { $0.kind == layer.kept }!.errors.held / layer.solved.held
    }
    print("MEASURED blocks.\(tiny.name.replacing(" ", with: "-")) \(ratios)")
    #expect(ratios.allSatisfy { $0 <= 1 } && ratios.contains { $0 < 0.98 })
  }
}
