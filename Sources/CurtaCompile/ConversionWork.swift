// Which tensors a conversion makes itself, which it finds made, and whose moments it takes.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaWrite
import Foundation

/// What a conversion shares with others.
public struct WorkRequest: Sendable, Equatable {
  /// A folder for finished tensors: what was cut off goes on from there.
  public var keep: String?
  /// A file of second moments (`Conversion.gatherStatistics`), in place of the float model behind the
  /// quantized layers.
  public var statistics: String?
  /// The layers to convert into a part; nil: the whole model.
  public var layers: ClosedRange<Int>?

  public init() {}
}

/// The seam between a lowering and other conversions of the same model.
///
/// Tensors pass through `put`, which finds them in the folder of `--keep` or has them made and keeps
/// them there. What decides their bytes is in `facts`, which every file of a part carries.
final class ConversionWork {
  let statistics: Statistics?
  private let asked: ClosedRange<Int>?
  private var kept: KeptParts?
  private let keep: String?
  private(set) var facts: [String: MetadataValue] = [:]
  /// Places of the tensors of a part.
  private var places: [Int] = []
  private var total = 0
  private var layerCount = 0

  /// No folder, no statistics, all layers.
  static var none: ConversionWork { ConversionWork() }

  private init() { (statistics, asked, keep) = (nil, nil, nil) }

  /// `metadata` are those of the file to come. Throws `WorkError`.
  init(
    _ request: WorkRequest, recipe: Recipe, metadata: [String: MetadataValue]
  ) throws(WorkError) {
    guard request.layers == nil || request.statistics != nil || !recipe.isCalibrated else {
      throw .unfit(
        "recipe \(recipe.name) measures each layer behind the quantized ones before it, so that no"
          + " part can be made alone; give --statistics (curta calibrate makes them)")
    }
    guard recipe.lowRank == nil || request == WorkRequest() else {
      throw .unfit(
        "recipe \(recipe.name) has 'low_rank', whose tensors --keep, --statistics and --layers do not"
          + " know; leave them out")
    }
    var statistics: Statistics?
    if let path = request.statistics {
      guard recipe.isCalibrated else {
        throw .unfit("--statistics has no use: recipe \(recipe.name) rounds to nearest")
      }
      guard !recipe.rotates else {
        throw .unfit(
          "recipe \(recipe.name) turns the residual stream ('rotate'), of which --statistics have the"
            + " moments as it is; leave --statistics out")
      }
      guard !recipe.looksAtInputs else {
        throw .unfit(
          "recipe \(recipe.name) runs the model on its inputs, of which --statistics have the moments"
            + " alone; leave --statistics out")
      }
      statistics = try Statistics(path, of: metadata)
    }
    self.statistics = statistics
    asked = request.layers
    keep = request.keep
  }

  /// Says what decides the bytes of the tensors. `recipe` has its bits shared out; `model` describes
  /// it, `spreading` says what turns its rows, `inputs` is a hash of what it is calibrated on. Throws `WorkError` or `WriteError`.
  func begin(
    recipe: Recipe, codec: CodecChoice, model: some Any, spreading: Spreading,
    inputs: @autoclosure () -> String, metadata: [String: MetadataValue]
  ) throws {
    guard keep != nil || asked != nil else { return }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    facts = metadata
    facts["work.recipe"] = .text(hashText([UInt8](try encoder.encode(recipe))))
    facts["work.model"] = .text(hashText(Array("\(model) \(spreading)".utf8)))
    facts["work.codec"] = .text(codec.name)
    facts["work.inputs"] = .text(
      statistics.map { "statistics \($0.identity)" } ?? (recipe.isCalibrated ? inputs() : "none"))
    if let keep {
      var key = facts
      key["work.libraries"] = .text("\(processorOfProducts), \(SectionCodec.versions)")
      kept = try KeptParts(keep, key: key)
    }
  }

