// `curta classify`: what is in a picture.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import Glibc

/// How images are run, for the commands that take them.
struct ImageFlags: ParsableArguments {
  @Argument(help: "The .curta file.")
  var file: String

  @Argument(help: ArgumentHelp("JPEG, PNG, PPM or PGM files.", valueName: "image"))
  var images: [String]

  @Option(name: .shortAndLong, help: "Threads.")
  var threads: UInt32 = 1

  @Option(help: "Images in a step: more are faster and take more memory.")
  var batch: Int = 1

  @OptionGroup(title: "Memory")
  var weights: WeightFlags

  @Flag(help: "Print the result as JSON.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(batch) else { throw ValidationError("--batch is 1 to 4096.") }
    guard !images.isEmpty else { throw ValidationError("Missing an image.") }
  }

  /// Runs all images; `body` gets the rows of each in order.
  func forEach(_ model: ImageModel, _ body: (String, [Float]) throws -> Void) throws {
    var rest = images[...]
    while !rest.isEmpty {
      let names = rest.prefix(model.batch)
      let pictures = try names.map { try PixelImage(path: $0) }
      let rows = try model.run(pictures[...], names: names)
      for (name, row) in zip(names, rows) { try body(name, row) }
      rest = rest.dropFirst(names.count)
    }
  }

  /// The model, with no more room than the images need. Throws `HostError`.
  func model() throws(HostError) -> ImageModel {
    try ImageModel(
      file, threads: threads, batch: min(batch, images.count), weightLimit: weights.limit)
  }
}

struct Classify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what is in pictures.",
    discussion: """
      The likeliest labels of each picture, with what the model holds their probability to be. \
      Pictures are brought to the model's size as the file says, in whole numbers. A JPEG is turned \
      upright as its camera says (Exif orientation); a PNG is taken as it lies.

      EXAMPLE:
        curta classify vit.curta cat.jpg dog.png
      """)

  @OptionGroup var flags: ImageFlags

  @Option(help: "Labels to show of each picture.")
  var top: Int = 5

  func validate() throws {
    guard top >= 1 else { throw ValidationError("--top is at least 1.") }
  }

  func run() throws {
    try reporting {
      let model = try flags.model()
      guard model.givesLabels else {
        throw HostError.request("\(flags.file) gives features, not labels; use curta embed")
      }
      var results: [ClassifyJSON.Image] = []
      try flags.forEach(model) { name, row in
        let guesses = guesses(row, model)
        if flags.json {
          results.append(ClassifyJSON.Image(image: name, labels: guesses))
        } else {
          Terminal.line(printable(name))
          for guess in guesses {
            let percent = decimal(100 * guess.probability, 2)
            let space = String(repeating: " ", count: max(0, 6 - percent.count))
            Terminal.line("  \(space)\(percent) %  \(printable(guess.label))")
          }
        }
      }
      if flags.json { try JSONOutput.print(ClassifyJSON(file: flags.file, images: results)) }
    }
  }

  /// The likeliest labels, the first of equals first.
  private func guesses(_ row: [Float], _ model: ImageModel) -> [ClassifyJSON.Guess] {
    let largest = Double(row.max() ?? 0)
    let sum = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
    let order = row.indices.sorted { row[$0] == row[$1] ? $0 < $1 : row[$0] > row[$1] }
    return order.prefix(top).map { index in
      ClassifyJSON.Guess(
        index: index, label: model.label(index),
        probability: exp(Double(row[index]) - largest) / sum, logit: Double(row[index]))
    }
  }
}

private struct ClassifyJSON: Encodable {
  struct Guess: Encodable {
    let index: Int
    let label: String
    let probability, logit: Double
  }
  struct Image: Encodable {
    let image: String
    let labels: [Guess]
  }

  let schema = "curta.classify/1"
  let file: String
  let images: [Image]
}
