// Calibrated recipes: what is gathered of a model's activations, and what it is good for.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaTensor
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

@testable import CurtaCompile
@testable import CurtaEvaluate

/// 3 bits in groups of 32, to nearest and by GPTQ.
private let nearest = Recipe(name: "three", standard: TensorRule(bits: 3, group: 32))
private let calibrated = Recipe(
  name: "three", solvers: [.gptq], standard: TensorRule(bits: 3, group: 32))

@Suite struct CalibrationTests {
  /// The moments of the first layer's inputs against sums over what a recorder saw.
  @Test func momentsAreThoseOfTheRows() throws {
    let source = ArchitectureTests.folder.path + "/qwen2"
    let weights = try DecoderWeights(loadCheckpoint(source).source)
    let d = weights.description
    let spreading = Spreading(d)
    let sequences: [[Int32]] = [[1, 5, 3, 2, 9, 4], [7, 7, 1, 0, 2]]
    let calibration = LayerCalibration(
      d, sequences.map { LayerRunner(d).embed($0, weights.ends) })
    let moments = try calibration.watch(weights.layers[0], 0)

    var rows: [ActivationSite: [[Float]]] = [:]
    let watch = FakeQuantization.transform(spreading).then(
      SiteTransform { site, layer, values, width in
        guard layer == 0 else { return }
        for start in stride(from: 0, to: values.count, by: width) {
          rows[site, default: []].append(Array(values[start..<start + width]))
        }
      })
    var float = FloatDecoder(weights, transform: watch)
    for sequence in sequences {
      var state = FloatDecoderState(d)
      _ = float.forward(tokens: sequence, state: &state)
    }
    for (role, site) in [
      (TensorRole.key, ActivationSite.attentionInput), (.output, .attentionOutput),
      (.gate, .feedForwardInput), (.down, .feedForwardProduct),
    ] {
      let seen = try #require(rows[site]).map { row in
        // The Hadamard by its definition.
        let block = max(spreading[site], 1)
        return row.indices.map { i in
          (0..<block).reduce(0.0) { sum, j in
            let sign = ((i % block) & j).nonzeroBitCount % 2 == 0 ? 1.0 : -1.0
            return sum + sign * Double(row[i / block * block + j])
          }
        }
      }
      let hessian = try #require(moments.gathered(for: role))
      #expect(seen.count == 11)
      for (k, mean) in hessian.diagonal.enumerated() {
        let expected = seen.reduce(0) { $0 + $1[k] * $1[k] } / 11
        #expect(abs(mean - expected) <= 1e-5 * max(expected, 1e-6), "\(role) \(k)")
      }
    }
    #expect(moments.gathered(for: .norm) == nil)
  }

  /// With the biases of the file the first layer's linear layers give on average what those of the float
  /// model give, on the rows that the conversion looked at.
  @Test(arguments: ["qwen2", "gpt2", "phi", "starcoder2"])
  func correctedBiasesKeepTheMean(name: String) throws {
    try withTemporaryFolder { folder in
      let source = ArchitectureTests.folder.path + "/" + name
      let path = folder.appendingPathComponent("tiny.curta").path
      let checkpoint = try loadCheckpoint(source)
      let weights = try DecoderWeights(checkpoint.source.foldingNormBiases())
      let d = weights.description
      /// |mean error| and root mean square error of every biased linear layer, over those of its outputs.
      func errors(
        _ recipe: Recipe, statistics: String? = nil
      ) throws -> (mean: Double, square: Double, count: Int) {
        var conversion = Conversion(source: source, recipe: recipe)
        conversion.calibration.tokens = 256
        conversion.work.statistics = statistics
        _ = try conversion.run(to: path)
        let file = try FileMapping(path)
        let found = try withExtendedLifetime(file) {
          try DequantizedModel(CurtaFile(file.bytes), like: d)
        }.weights.layers[0]
        let exact = weights.layers[0]
        let layers: [(ActivationSite, LinearLayer, LinearLayer)] = [
          (.attentionInput, exact.query, found.query), (.attentionInput, exact.key, found.key),
          (.attentionInput, exact.value, found.value),
          (.attentionOutput, exact.output, found.output), (.feedForwardInput, exact.up, found.up),
          (.feedForwardProduct, exact.down, found.down),
        ]
        var rows: [ActivationSite: [Float]] = [:]
        let record = SiteTransform { site, layer, values, _ in
          if layer == 0 { rows[site, default: []] += values }
        }
        for sequence in try CalibrationText.sequences(checkpoint, conversion.calibration) {
          var float = FloatDecoder(
            weights, transform: FakeQuantization.transform(Spreading(d)).then(record))
          var state = FloatDecoderState(d)
          _ = float.forward(tokens: sequence, state: &state)
        }
        var (mean, square, size, count) = (0.0, 0.0, 0.0, 0)
        for (site, exact, found) in layers where exact.bias != nil {
          // Parallel branches may share one norm.
          let values = try #require(rows[site] ?? rows[.attentionInput])
          let columns = exact.weight.columns
          let inputs = Matrix(rows: values.count / columns, columns: columns, values: values)
          func outputs(_ layer: LinearLayer) throws -> Matrix {
            var result = inputs.times(transposed: layer.weight)
            let bias = try #require(layer.bias)
            for i in result.values.indices { result.values[i] += bias[i % bias.count] }
            return result
          }
          let (expected, given) = (try outputs(exact), try outputs(found))
          for i in 0..<expected.columns {
            var sum = 0.0
            for row in 0..<expected.rows {
              let error = Double(given[row, i]) - Double(expected[row, i])
              sum += error
              square += error * error
              size += Double(expected[row, i]) * Double(expected[row, i])
            }
            mean += sum * sum / Double(expected.rows)
          }
          count += 1
        }
        return ((mean / size).squareRoot(), (square / size).squareRoot(), count)
      }
      var corrected = calibrated
      corrected.correctsBias = true
      let (plain, better) = (try errors(calibrated), try errors(corrected))
      print("MEASURED bias.\(name) \(plain.mean) \(better.mean) \(better.square / plain.square)")
      #expect(plain.count == (name == "qwen2" ? 3 : 6))
      #expect(better.mean <= 0.01 * plain.square && better.mean < plain.mean)
      #expect(better.square < plain.square)
      // Means out of a file, of rows that were not rounded.
      let statistics = folder.appendingPathComponent("statistics").path
      var gathering = Conversion(source: source, recipe: calibrated)
      gathering.calibration.tokens = 256
      _ = try gathering.gatherStatistics(to: statistics)
      #expect(try errors(corrected, statistics: statistics).mean < 0.2 * plain.mean)
    }
  }

  /// Every arrangement of a decoder goes through, and the integers follow the float simulation of the
  /// same codes.
  @Test(arguments: ArchitectureTests.names)
  func everyArchitectureIsCalibrated(name: String) throws {
    try withTemporaryFolder { folder in
      let source = ArchitectureTests.folder.path + "/" + name
      func divergence(_ recipe: Recipe) throws -> (kl: Double, bytes: [UInt8]) {
        let path = folder.appendingPathComponent("tiny.curta").path
        var conversion = Conversion(source: source, recipe: recipe)
        conversion.calibration.tokens = 256
        _ = try conversion.run(to: path)
        let checkpoint = try loadCheckpoint(source)
        let weights = try DecoderWeights(checkpoint.source)
        let d = weights.description
        var random = SeededRandom(3)
        let tokens = (0..<min(64, d.contextLength)).map { _ in
          Int32(random.below(d.vocabularySize))
        }
        let file = try FileMapping(path)
        let model = try withExtendedLifetime(file) {
          try DequantizedModel(CurtaFile(file.bytes), like: d)
        }
        var exact = FloatDecoder(weights)
        var rounded = FloatDecoder(
          model.weights, transform: FakeQuantization.transform(model.spreading))
        var (a, b) = (FloatDecoderState(d), FloatDecoderState(model.weights.description))
        let expected = exact.forward(tokens: tokens, state: &a)
        let found = rounded.forward(tokens: tokens, state: &b)
        let sum = tokens.indices.reduce(0) { $0 + klDivergence(expected.row($1), found.row($1)) }
        return (
          sum / Double(tokens.count), [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        )
      }
      let (plain, better) = (try divergence(nearest), try divergence(calibrated))
      print("MEASURED gptq.\(name) \(better.kl / plain.kl)")
      // Tiny random models on random tokens: their inputs are hardly correlated, so the gain is
      // small; but nothing gets lost on the way.
      #expect(better.kl < plain.kl * 1.25)
      #expect(better.bytes == (try divergence(calibrated)).bytes)
    }
  }

  /// A pruned decoder keeps its share of the cells, in each form, and the integers follow the float
  /// simulation of the same codes.
  @Test(arguments: [
    #"{"density": 0.5, "regrow": 2}"#, #"{"form": "2:4", "regrow": 2}"#,
    #"{"form": "4:8", "score": "wanda"}"#, #"{"form": "columns", "density": 0.5}"#,
  ])
  func prunedIntegersFollowTheSimulation(_ rule: String) throws {
    let json = #"{"name": "pruned", "default": {"bits": 8}, "prune": \#(rule)}"#
    let recipe = try Recipe.parse(Data(json.utf8), source: "test")
    try withTemporaryFolder { folder in
      var tiny = TinyCheckpoint()
      (tiny.width, tiny.feedForwardWidth) = (96, 160)
      let source = try tiny.write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      var conversion = Conversion(source: source, recipe: recipe)
      conversion.calibration.tokens = 256
      _ = try conversion.run(to: path)
      let d = try loadCheckpoint(source).source.description
      let file = try FileMapping(path)
      let model = try withExtendedLifetime(file) {
        try DequantizedModel(CurtaFile(file.bytes), like: d)
      }
      let weights = model.weights.layers.flatMap { [$0.query, $0.output, $0.up, $0.down] }
        .flatMap(\.weight.values)
      let zeros = Double(weights.count { $0 == 0 }) / Double(weights.count)
      #expect(zeros > 0.3 && zeros < 0.75)

      var random = SeededRandom(4)
      let tokens = (0..<min(32, d.contextLength)).map { _ in
        Int32(random.below(d.vocabularySize))
      }
      var simulated = FloatDecoder(
        model.weights, transform: FakeQuantization.transform(model.spreading))
      var state = FloatDecoderState(model.weights.description)
      let expected = simulated.forward(tokens: tokens, state: &state)
      var options = HostOptions()
      options.chunk = 8
      options.outputs = 8
      let session = try HostSession(path, options)
      var divergence = 0.0
      for start in stride(from: 0, to: tokens.count, by: 8) {
        let part = tokens[start..<min(start + 8, tokens.count)]
        try session.step(part, outputs: part.count)
        for row in 0..<part.count {
          let logits = session.logits(row).map { Float($0) * 0x1p-16 }
          divergence += klDivergence(expected.row(start + row), logits) / Double(tokens.count)
        }
      }
      print("MEASURED pruned.tiny.\(recipe.prune?.form.text ?? "") \(divergence)")
      #expect(divergence < 0.02)
    }
  }

  /// A budget is kept, and what is given more bits loses less by the plan's own account.
  @Test func budgetsAreKept() throws {
    try withTemporaryFolder { folder in
      var tiny = TinyCheckpoint()
      (tiny.width, tiny.feedForwardWidth, tiny.layers) = (96, 160, 1)
      let source = try tiny.write(to: folder)
      var recipe = Recipe(name: "mixed", standard: TensorRule(bits: 4, group: 32))
      recipe.choices = [2, 4, 8].map { TensorRule(bits: $0, group: 32) }
      func size(_ budget: Budget) throws -> Int {
        var conversion = Conversion(source: source, recipe: recipe, codec: .forced(.stored))
        conversion.calibration.tokens = 64
        conversion.budget = budget
        let path = folder.appendingPathComponent("mixed.curta").path
        return try conversion.run(to: path).sizes.fileSize
      }
      let (least, middle, most) = (try size(.bits(3)), try size(.bits(5)), try size(.bits(7)))
      #expect(least < middle && middle < most)
      #expect(try size(.bytes(middle + 20_000)) <= middle + 20_000)
      #expect(try size(.loss(1e9)) < least)
      #expect(throws: ConversionError.self) { try size(.bytes(1000)) }
      #expect(throws: ConversionError.self) { try size(.loss(1e-30)) }
    }
  }

  /// The same of every arrangement of a vision transformer.
  @Test(arguments: TinyVision.all)
  func everyVisionTransformerIsCalibrated(tiny: TinyVision) throws {
    try withTemporaryFolder { folder in
      let weights = tiny.weights()
      let d = weights.description
      var random = SeededRandom(8)
      let images = (0..<24).map { _ in random.bytes(d.height * d.width * d.channels) }
      let float = FloatVision(weights)
      func error(_ recipe: Recipe) throws -> Double {
        let path = folder.appendingPathComponent("tiny.curta").path
        let contents = try Conversion.contents(
          weights, recipe: recipe, images: Array(images.prefix(16)))
        _ = try writeCurta(contents, to: path, codec: .auto, verify: Conversion.checkFormat)
        let model = try ImageModel(path, batch: 8)
        let rows = try model.run(
          images.suffix(8).map {
            PixelImage(width: d.width, height: d.height, channels: d.channels, pixels: $0)
          }[...])
        var sum = 0.0
        for (image, row) in zip(images.suffix(8), rows) {
          for (a, b) in zip(float.forward(image), row) { sum += Double((a - b) * (a - b)) }
        }
        return sum
      }
      let (plain, better) = (try error(nearest), try error(calibrated))
      print("MEASURED gptq-vision.\(tiny.name.replacing(" ", with: "-")) \(better / plain)")
      #expect(better < plain * 1.25)
    }
  }
}

@Suite(.enabled(if: Stories.isHere)) struct CalibratedStoriesTests {
  /// A trained model, calibrated on other stories than it is measured on.
  @Test func solversBetterATrainedModel() throws {
    try withTemporaryFolder { folder in
      let source = try #require(Stories.folder)
      let all = try TextDocuments(Stories.text)
      func divergence(_ recipe: Recipe) throws -> Double {
        let path = folder.appendingPathComponent("stories.curta").path
        var conversion = Conversion(source: source, recipe: recipe)
        conversion.calibration.texts = Array(all.texts.prefix(60))
        conversion.calibration.tokens = 3072
        _ = try conversion.run(to: path)
        var options = EvaluationOptions()
        options.documents = .last(4)
        options.threads = 2
        var evaluation = try Evaluation(
          file: path, reference: loadCheckpoint(source), text: all, options)
        return try evaluation.run().klMean
      }
      let (plain, better) = (try divergence(nearest), try divergence(calibrated))
      print("MEASURED stories.nearest \(plain)")
      print("MEASURED stories.gptq \(better)")
      #expect(better < 0.95 * plain)
    }
  }
}
