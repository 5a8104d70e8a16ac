// A float model as a row of layers, for what looks at one layer after the other.
// SPDX-License-Identifier: Apache-2.0

import CurtaImport
import CurtaTensor

/// The layers of a model, the rows that enter the first and what comes of those behind the last.
struct LayerStack {
  /// Of the layers.
  let d: DecoderDescription
  let spreading: Spreading
  /// The rows that enter the first layer, [rows][width] for every input.
  private(set) var streams: [Matrix]
  let layer: (Int) throws -> DecoderLayer
  /// Rows of outputs of a stream behind the last layer.
  let outputs: (Matrix) -> Matrix
  /// Whether outputs are logits, not features.
  let givesLogits: Bool

  /// A decoder over sequences of tokens; `source` has no biases in norms that can be folded. Outputs
  /// are those of the last 128 positions of a sequence.
  init(_ source: DecoderSource, _ ends: DecoderEnds, _ sequences: [[Int32]]) {
    let runner = LayerRunner(source.description)
    d = source.description
    spreading = Spreading(d)
    streams = sequences.map { runner.embed($0, ends) }
    layer = source.layer
    outputs = { stream in runner.logits(stream.dropping(max(0, stream.rows - 128)), ends) }
    givesLogits = true
  }

  /// A vision transformer over images of its size.
  init(_ weights: VisionWeights, _ images: [[UInt8]]) {
    let vision = FoldedVision(weights)
    let float = FloatVision(weights)
    d = vision.d.body
    spreading = Spreading(d)
    streams = images.map { float.stream($0) }
    layer = { vision.layer($0) }
    outputs = { stream in
      let row = float.finish(stream)
      return Matrix(rows: 1, columns: row.count, values: row)
    }
    givesLogits = weights.description.hasHead
  }

  /// The same with at most `count` of the inputs, evenly out of all.
  func evenly(_ count: Int) -> LayerStack {
    var stack = self
    stack.streams = CurtaCompile.evenly(count, of: streams)
    return stack
  }

  /// Streams behind layer `index`.
  func run(_ layer: DecoderLayer, _ index: Int, over streams: [Matrix]) -> [Matrix] {
    LayerRunner(d).run(layer, index, over: streams)
  }

  /// What other outputs lose: the mean KL divergence of rows of logits in nats; of features, the
  /// squared distance over the squared length.
  func loss(_ found: Matrix, _ expected: Matrix) -> Double {
    var sum = 0.0
    for row in 0..<expected.rows {
      let (a, b) = (expected.row(row), found.row(row))
      if givesLogits {
        sum += klDivergence(a, b)
      } else {
        let length = a.reduce(0.0) { $0 + Double($1) * Double($1) }
        let distance = zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        sum += distance / max(length, 1e-30)
      }
    }
    return sum / Double(max(expected.rows, 1))
  }
}