  /// The layers to convert, out of `count`. Throws `WorkError`.
  func layers(of count: Int) throws(WorkError) -> Range<Int> {
    layerCount = count
    guard let asked else { return 0..<count }
    guard asked.upperBound < count else {
      throw .unfit(
        "there are no layers \(asked.lowerBound)..\(asked.upperBound): the model has \(count),"
          + " counted from 0")
    }
    return Range(asked)
  }

  /// Whether a part of the model is made.
  var isPart: Bool { asked != nil }

  /// The tensors at `places`: those that were kept, else what `make` puts there, which is kept.
  ///
  /// Kept ones are read back where `needsValues`. Throws what `make` throws, `WriteError`.
  @discardableResult
  func put(
    _ places: Range<Int>, in packer: inout TensorPacker, needsValues: Bool = false,
    _ make: (inout TensorPacker) throws -> [PackedTensor]
  ) throws -> [PackedTensor] {
    guard let kept else { return try make(&packer) }
    if let (contents, tensors) = kept.find(packer.planned[places], places, needsValues) {
      packer.set(contents, at: places.lowerBound)
      return zip(tensors, packer.planned[places]).map { PackedTensor(tensor: $0, planned: $1) }
    }
    let tensors = try make(&packer)
    try kept.keep(packer.contents(places), places)
    return tensors
  }

  /// What was put, in the order of the file. All of it unless a part is made.
  func finish(_ packer: TensorPacker) -> [TensorContents] {
    guard isPart else { return packer.packed }
    total = packer.planned.count
    places = packer.filled
    return places.flatMap { packer.contents($0..<$0 + 1) }
  }

  /// What goes into the file: of a part facts, tensors, and of the first one tokenizer and program.
  func contents(
    metadata: [String: MetadataValue], tokenizer: [UInt8]?, tensors: [TensorContents],
    program: ProgramDescription?
  ) throws(WriteError) -> FileContents {
    if !isPart, let program {
      return FileContents(
        metadata: metadata, tokenizer: tokenizer, tensors: tensors, program: program)
    }
    var facts = facts
    if let asked { facts["work.layers"] = .text("\(asked.lowerBound)..\(asked.upperBound)") }
    facts["work.layer_count"] = .integer(UInt64(layerCount))
    facts["work.tensors"] = .integer(UInt64(total))
    facts["work.places"] = .text(Runs(places).text)
    let bytes = if let program { try programSection(program) } else { [UInt8(0)] }
    return FileContents(
      metadata: facts, tokenizer: program == nil ? nil : tokenizer, tensors: tensors,
      programBytes: bytes)
  }

  /// What a person should know.
  var notes: [String] { kept?.notes ?? [] }
}

/// Ascending integers as `0..3 7..7`.
struct Runs: Equatable {
  var integers: [Int]

  init(_ integers: [Int]) { self.integers = integers }

  /// nil for a text that is none.
  init?(text: String) {
    integers = []
    for word in text.split(separator: " ") {
      let ends = word.components(separatedBy: "..").map { Int($0) }
      guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last,
        first > integers.last ?? -1, last < 1 << 20
      else { return nil }
      integers += first...last
    }
  }

  var text: String {
    var runs: [ClosedRange<Int>] = []
    for i in integers {
      if let last = runs.last, last.upperBound == i - 1 {
        runs[runs.count - 1] = last.lowerBound...i
      } else {
        runs.append(i...i)
      }
    }
    return runs.map { "\($0.lowerBound)..\($0.upperBound)" }.joined(separator: " ")
  }
}

/// SHA-256 in hexadecimal.
func hashText(_ bytes: [UInt8]) -> String {
  var hash = SHA256()
  hash.update(bytes)
  return hash.hexDigest()
}

extension CodecChoice {
  /// As `--codec` has it.
  var name: String {
    switch self {
    case .auto: "auto"
    case .forced(let codec): "\(codec)"
    }
  }

  init?(name: String) {
    switch name {
    case "auto": self = .auto
    case "stored": self = .forced(.stored)
    case "zstd": self = .forced(.zstd)
    case "lz4": self = .forced(.lz4)
    default: return nil
    }
  }
}
