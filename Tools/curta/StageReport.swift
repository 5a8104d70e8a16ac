// Where the time and the memory of a conversion went, for people and for programs.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile

extension StageTimes {
  /// `12.3 s: read 0.1, calibrate 4.0, solve 8.2 (most in layer 3, 0.4), …`
  var text: String {
    let parts = stages.map { stage in
      var text = "\(stage.name) \(decimal(seconds(stage.duration), 1))"
      if stage.name == "solve", let (layer, most) = layers.max(by: { $0.value < $1.value }) {
        text += " (most for layer \(layer), \(decimal(seconds(most), 1)))"
      }
      return text
    }
    let memory = stages.max { $0.peakMemory < $1.peakMemory }
    return "\(decimal(seconds(duration), 1)) s: " + parts.joined(separator: ", ")
      + "; at most \(grouped(peakMemory >> 20)) MiB of memory"
      + (memory.map { ", to \($0.name)" } ?? "")
  }
}

/// A stage of a job.
struct StageJSON: Encodable {
  let seconds: Double
  let peakMemoryBytes: Int

  init(_ stage: StageTimes.Stage) {
    seconds = curta.seconds(stage.duration)
    peakMemoryBytes = stage.peakMemory
  }
}

/// The solving of one layer.
struct LayerTimeJSON: Encodable {
  let layer: Int
  let seconds: Double
}

extension StageTimes {
  /// By name.
  var stagesJSON: [String: StageJSON] {
    Dictionary(uniqueKeysWithValues: stages.map { ($0.name, StageJSON($0)) })
  }

  var layersJSON: [LayerTimeJSON] {
    layers.sorted { $0.key < $1.key }
      .map { LayerTimeJSON(layer: $0.key, seconds: seconds($0.value)) }
  }
}
