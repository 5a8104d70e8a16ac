// Conversions that share work: kept parts, statistics, shards; the bytes stay the same.
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

/// A folder with a small checkpoint of four layers, and conversions of it.
private struct Bench {
  let folder: URL
  let source: String

  init(_ folder: URL, seed: UInt64 = 1, tied: Bool = true) throws {
    self.folder = folder
    var tiny = TinyCheckpoint()
    tiny.layers = 4
    tiny.seed = seed
    tiny.tiedHead = tied
    let own = folder.appendingPathComponent("checkpoint-\(seed)-\(tied)")
    try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
    source = try tiny.write(to: own)
  }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  func conversion(_ recipe: String) throws -> Conversion {
    var conversion = Conversion(source: source, recipe: try Recipe.load(recipe))
    conversion.calibration.tokens = 256
    return conversion
  }

  /// The bytes of the file, and what was noted.
  @discardableResult
  func run(
    _ recipe: String, to name: String = "out", _ change: (inout WorkRequest) -> Void = { _ in }
  ) throws -> (bytes: Data, notes: [String]) {
    var conversion = try conversion(recipe)
    change(&conversion.work)
    let report = try conversion.run(to: path(name))
    return (try Data(contentsOf: URL(fileURLWithPath: path(name))), report.notes)
  }

  func statistics(_ name: String = "statistics") throws -> String {
    _ = try conversion("w8").gatherStatistics(to: path(name))
    return path(name)
  }

  /// Kept parts, by path.
  func parts(_ keep: String) throws -> [String] {
    let files = FileManager.default
    return try files.subpathsOfDirectory(atPath: keep).filter { $0.hasSuffix(".part") }.sorted()
      .map { keep + "/" + $0 }
  }
}

private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch {
    return "\(error)"
  }
}

@Suite struct KeptPartsTests {
  /// As if cut off behind each layer: later parts are not there, those that are are not made again.
  @Test(arguments: ["rtn4", "gptq", "lpvit"], [true, false])
  func whatWasCutOffGoesOn(recipe: String, tied: Bool) throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder, tied: tied)
      let keep = bench.path("keep")
      let plain = try bench.run(recipe).bytes
      let first = try bench.run(recipe) { $0.keep = keep }
      #expect(first.bytes == plain && first.notes.isEmpty)
      let parts = try bench.parts(keep)
      #expect(parts.count >= 6)
      for left in [0, 2, 5, parts.count] {
        // 10-18.part
        func place(_ path: String) -> Int {
          path.split(separator: "/").last.flatMap { Int($0.prefix { $0 != "-" }) } ?? 0
        }
        let byPlace = parts.sorted { place($0) < place($1) }
        for path in byPlace.dropFirst(left) { try? FileManager.default.removeItem(atPath: path) }
        let again = try bench.run(recipe) { $0.keep = keep }
        #expect(again.bytes == plain, "\(left) parts were left")
        #expect(
          again.notes.count == (left == 0 ? 0 : 1)
            && again.notes.allSatisfy { $0.hasPrefix("\(left) of \(parts.count) kept parts") })
      }
    }
  }

  @Test func damagedPartsAreMadeAgain() throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder)
      let keep = bench.path("keep")
      let plain = try bench.run("gptq") { $0.keep = keep }.bytes
      let parts = try bench.parts(keep)
      var random = SeededRandom.announced("damage of kept parts")
      for (i, path) in parts.enumerated() {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        if i % 2 == 0 {
          bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 << (random.next() % 8))
        } else {
          bytes = bytes.prefix(Int(random.next() % UInt64(bytes.count)))
        }
        try bytes.write(to: URL(fileURLWithPath: path))
      }
      let again = try bench.run("gptq") { $0.keep = keep }
      #expect(again.bytes == plain)
      #expect(again.notes.count == parts.count)
      #expect(again.notes.allSatisfy { $0.hasSuffix("it was made again") })
      // What was made again is sound.
      #expect(try bench.run("gptq") { $0.keep = keep }.notes.count == 1)
    }
  }

  @Test func otherConversionsHaveTheirOwnParts() throws {
    try withTemporaryFolder { folder in
      let (bench, other) = (try Bench(folder), try Bench(folder, seed: 2))
      let keep = bench.path("keep")
      try bench.run("gptq") { $0.keep = keep }
      #expect(try bench.run("quantease") { $0.keep = keep }.bytes == bench.run("quantease").bytes)
      let found = try other.run("gptq") { $0.keep = keep }
      #expect(try found.notes.isEmpty && found.bytes == other.run("gptq").bytes)
      var fewer = try bench.conversion("gptq")
      fewer.work.keep = keep
      fewer.calibration.tokens = 128
      #expect(try fewer.run(to: bench.path("out")).notes.isEmpty)
    }
  }

  @Test func aPartUnderAnotherNameIsNotTaken() throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder)
      let keep = bench.path("keep")
      let plain = try bench.run("gptq") { $0.keep = keep }.bytes
      let parts = try bench.parts(keep).filter { $0.contains("-") && !$0.hasSuffix("/0-0.part") }
      let other = parts[1]
      try FileManager.default.removeItem(atPath: other)
      try FileManager.default.copyItem(atPath: parts[0], toPath: other)
      let again = try bench.run("gptq") { $0.keep = keep }
      #expect(again.bytes == plain)
      #expect(again.notes[0].contains("its tensors are others"))
    }
  }
}

