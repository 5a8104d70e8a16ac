// What `curta convert --json` prints.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaQuantize

struct PlanJSON: Encodable {
  struct Tensor: Encodable {
    let name: String
    let rows, columns, bits, group, bytes: Int
  }

  let schema = "curta.convert-plan/1"
  let recipe: String
  let tensors: [Tensor]
  let tensorBytes, tokenizerBytes, parameters, float32Bytes: Int
  /// Absent for a recipe that rounds to nearest.
  let measuring: Measuring?

  struct Measuring: Encodable {
    let rows, rowBytes, momentBytes: Int
    let prunes: Bool
  }

  init(_ plan: ConversionPlan, recipe: String) {
    self.recipe = recipe
    tensors = plan.tensors.map {
      Tensor(
        name: $0.name, rows: $0.rows, columns: $0.columns, bits: $0.bits, group: $0.group,
        bytes: $0.bytes)
    }
    tensorBytes = plan.tensorBytes
    tokenizerBytes = plan.tokenizerBytes
    parameters = plan.parameters
    float32Bytes = plan.float32Bytes
    measuring = plan.measuring.map {
      Measuring(
        rows: $0.rows, rowBytes: $0.rowBytes, momentBytes: $0.momentBytes, prunes: $0.prunes)
    }
  }
}

struct ReportJSON: Encodable {
  struct Tensor: Encodable {
    let name: String
    let rows, columns, bits, storedBytes, decodedBytes: Int
    let codecs: [String]
  }

  struct Step: Encodable {
    let step: String
    let error, seconds: Double
  }

  struct Solved: Encodable {
    let name: String
    let steps: [Step]
  }

  struct Learned: Encodable {
    struct Errors: Encodable { let error, heldOut: Double }
    let name, kept: String
    let errors: [String: Errors]
    let seconds: Double
  }

  let schema = "curta.convert/1"
  let file, recipe: String
  let tensors: [Tensor]
  let fileBytes, tensorBytes, tensorDecodedBytes, tokenizerBytes, overheadBytes: Int
  let parameters, float32Bytes: Int
  let ratio, bitsPerParameter, seconds: Double
  let peakMemoryBytes: Int
  let stages: [String: StageJSON]
  let layerSeconds: [LayerTimeJSON]
  /// What each step left of the error of outputs, over their mean square, and seconds over all cores.
  let solved: [Solved]
  /// What learning the tensors of layers together left of the error of their sums, over the mean square:
  /// of inputs that were learned from, and of those that were held out.
  let learned: [Learned]

  init(_ report: ConversionReport, _ solved: SolvingRecord, output: String) {
    let sizes = report.sizes
    file = output
    recipe = report.recipe
    learned = solved.layers.map { layer in
      let errors = layer.errors.map {
        ($0.kind.rawValue, Learned.Errors(error: $0.errors.seen, heldOut: $0.errors.held))
      }
      return Learned(
        name: layer.name, kept: layer.kept.rawValue,
        errors: Dictionary(uniqueKeysWithValues: errors),
        seconds: layer.seconds)
    }
    self.solved = solved.tensors.map {
      Solved(
        name: $0.name,
        steps: $0.steps.map { Step(step: $0.name, error: $0.error, seconds: $0.seconds) })
    }
    tensors = sizes.tensors.map {
      Tensor(
        name: $0.name, rows: $0.rows, columns: $0.columns, bits: $0.bits,
        storedBytes: $0.storedSize, decodedBytes: $0.decodedSize,
        codecs: $0.codecs.map { "\($0)" })
    }
    fileBytes = sizes.fileSize
    tensorBytes = sizes.tensorStoredSize
    tensorDecodedBytes = sizes.tensorDecodedSize
    tokenizerBytes = sizes.tokenizerStoredSize
    overheadBytes = sizes.fileSize - sizes.tensorStoredSize - sizes.tokenizerStoredSize
    parameters = report.parameters
    float32Bytes = report.float32Bytes
    ratio = report.ratio
    bitsPerParameter = report.bitsPerParameter
    seconds = curta.seconds(report.times.duration)
    peakMemoryBytes = report.times.peakMemory
    stages = report.times.stagesJSON
    layerSeconds = report.times.layersJSON
  }
}
