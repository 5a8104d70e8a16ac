// Joins the parts of a conversion to the file that one conversion would have written.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaWrite
import Foundation

/// Writes the file of the model whose `parts`, files of `Conversion.run` with layers, are given in any
/// order: byte by byte what a conversion of all layers at once writes.
///
/// Throws `WorkError` for parts that are damaged, missing, there twice or of another conversion,
/// `WriteError`, or what `check` throws.
public func mergeParts(
  _ parts: [String], to output: String, check: (ByteView) throws -> Void = Conversion.checkFormat
) throws -> ConversionReport {
  let clock = StageClock()
  clock.enter(.reading)
  try Conversion.checkTarget(output)
  let target = URL(fileURLWithPath: output).resolvingSymlinksInPath().path
  var read: [Part] = []
  for path in parts {
    guard URL(fileURLWithPath: path).resolvingSymlinksInPath().path != target else {
      throw WriteError.system(operation: "write", path: output, reason: "it is one of the parts")
    }
    read.append(try Part(path))
  }
  read.sort { ($0.layers.lowerBound, $0.work.path) < ($1.layers.lowerBound, $1.work.path) }
  try checkThatTheyFit(read)
  let first = read[0]
  guard let program = try first.work.bytes(entry: first.work.file.programEntry),
    let codec = first.work.text("work.codec").flatMap({ CodecChoice(name: $0) })
  else { throw WorkError.damaged(path: first.work.path, reason: "it lacks what a part has") }

  var tensors = [TensorContents?](repeating: nil, count: first.total)
  for part in read {
    for (place, tensor) in zip(part.places, try part.work.tensors()) { tensors[place] = tensor }
  }
  let all = tensors.compactMap { $0 }
  guard all.count == first.total else {
    throw WorkError.damaged(path: first.work.path, reason: "tensors are missing in the parts")
  }
  let metadata = first.work.metadata.filter { !$0.key.hasPrefix("work.") }
  let contents = FileContents(
    metadata: metadata, tokenizer: try first.work.bytes(entry: first.work.file.tokenizerEntry),
    tensors: all, programBytes: program)
  clock.enter(.writing)
  let sizes = try writeCurta(contents, to: output, codec: codec) { bytes in
    clock.enter(.checking)
    try check(bytes)
  }
  return ConversionReport(
    sizes: sizes, recipe: first.work.text("recipe") ?? "",
    parameters: first.work.integer("parameters") ?? 0,
    float32Bytes: first.work.integer("float32.bytes") ?? 0, times: clock.finish())
}

/// A part with what it says of itself.
private struct Part {
  let work: WorkFile
  let layers: ClosedRange<Int>
  let layerCount: Int
  let places: [Int]
  /// Tensors of the whole model.
  let total: Int

  /// Throws `WorkError`.
  init(_ path: String) throws(WorkError) {
    work = try WorkFile(path, .part)
    guard let text = work.text("work.layers") else {
      throw .unfit(
        "\(path): this is a kept part of one conversion (--keep), which finds it itself;"
          + " curta convert --layers makes parts to merge")
    }
    guard let layers = Runs(text: text), let first = layers.integers.first,
      let last = layers.integers.last, let layerCount = work.integer("work.layer_count"),
      let total = work.integer("work.tensors"), total <= Int(Limits.tensors), last < layerCount,
      let places = work.text("work.places").flatMap({ Runs(text: $0) })?.integers,
      places.count == work.names.count, places.last ?? total < total
    else { throw .damaged(path: path, reason: "it lacks what a part has") }
    (self.layers, self.layerCount) = (first...last, layerCount)
    (self.places, self.total) = (places, total)
  }

  /// `a.part (layers 0..3)`
  var text: String { "\(work.path) (layers \(layers.lowerBound)..\(layers.upperBound))" }
}

/// Whether `parts`, by their first layers, are all layers of one conversion. Throws `WorkError`.
private func checkThatTheyFit(_ parts: [Part]) throws(WorkError) {
  guard let first = parts.first else { throw .unfit("there are no parts to merge") }
  let own: Set = ["work.layers", "work.places"]
  func facts(_ part: Part) -> [String: MetadataValue] {
    part.work.metadata.filter { !own.contains($0.key) }
  }
  let expected = facts(first)
  for part in parts.dropFirst() {
    let found = facts(part)
    let keys = Set(expected.keys).union(found.keys).filter { expected[$0] != found[$0] }
    guard keys.isEmpty else {
      throw .unfit(
        "\(first.work.path) and \(part.work.path) are of different conversions: they differ in "
          + Set(keys.map { $0.replacingOccurrences(of: "work.", with: "") }).sorted()
          .joined(separator: ", "))
    }
  }
  var (next, last) = (0, first)
  var missing: [String] = []
  func lacks(_ layers: Range<Int>) {
    if !layers.isEmpty { missing.append("\(layers.lowerBound)..\(layers.upperBound - 1)") }
  }
  for part in parts {
    guard part.layers.lowerBound >= next else {
      throw .unfit("\(last.text) and \(part.text) overlap; give one of them")
    }
    lacks(next..<part.layers.lowerBound)
    (next, last) = (part.layers.upperBound + 1, part)
  }
  lacks(next..<max(next, first.layerCount))
  guard missing.isEmpty else {
    throw .unfit(
      "parts are missing: layers \(missing.joined(separator: ", ")) of \(first.layerCount),"
        + " counted from 0; make them with the same curta convert --layers")
  }
}