@Suite struct StatisticsTests {
  /// The file against sums over a run of the float model.
  @Test(arguments: [true, false])
  func theMomentsAreThoseOfTheInputs(spreads: Bool) throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder)
      let checkpoint = try loadCheckpoint(bench.source)
      let file = try Statistics(
        bench.statistics(), of: Provenance.metadata(checkpoint, name: "", recipe: .w8))
      var d = checkpoint.source.description
      d.spreadsRows = spreads

      var sums: [ActivationSite: [Double]] = [:]
      var means: [ActivationSite: [Double]] = [:]
      var count = 0
      let spreading = Spreading(d)
      let record = SiteTransform { site, layer, values, width in
        guard layer == 3, ActivationSite.linearInputs.contains(site) else { return }
        var rows = values
        if spreading[site] > 0 { hadamard(&rows, block: spreading[site], scale: 1) }
        var sum = sums[site] ?? [Double](repeating: 0, count: width * width)
        for start in stride(from: 0, to: rows.count, by: width) {
          for i in 0..<width {
            means[site, default: [Double](repeating: 0, count: width)][i] += Double(rows[start + i])
            for j in 0..<width { sum[i * width + j] += Double(rows[start + i] * rows[start + j]) }
          }
        }
        sums[site] = sum
        if site == .headInput { count += rows.count / width }
      }
      let weights = try DecoderWeights(checkpoint.source)
      var input = CalibrationInput()
      input.tokens = 256
      for sequence in try CalibrationText.sequences(checkpoint, input) {
        var decoder = FloatDecoder(weights, transform: record)
        var state = FloatDecoderState(weights.description)
        _ = decoder.forward(tokens: sequence, outputs: sequence.count, state: &state)
      }
      let found = try file.moments(layer: 3, d).all
        .merging(file.headMoments(d).all) { own, _ in own }
      #expect(Set(found.keys) == Set(ActivationSite.linearInputs))
      for (site, moments) in found {
        let expected = try #require(sums[site])
        let n = moments.columns
        #expect(moments.samples == count)
        for i in 0..<n {
          let mean = try #require(means[site])[i] / Double(count)
          #expect(abs(moments.mean[i] - mean) <= 1e-4 * moments.diagonal[i].squareRoot())
          for j in 0..<n {
            let e = { (k: Int, l: Int) in expected[k * n + l] / Double(count) }
            let scale = (e(i, i) * e(j, j)).squareRoot()
            #expect(abs(moments.values[i * n + j] - e(i, j)) <= 1e-4 * scale, "\(site) \(i) \(j)")
          }
        }
      }
    }
  }

  @Test func theSameCheckpointGivesTheSameFile() throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder)
      let files = try ["a", "b"].map {
        try Data(contentsOf: URL(fileURLWithPath: bench.statistics($0)))
      }
      #expect(files[0] == files[1])
    }
  }

  @Test func statisticsOfOthersAreRefused() throws {
    try withTemporaryFolder { folder in
      let (bench, other) = (try Bench(folder), try Bench(folder, seed: 2))
      let file = try bench.statistics()
      #expect(
        message { try other.run("gptq") { $0.statistics = file } }
          .contains("of another checkpoint"))
      #expect(message { try bench.run("w8") { $0.statistics = file } }.contains("has no use"))
      #expect(
        message { try bench.run("isvit") { $0.statistics = file } }.contains(
          "leave --statistics out")
      )
      let factors = Repository.root.appending(path: "Examples/recipes/factors.json").path
      #expect(
        message { try bench.run(factors) { $0.keep = bench.path("kept") } }.contains("'low_rank'"))
      #expect(
        message { try bench.run("gptq") { $0.statistics = bench.source } }
          .contains("not a file of the converter's own"))
      #expect(
        message { try bench.run("gptq") { $0.statistics = file + "x" } }.contains("no such file"))
      try bench.run("w8", to: "part") { $0.layers = 0...3 }
      #expect(
        message { try bench.run("gptq") { $0.statistics = bench.path("part") } }
          .contains("this is a part, not statistics"))
      let good = try Data(contentsOf: URL(fileURLWithPath: file))
      var random = SeededRandom.announced("damage of statistics")
      for _ in 0..<20 {
        var bytes = good
        bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 << (random.next() % 8))
        try bytes.write(to: URL(fileURLWithPath: file))
        #expect(
          message { try bench.run("gptq") { $0.statistics = file } }.contains("make it again"))
      }
      try good.prefix(good.count / 2).write(to: URL(fileURLWithPath: file))
      #expect(message { try bench.run("gptq") { $0.statistics = file } }.contains("make it again"))
    }
  }
}

