// Reads a decoder by its plan: the ends, and one layer at a time.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension DecoderPlan {
  /// The decoder, all of whose names, shapes and types have been checked. Nothing is read yet.
  ///
  /// - Parameter problems: what else is unsupported; it is listed together with what is found here.
  func source(
    _ catalog: TensorCatalog, problems: [String]
  ) throws(ImportError) -> DecoderSource {
    let wanted = wanted(in: catalog)
    let problems = problems + unknownTensors(catalog, wanted: wanted) + catalog.undecodable()
    guard problems.isEmpty else { throw .unsupported(problems) }
    try check(catalog, wanted: wanted)
    return DecoderSource(
      description: description, parameterCount: parameterCount,
      ends: { try ModuleReader(plan: self, catalog: catalog, layerIndex: nil).ends() },
      layer: { try ModuleReader(plan: self, catalog: catalog, layerIndex: $0).layer() })
  }
}

/// Reads the modules of one layer, or of the ends.
private struct ModuleReader {
  let plan: DecoderPlan
  let catalog: TensorCatalog
  let layerIndex: Int?

  private var description: DecoderDescription { plan.description }

  private func stored(
    _ module: DecoderModule, _ kind: String
  ) throws(ImportError) -> StoredTensor {
    let name = plan.tensorName(module, layerIndex, kind) ?? module.rawValue
    guard let tensor = catalog[name] else {
      throw .bad(.missingTensor, file: catalog.place, field: name, "is not there")
    }
    return tensor
  }

  private func size(_ module: DecoderModule) -> DecoderModule.Size? {
    module.size(in: description, positions: plan.positions)
  }

  private func weight(_ module: DecoderModule) throws(ImportError) -> [Float]? {
    guard let size = size(module), size.hasWeight, let view = plan.modules[module] else {
      return nil
    }
    return try view.weight(
      stored(module, ".weight"), rows: size.rows, columns: size.columns)
  }

  private func bias(_ module: DecoderModule) throws(ImportError) -> [Float]? {
    guard let size = size(module), size.hasBias, let view = plan.modules[module] else {
      return nil
    }
    return try view.bias(stored(module, ".bias"), rows: size.rows)
  }

  private func matrix(_ module: DecoderModule) throws(ImportError) -> Matrix? {
    guard let size = size(module), let values = try weight(module) else { return nil }
    return Matrix(rows: size.rows, columns: size.columns ?? 1, values: values)
  }

  private func linear(_ module: DecoderModule) throws(ImportError) -> LinearLayer? {
    guard let matrix = try matrix(module) else { return nil }
    return LinearLayer(matrix, bias: try bias(module))
  }

  private func norm(_ module: DecoderModule) throws(ImportError) -> NormLayer? {
    guard let weight = try weight(module) else { return nil }
    return NormLayer(weight, bias: try bias(module))
  }

  /// Something that every decoder has.
  private func needed<T>(_ value: T?, _ module: DecoderModule) throws(ImportError) -> T {
    guard let value else {
      throw .bad(.missingTensor, file: catalog.place, field: module.rawValue, "is in no plan")
    }
    return value
  }

  func ends() throws(ImportError) -> DecoderEnds {
    DecoderEnds(
      embedding: try needed(matrix(.embedding), .embedding), positions: try matrix(.positions),
      finalNorm: try needed(norm(.finalNorm), .finalNorm), head: try matrix(.head),
      headBias: try bias(.head))
  }

  func layer() throws(ImportError) -> DecoderLayer {
    DecoderLayer(
      attentionNorm: try needed(norm(.attentionNorm), .attentionNorm),
      query: try needed(linear(.query), .query), key: try needed(linear(.key), .key),
      value: try needed(linear(.value), .value), queryNorm: try weight(.queryNorm),
      keyNorm: try weight(.keyNorm), output: try needed(linear(.output), .output),
      attentionPostNorm: try norm(.attentionPostNorm),
      feedForwardNorm: try norm(.feedForwardNorm), gate: try linear(.gate),
      up: try needed(linear(.up), .up), down: try needed(linear(.down), .down),
      feedForwardPostNorm: try norm(.feedForwardPostNorm))
  }
}
