// Runs what a conversion is calibrated on through the layers, each behind the quantized ones before.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// The residual streams of all calibration inputs, on their way through a model.
///
/// A layer first runs with its float weights while the moments of its linear layers' inputs are
/// gathered, then with the weights that the file will hold, so that the next layer sees what it will
/// see in the end (as GPTQ does, Frantar et al. 2022). Activations are rounded to codes in both.
struct LayerCalibration {
  private let parts: [LayerPart]
  private let moments: InputMoments
  private let watching: LayerRunner
  private let running: LayerRunner
  /// [rows][width] each.
  private(set) var streams: [Matrix]

  /// `streams` are the rows that enter the first layer, `codes` those of the attention weights.
  init(_ d: DecoderDescription, _ streams: [Matrix], codes: [ScoreCode] = []) {
    parts = LayerPart.present(in: d.parts)
    let spreading = Spreading(d)
    moments = InputMoments(spreading)
    let rounding = FakeQuantization.transform(spreading, codes: codes)
    watching = LayerRunner(d, rounding.then(moments.transform))
    running = LayerRunner(d, rounding)
    self.streams = streams
  }

  /// Gathers the moments of the inputs of layer `index`.
  func watch(_ layer: DecoderLayer, _ index: Int) -> InputMoments {
    moments.reset()
    for stream in streams {
      var copy = stream
      var cache = LayerCache()
      watching.run(layer, index, &copy, from: 0, &cache)
    }
    return moments
  }

  /// Takes the streams behind layer `index`, whose tensors are those of the file in its order.
  mutating func advance(_ layer: DecoderLayer, _ index: Int, as tensors: [PackedTensor]) {
    var quantized = layer
    for (part, tensor) in zip(parts, tensors) { part.set(tensor.values, in: &quantized) }
    streams = running.run(quantized, index, over: streams)
  }

  /// Gathers the moments of the head's input.
  func watchHead(_ ends: DecoderEnds) -> InputMoments {
    moments.reset()
    for stream in streams { watching.headInput(stream, ends) }
    return moments
  }
}

extension LayerRunner {
  /// Several streams behind layer `index`, each from position 0, on all cores.
  func run(_ layer: DecoderLayer, _ index: Int, over streams: [Matrix]) -> [Matrix] {
    SingleThreadedBLAS.run {
      concurrentMap(streams.count) { i in
        var (stream, cache) = (streams[i], LayerCache())
        run(layer, index, &stream, from: 0, &cache)
        return stream
      }
    }
  }
}
