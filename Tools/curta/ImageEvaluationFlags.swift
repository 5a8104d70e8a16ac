// The options of `curta eval` that are about images.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import CurtaImport

struct ImageEvaluationFlags: ParsableArguments {
  @Option(help: ArgumentHelp("A folder of folders of images, or a .tar.", valueName: "folder"))
  var images: String?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "MNIST's files of images and of labels, gzipped or not.", valueName: "file"))
  var mnist: [String] = []

  @Option(help: ArgumentHelp("Images at most, evenly spaced over all.", valueName: "count"))
  var limit: Int?

  @Option(help: "Images in a step.")
  var batch: Int = 8

  @Flag(help: "Show which labels are taken for which.")
  var confusion = false

  @Flag(help: "Of features: measure how well a linear classifier tells the classes.")
  var probe = false

  @Option(
    help: ArgumentHelp("As at the conversion, for the reference.", valueName: "pixels"))
  var imageSize: Int?

  @Flag(help: "As at the conversion, for the reference.")
  var features = false

  @Option(help: ArgumentHelp("As at the conversion, for the reference.", valueName: "file"))
  var visionConfig: String?

  func validate() throws {
    guard images == nil || mnist.isEmpty else {
      throw ValidationError("--images and --mnist exclude each other.")
    }
    guard mnist.isEmpty || mnist.count == 2 else {
      throw ValidationError("--mnist takes two files, of images and of labels.")
    }
    guard limit ?? 1 >= 1 else { throw ValidationError("--limit is at least 1.") }
    guard (1...4096).contains(batch) else { throw ValidationError("--batch is 1 to 4096.") }
  }

  /// The images to measure on.
  func load() throws(HostError) -> ImageSet {
    var set =
      if let images {
        try ImageSet(images)
      } else {
        try ImageSet(mnist: mnist[0], labels: mnist[1])
      }
    if let limit { set.keep(limit) }
    return set
  }

  /// The float checkpoint, read as the conversion read it.
  func checkpoint(_ path: String) throws(ImportError) -> VisionCheckpoint {
    try loadVisionCheckpoint(
      path, configuration: visionConfig, imageSize: imageSize, features: features)
  }
}
