// Tiny random models of every architecture: recorded ones, and ones made by `transformers` now.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

/// What `make_architectures.py` writes beside a model.
struct ExpectedLogits {
  let tokens: [Int32]
  let vocabulary: Int
  /// [tokens][vocabulary]
  let logits: [Float]

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    func word(_ index: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[4 * index + $1]) << UInt32(8 * $1) }
    }
    let count = Int(word(0))
    vocabulary = Int(word(1))
    tokens = (0..<count).map { Int32(bitPattern: word(2 + $0)) }
    let first = 2 + count
    logits = (0..<count * vocabulary).map { Float(bitPattern: word(first + $0)) }
  }
}

/// The folders of tiny models.
enum TinyModels {
  static let reference = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reference")
  /// Models of the recorded set, one for each architecture.
  static let recorded = reference.appendingPathComponent("architectures")
  static let recordedNames: [String] = names(recorded)

  /// Those in a folder, sorted.
  static func names(_ folder: URL) -> [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return all.filter {
      FileManager.default.fileExists(atPath: folder.path + "/\($0)/config.json")
    }.sorted()
  }

  /// A Python that has all of `modules`: CURTA_PYTHON, or the one in the path.
  static func python(with modules: [String]) -> String? {
    let python = ProcessInfo.processInfo.environment["CURTA_PYTHON"] ?? "python3"
    let test = ["-c", "import " + modules.joined(separator: ", ")]
    return (try? run(python, test)) == 0 ? python : nil
  }

  /// Runs a program quietly and returns its exit status.
  static func run(_ program: String, _ arguments: [String]) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
  }

  /// Largest difference of the logits of a folder from the expected ones.
  static func worstError(_ folder: URL) throws -> Float {
    let expected = try ExpectedLogits(folder.path + "/expected.bin")
    // The context of the run, for tables that depend on it.
    let isDynamic = folder.lastPathComponent == "llama-dynamic"
    let checkpoint = try loadCheckpoint(
      folder.path, context: isDynamic ? expected.tokens.count : nil)
    let weights = try checkpoint.weights()
    guard weights.isConsistent, weights.parameterCount == checkpoint.source.parameterCount,
      weights.description.vocabularySize == expected.vocabulary
    else { return .infinity }
    var decoder = FloatDecoder(weights)
    var worst: Float = 0
    // All at once, and in two steps.
    for cut in [expected.tokens.count, 9] {
      var state = FloatDecoderState(weights.description)
      var logits = decoder.forward(tokens: Array(expected.tokens[..<cut]), state: &state).values
      if cut < expected.tokens.count {
        logits += decoder.forward(tokens: Array(expected.tokens[cut...]), state: &state).values
      }
      guard logits.count == expected.logits.count else { return .infinity }
      worst = max(worst, zip(logits, expected.logits).map { abs($0 - $1) }.max() ?? .infinity)
    }
    return worst
  }
}