@Suite struct MergeTests {
  private func merged(_ bench: Bench, _ parts: [String]) throws -> Data {
    _ = try mergeParts(parts.map(bench.path), to: bench.path("merged"))
    return try Data(contentsOf: URL(fileURLWithPath: bench.path("merged")))
  }

  @Test(arguments: ["rtn4", "gptq", "lpvit"], [true, false])
  func shardsAreTheWhole(recipe: String, tied: Bool) throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder, tied: tied)
      let statistics = recipe == "rtn4" ? nil : try bench.statistics()
      let whole = try bench.run(recipe) { $0.statistics = statistics }.bytes
      for cut in [[0...3], [0...1, 2...3], [0...0, 1...2, 3...3]] {
        for (i, layers) in cut.enumerated() {
          try bench.run(recipe, to: "part-\(i)") {
            $0.statistics = statistics
            $0.layers = layers
          }
        }
        #expect(try merged(bench, cut.indices.reversed().map { "part-\($0)" }) == whole, "\(cut)")
      }
    }
  }

  @Test func wrongPartsAreNamed() throws {
    try withTemporaryFolder { folder in
      let (bench, other) = (try Bench(folder), try Bench(folder, seed: 2))
      for (name, layers) in [("a", 0...1), ("b", 2...3), ("c", 1...2), ("d", 3...3)] {
        try bench.run("rtn4", to: name) { $0.layers = layers }
      }
      try bench.run("w6", to: "recipe") { $0.layers = 2...3 }
      try other.run("rtn4", to: "model") { $0.layers = 2...3 }
      func problem(_ parts: [String]) -> String { message { _ = try merged(bench, parts) } }
      #expect(problem(["a"]).contains("missing: layers 2..3 of 4"))
      #expect(problem(["b"]).contains("missing: layers 0..1 of 4"))
      #expect(problem(["a", "d"]).contains("missing: layers 2..2 of 4"))
      #expect(problem(["a", "c", "d"]).contains("overlap"))
      #expect(problem(["a", "b", "b"]).contains("overlap"))
      #expect(problem(["a", "recipe"]).contains("differ in recipe"))
      #expect(problem(["a", "model"]).contains("differ in source.files, source.hash"))
      #expect(problem([]).contains("no parts"))
      #expect(problem(["a", "x"]).contains("no such file"))
      #expect(
        problem(["a", "checkpoint-1-true/model.bin"]).contains("not a file of the converter"))
      try bench.run("rtn4") { $0.keep = bench.path("keep") }
      let kept = try bench.parts(bench.path("keep"))[0]
      #expect(message { _ = try mergeParts([kept], to: bench.path("x")) }.contains("--keep"))
      #expect(
        message { _ = try mergeParts([bench.path("a"), bench.path("b")], to: bench.path("a")) }
          .contains("one of the parts"))
      var bytes = try Data(contentsOf: URL(fileURLWithPath: bench.path("b")))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: bench.path("b")))
      #expect(problem(["a", "b"]).contains("damaged"))
      #expect(!FileManager.default.fileExists(atPath: bench.path("merged")))
    }
  }

  @Test func whatCannotBeShardedIsRefused() throws {
    try withTemporaryFolder { folder in
      let bench = try Bench(folder)
      #expect(message { try bench.run("gptq") { $0.layers = 0...1 } }.contains("curta calibrate"))
      #expect(message { try bench.run("rtn4") { $0.layers = 2...4 } }.contains("the model has 4"))
    }
  }

  @Test func runsOfPlaces() {
    for places in [[], [0], [0, 1, 2], [0, 3, 4, 9], [5, 7]] {
      #expect(Runs(text: Runs(places).text)?.integers == places)
    }
    #expect(Runs([0, 1, 4]).text == "0..1 4..4")
    for text in ["1", "2..1", "0..1 1..2", "a..b", "-1..2", "0..9999999999"] {
      #expect(Runs(text: text) == nil, "\(text)")
    }
  }
}
