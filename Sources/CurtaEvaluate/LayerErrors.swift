// Where quality is lost: how much each layer of a file differs from the float one.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaTensor
import Glibc

/// The errors of one layer, as ratios of power in decibels: 20 is a hundredth of the power.
public struct LayerError: Sendable, Equatable {
  /// 0…layers−1.
  public var layer: Int
  /// What the layer adds to the exact stream, over the error of what it adds: the layer's own.
  public var own: Double
  /// The stream after the layer over its error, with the errors of all layers before: what has
  /// gathered.
  public var gathered: Double
}

/// Compares the layers of a simulated model with those of the reference, on the inputs of a window.
///
/// Both go through the text side by side. Every layer also runs on the exact stream, so that its own
/// error stands apart from what it was handed.
struct LayerComparison {
  private let reference: DecoderWeights
  private let simulated: DecoderWeights
  private let exact: LayerRunner
  private let rounded: LayerRunner

  init(reference: DecoderWeights, simulated: DequantizedModel) {
    self.reference = reference
    self.simulated = simulated.weights
    exact = LayerRunner(reference.description)
    rounded = LayerRunner(
      simulated.weights.description,
      FakeQuantization.transform(simulated.spreading, codes: simulated.codes))
  }

  /// Errors of every layer over all windows; `progress` is told the number of layers done.
  func run(_ windows: [TokenWindow], progress: (Int) -> Void = { _ in }) -> [LayerError] {
    var streams = windows.map { exact.embed($0.inputs, reference.ends) }
    var others = windows.map { rounded.embed($0.inputs, simulated.ends) }
    var errors: [LayerError] = []
    for index in reference.layers.indices {
      var (added, own, stream, gathered) = (0.0, 0.0, 0.0, 0.0)
      for i in streams.indices {
        let before = streams[i]
        run(exact, reference.layers[index], index, &streams[i])
        var alone = before
        run(rounded, simulated.layers[index], index, &alone)
        run(rounded, simulated.layers[index], index, &others[i])
        added += power(streams[i], before)
        own += power(alone, streams[i])
        stream += power(streams[i], nil)
        gathered += power(others[i], streams[i])
      }
      errors.append(
        LayerError(
          layer: index, own: decibels(added, over: own), gathered: decibels(stream, over: gathered))
      )
      progress(index + 1)
    }
    return errors
  }

  private func run(
    _ runner: LayerRunner, _ layer: DecoderLayer, _ index: Int, _ x: inout Matrix
  ) {
    var cache = LayerCache()
    runner.run(layer, index, &x, from: 0, &cache)
  }
}

/// Sum of the squares of a − b; of a where b is nil.
private func power(_ a: Matrix, _ b: Matrix?) -> Double {
  var sum = 0.0
  for i in a.values.indices {
    let difference = Double(a.values[i]) - Double(b?.values[i] ?? 0)
    sum += difference * difference
  }
  return sum
}

/// 10 log10(signal / error), at most 200.
private func decibels(_ signal: Double, over error: Double) -> Double {
  min(200, 10 * log10(max(signal, 1e-300) / max(error, 1e-300)))
}
