// Which blocks of which tensors of a model are left out.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

extension LayerStack {
  /// The masks of all weights of the layers, by name, as `rule` wants them.
  ///
  /// Looks at the float model: an error of a tensor counts by what it loses at the model's outputs
  /// (`Sensitivity`). Of `statistics` of the model alone it counts by the size of the tensor's own
  /// outputs. The moments of all layers are in memory meanwhile. Throws what reading a layer throws, and
  /// `QuantizeError`.
  func masks(
    _ rule: PruneRule, statistics: Statistics? = nil, progress: (Int) -> Void = { _ in }
  ) throws -> [String: BlockMask] {
    var (names, tensors): ([String], [PrunableTensor]) = ([], [])
    var streams = streams
    let parts = LayerPart.present(in: d.parts).filter(\.isWeight)
    var slopes: [String: Sensitivity.Measured] = [:]
    if statistics == nil {
      slopes = try Sensitivity(
        stack: evenly(PruneRule.measuredInputs), rules: [TensorRule(bits: 2, group: 32)],
        clip: .search
      ).measure(parts, progress: progress)
    }
    for index in 0..<d.layers {
      let layer = try layer(index)
      let moments =
        try statistics?.moments(layer: index, d)
        ?? LayerCalibration(d, streams).watch(layer, index)
      for part in parts {
        let planned = part.planned(d, spreading, layer: index)
        guard let role = planned.role, let hessian = moments.gathered(for: role) else {
          preconditionFailure("\(planned.name) is no weight")
        }
        names.append(planned.name)
        tensors.append(
          PrunableTensor(
            weight: planned.turned(part.values(layer)), hessian: hessian,
            tokens: statistics?.sequence ?? streams.first?.rows ?? 1, floor: rule.floor[role] ?? 0,
            importance: slopes[planned.name]?.slope))
      }
      if statistics == nil { streams = run(layer, index, over: streams) }
    }
    let masks = try DropAndRegrow(rounds: rule.regrow).refine(
      tensors, BlockPruning(power: rule.power).select(tensors, density: rule.density))
    return Dictionary(zip(names, masks)) { first, _ in first }
  }
}
