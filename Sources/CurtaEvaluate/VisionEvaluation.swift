// Measures an image model: against the names of its images, and against its float checkpoint.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaTensor
import Foundation

/// How to measure.
public struct VisionEvaluationOptions: Sendable {
  public var threads: UInt32 = 1
  /// Images in a step.
  public var batch = 8
  /// Of features: measure how well a linear classifier tells the classes by them.
  public var probe = false

  public init() {}
}

/// What was measured. Divergences are in nats and go from the float reference to the model.
public struct VisionEvaluationResult: Sendable {
  public var images = 0
  /// Images whose label is known.
  public var labelled = 0
  /// Those of them that the integer program names right, and the float reference.
  public var correct = 0
  public var correctInFive = 0
  public var referenceCorrect = 0
  public var hasReference = false
  public var givesLabels = true
  /// Images where both have the same likeliest label.
  public var agreeing = 0
  public var divergence = 0.0
  public var cosine = 0.0
  public var worstCosine = 1.0
  /// Images that a linear classifier on the features names right; nil where not measured.
  public var probeCorrect: Int?
  public var referenceProbeCorrect: Int?
  /// [label][answer], images; empty without labels.
  public var confusion: [[Int]] = []
  public var labels: [String] = []
  public var duration = Duration.zero

  /// Share of the labelled images, 0…1.
  public var accuracy: Double { Double(correct) / Double(labelled) }
  public var topFive: Double { Double(correctInFive) / Double(labelled) }
  public var referenceAccuracy: Double { Double(referenceCorrect) / Double(labelled) }
  public var agreement: Double { Double(agreeing) / Double(images) }
  public var klMean: Double { divergence / Double(images) }
  /// Share of all images, 0…1; nil where that was not measured.
  public var probeAccuracy: Double? { probeCorrect.map { Double($0) / Double(images) } }
  public var referenceProbeAccuracy: Double? {
    referenceProbeCorrect.map { Double($0) / Double(images) }
  }
  public var cosineMean: Double { cosine / Double(images) }
}

/// A measurement that is set up.
public struct VisionEvaluation {
  private let model: ImageModel
  private let images: ImageSet
  private let reference: VisionWeights?
  private let threads: Int
  private let probes: Bool

  public var count: Int { images.entries.count }

  /// Loads the file and finds the labels of the images. Throws `HostError`.
  public init(
    file path: String, reference checkpoint: VisionCheckpoint?, images: ImageSet,
    _ options: VisionEvaluationOptions = VisionEvaluationOptions()
  ) throws(HostError) {
    model = try ImageModel(path, threads: options.threads, batch: options.batch)
    reference = checkpoint?.weights
    threads = Int(options.threads)
    probes = options.probe
    var images = images
    if let d = reference?.description {
      guard d.body.vocabularySize == model.width, d.hasHead == model.givesLabels,
        d.height == Int(model.image.height), d.width == Int(model.image.width),
        d.channels == Int(model.image.channels)
      else {
        throw .request(
          "the file and the reference have other images or outputs; give the checkpoint that the"
            + " file was converted from")
      }
    }
    if model.givesLabels {
      guard !probes else {
        throw .request("\(path) gives labels; --probe is for features, so convert with --features")
      }
      try images.setLabels(model.labels, count: model.width)
    } else if probes {
      let classes = Set(images.entries.compactMap(\.className)).count
      try images.setLabels([], count: classes == 0 ? 256 : classes)
      guard images.entries.allSatisfy({ $0.label != nil }), images.entries.count > 1 else {
        throw .request("--probe needs images in folders of their classes")
      }
    }
    self.images = images
  }

  /// Runs it; `progress` is told the number of images done. Throws `HostError`.
  public func run(progress: (Int) -> Void = { _ in }) throws(HostError) -> VisionEvaluationResult {
    let clock = ContinuousClock()
    let start = clock.now
    var result = VisionEvaluationResult()
    result.hasReference = reference != nil
    result.givesLabels = model.givesLabels
    result.labels = (0..<model.width).map(model.label)
    if model.givesLabels, images.entries.contains(where: { $0.label != nil }) {
      result.confusion = [[Int]](
        repeating: [Int](repeating: 0, count: model.width), count: model.width)
    }
    var probe = LinearProbe(width: model.width)
    var referenceProbe = probe
    var at = 0
    while at < images.entries.count {
      let entries = images.entries[at..<min(at + model.batch, images.entries.count)]
      var pictures: [PixelImage] = []
      for entry in entries { pictures.append(try images.image(entry)) }
      let rows = try model.run(pictures[...], names: ArraySlice(entries.map(\.name)))
      let expected = reference.map { floatRows($0, rows.count) }
      for (index, entry) in entries.enumerated() {
        result.add(rows[index], expected: expected?[index], label: entry.label)
        if probes, let label = entry.label {
          probe.add(rows[index], label: label)
          if let expected { referenceProbe.add(expected[index], label: label) }
        }
      }
      at += entries.count
      progress(at)
    }
    if probes {
      result.probeCorrect = probe.correct()
      if reference != nil { result.referenceProbeCorrect = referenceProbe.correct() }
    }
    result.duration = clock.now - start
    return result
  }

  /// What the float reference gives for the images of the last step, which it sees as the integer
  /// program saw them.
  private func floatRows(_ weights: VisionWeights, _ count: Int) -> [[Float]] {
    let pixels = (0..<count).map { model.pixels($0) }
    let workers = min(max(threads, 1), count)
    var rows = [[Float]](repeating: [], count: count)
    rows.withUnsafeMutableBufferPointer { rows in
      nonisolated(unsafe) let rows = rows
      DispatchQueue.concurrentPerform(iterations: workers) { worker in
        let float = FloatVision(weights)
        for i in stride(from: worker, to: count, by: workers) {
          rows[i] = float.forward(pixels[i])
        }
      }
    }
    return rows
  }
}

extension VisionEvaluationResult {
  fileprivate mutating func add(_ row: [Float], expected: [Float]?, label: Int?) {
    images += 1
    let answer = argmax(row)
    if givesLabels, let label {
      labelled += 1
      if answer == label { correct += 1 }
      if row.count(where: { $0 > row[label] }) < 5 { correctInFive += 1 }
      confusion[label][answer] += 1
    }
    guard let expected else { return }
    if givesLabels {
      divergence += klDivergence(expected, row)
      if argmax(expected) == answer { agreeing += 1 }
      if let label, argmax(expected) == label { referenceCorrect += 1 }
    }
    let similarity = cosineSimilarity(expected, row)
    cosine += similarity
    worstCosine = min(worstCosine, similarity)
  }
}
