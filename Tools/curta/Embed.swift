// `curta embed`: pictures as rows of numbers.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate

struct Embed: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Turn pictures into features, rows of numbers that can be compared.",
    discussion: """
      One line for each picture: its path, a tab, the numbers. The model is one without a head.

      EXAMPLE:
        curta embed dinov2.curta a.jpg b.jpg --unit
      """)

  @OptionGroup var flags: ImageFlags

  @Flag(help: "Bring every row to length 1: products of rows are then cosines.")
  var unit = false

  func run() throws {
    try reporting {
      let model = try flags.model()
      guard !model.givesLabels else {
        throw HostError.request(
          "\(flags.file) gives labels, not features; use curta classify, or convert with"
            + " --features")
      }
      var results: [EmbedJSON.Image] = []
      try flags.forEach(model) { name, row in
        var row = row.map(Double.init)
        let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if unit, length > 0 { row = row.map { $0 / length } }
        if flags.json {
          results.append(EmbedJSON.Image(image: name, features: row))
        } else {
          let numbers = row.map { decimal($0, 6) }.joined(separator: " ")
          Terminal.line("\(printable(name))\t\(numbers)")
        }
      }
      if flags.json { try JSONOutput.print(EmbedJSON(file: flags.file, images: results)) }
    }
  }
}

private struct EmbedJSON: Encodable {
  struct Image: Encodable {
    let image: String
    let features: [Double]
  }

  let schema = "curta.embed/1"
  let file: String
  let images: [Image]
}
