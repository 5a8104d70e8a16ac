// What an architecture says about a checkpoint, held against the tensors that are there.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The description of a decoder and where its parameters are.
struct DecoderPlan: Sendable {
  /// What the format calls the architecture, for messages.
  var architecture: String
  var description: DecoderDescription
  /// Where the modules are: those of a layer behind its prefix, those of `DecoderModule.ends` behind
  /// `prefix`, but for the head, which has its full name.
  var modules: [DecoderModule: ModuleView]
  /// In front of all names but the head's: "model.".
  var prefix: String
  /// Other prefixes that a checkpoint may have instead.
  var prefixes = [""]
  /// In front of the number of a layer, behind the prefix: "layers.".
  var layers: String
  /// Learned positions in the file.
  var positions: Int
  /// Whether the embedding is stored under the name of the head.
  private(set) var embeddingIsHead = false
  /// Tensors behind a layer's prefix that are no parameters: masks, tables of frequencies.
  var ignoredInLayer: Set<String> = []
  /// Tensors that are read by the plan itself, or are none of the decoder's business.
  var ignored: @Sendable (String) -> Bool = { _ in false }

  init(
    _ architecture: String, _ description: DecoderDescription, prefix: String, layers: String,
    _ modules: [DecoderModule: ModuleView]
  ) {
    self.architecture = architecture
    self.description = description
    self.prefix = prefix
    self.layers = layers
    self.modules = modules
    positions = description.contextLength
  }

  /// One tensor that there must be.
  struct Wanted {
    var name: String
    var shape: [Int]
  }

  func prefix(_ layer: Int) -> String { "\(prefix)\(layers)\(layer)." }

  /// Full name of one of the ends, without ".weight".
  func name(_ end: DecoderModule) -> String? {
    modules[end].map { end == .head ? $0.name : prefix + $0.name }
  }

  /// Takes over what the checkpoint has instead of the usual names: another prefix, or the one
  /// matrix of a tied head under the name of the head.
  mutating func adapt(to catalog: TensorCatalog) {
    guard let embedding = modules[.embedding]?.name else { return }
    func hasEmbedding(_ prefix: String) -> Bool { catalog.has(prefix + embedding + ".weight") }
    if !hasEmbedding(prefix), let found = prefixes.first(where: hasEmbedding) { prefix = found }
    embeddingIsHead =
      description.tiedHead && !hasEmbedding(prefix)
      && catalog.has((modules[.head]?.name ?? "") + ".weight")
  }

  /// Name of a module's tensor, of layer `layer` or of the ends.
  func tensorName(_ module: DecoderModule, _ layer: Int?, _ kind: String) -> String? {
    if module == .embedding, embeddingIsHead { return modules[.head].map { $0.name + kind } }
    guard let layer else { return name(module).map { $0 + kind } }
    return modules[module].map { prefix(layer) + $0.name + kind }
  }

  private func tensors(of modules: [DecoderModule], _ layer: Int?) -> [Wanted] {
    modules.flatMap { module -> [Wanted] in
      guard let size = module.size(in: description, positions: positions) else { return [] }
      let view = self.modules[module] ?? ModuleView(module.rawValue)
      func name(_ kind: String) -> String {
        tensorName(module, layer, kind) ?? module.rawValue + kind
      }
      var wanted: [Wanted] = []
      if size.hasWeight {
        wanted.append(
          Wanted(
            name: name(".weight"),
            shape: view.shape(rows: size.rows, columns: size.columns)))
      }
      if size.hasBias {
        wanted.append(
          Wanted(name: name(".bias"), shape: view.shape(rows: size.rows, columns: nil)))
      }
      return wanted
    }
  }

  /// Every tensor that the decoder reads, once for each module that reads it. Of more layers than a
  /// catalog can have, so many that one is missing.
  func wanted(in catalog: TensorCatalog) -> [Wanted] {
    tensors(of: DecoderModule.ends, nil)
      + (0..<min(description.layers, catalog.count + 1)).flatMap {
        tensors(of: DecoderModule.layer, $0)
      }
  }

  var parameterCount: Int {
    func count(_ modules: [DecoderModule]) -> Int {
      modules.reduce(0) { sum, module in
        guard let size = module.size(in: description, positions: positions) else { return sum }
        return sum + (size.hasWeight ? size.rows * (size.columns ?? 1) : 0)
          + (size.hasBias ? size.rows : 0)
      }
    }
    return count(DecoderModule.ends) + description.layers * count(DecoderModule.layer)
  }

  // MARK: - Checks

  /// Tensors that nobody wants, those of all layers together: one line for each name.
  func unknownTensors(_ catalog: TensorCatalog, wanted: [Wanted]) -> [String] {
    let known = Set(wanted.map(\.name))
    var counts: [String: Int] = [:]
    for name in catalog.names where !known.contains(name) && !isIgnored(name) {
      counts[layerPattern(name), default: 0] += 1
    }
    return counts.sorted { $0.key < $1.key }.map { pattern, count in
      let what =
        if pattern.contains("expert") || pattern.contains("_exps") || pattern.contains("_shexp") {
          "experts (supported: one feed-forward network)"
        } else if pattern.contains("lora_") {
          "an adapter (supported: none; merge it into the weights)"
        } else {
          "\(architecture) has no such tensor here"
        }
      let times = count > 1 ? " (\(count) tensors)" : ""
      return "\(printableName(pattern, limit: 64))\(times): \(what)"
    }
  }

  private func isIgnored(_ name: String) -> Bool {
    if name == tiedHeadName || ignored(name) { return true }
    guard name.hasPrefix(prefix + layers) else { return false }
    let rest = name.dropFirst(prefix.count + layers.count).drop { $0.isASCII && $0.isNumber }
    return ignoredInLayer.contains(String(rest.dropFirst()))
  }

  /// The name of a head that is the embedding once more.
  private var tiedHeadName: String? {
    guard description.tiedHead, !embeddingIsHead, let head = name(.head) else { return nil }
    return head + ".weight"
  }

  /// Throws for a tensor that is missing or of another shape.
  func check(_ catalog: TensorCatalog, wanted: [Wanted]) throws(ImportError) {
    for wanted in wanted {
      guard let tensor = catalog[wanted.name] else {
        throw .bad(
          .missingTensor, file: catalog.place, field: wanted.name,
          "is not there, but \(catalog.authority) asks for \(catalog.written(wanted.shape))",
          advice: "check that \(catalog.authority) belongs to these weights")
      }
      guard tensor.shape == wanted.shape else {
        throw .bad(
          .wrongShape, file: tensor.file.path, field: wanted.name, offset: tensor.recordOffset,
          "has shape \(catalog.written(tensor.shape)), \(catalog.authority) asks for "
            + "\(catalog.written(wanted.shape))",
          advice: "check that \(catalog.authority) belongs to these weights")
      }
    }
    guard let tiedHeadName, let head = catalog[tiedHeadName],
      let name = name(.embedding), let embedding = catalog[name + ".weight"],
      try !head.equals(embedding)
    else { return }
    throw .bad(
      .contradiction, file: catalog.place, field: "tie_word_embeddings",
      "is true, but \(tiedHeadName) differs from \(embedding.name)",
      advice: "set it to false if the head is meant to be used, or remove \(tiedHeadName)")
  }
}

/// `blk.3.attn_q.bias` is one of the `blk.*.attn_q.bias`.
func layerPattern(_ name: String) -> String {
  name.split(separator: ".", omittingEmptySubsequences: false)
    .map { !$0.isEmpty && $0.allSatisfy(\.isNumber) ? "*" : String($0) }
    .joined(separator: ".")
}
