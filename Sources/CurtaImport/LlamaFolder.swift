// Reads a Hugging Face Llama folder: config.json and safetensors weights.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A Hugging Face folder of model type "llama".
enum LlamaFolder {
  private static let embeddingName = "model.embed_tokens.weight"
  private static let headName = "lm_head.weight"

  /// Reads the folder; `tokenizer` replaces its own tokenizer.json.
  static func load(_ folder: String, tokenizer: String?) throws(ImportError) -> Checkpoint {
    let configPath = folder + "/config.json"
    let configuration = try LlamaConfiguration(configPath)
    let d = configuration.description
    let tensors = try SafetensorsFolder(folder)
    let weights = try Self.weights(d, tensors, folder: folder)

    let source = try TokenizerSource.find(
      option: tokenizer, candidates: [folder + "/tokenizer.json"], vocabularySize: d.vocabularySize
    )
    var checkpoint = Checkpoint(
      weights: weights, tokenizer: source, bos: configuration.bos, eos: configuration.eos)
    checkpoint.addsBos = try addsBos(folder, source, hasBos: configuration.bos != nil)
    let generationPath = folder + "/generation_config.json"
    if FileManager.default.fileExists(atPath: generationPath) {
      let generation = try GenerationConfiguration(
        generationPath, vocabularySize: d.vocabularySize)
      checkpoint.bos = checkpoint.bos ?? generation.bos
      checkpoint.eos = generation.eos ?? checkpoint.eos
      checkpoint.defaults = generation.defaults
    }
    for path in [configPath, generationPath, source.path] {
      guard let path, FileManager.default.fileExists(atPath: path) else { continue }
      checkpoint.sourceFiles.append(try SourceFile(at: path))
    }
    checkpoint.sourceFiles += tensors.files.map { SourceFile($0.file) }
    return checkpoint
  }

  /// Names and shapes of the tensors of one layer, in the order they are read.
  private static func layerShapes(_ d: DecoderDescription) -> [(name: String, shape: [Int])] {
    [
      ("input_layernorm.weight", [d.width]),
      ("self_attn.q_proj.weight", [d.queryWidth, d.width]),
      ("self_attn.k_proj.weight", [d.keyValueWidth, d.width]),
      ("self_attn.v_proj.weight", [d.keyValueWidth, d.width]),
      ("self_attn.o_proj.weight", [d.width, d.queryWidth]),
      ("post_attention_layernorm.weight", [d.width]),
      ("mlp.gate_proj.weight", [d.feedForwardWidth, d.width]),
      ("mlp.up_proj.weight", [d.feedForwardWidth, d.width]),
      ("mlp.down_proj.weight", [d.width, d.feedForwardWidth]),
    ]
  }

  private static func weights(
    _ d: DecoderDescription, _ tensors: SafetensorsFolder, folder: String
  ) throws(ImportError) -> DecoderWeights {
    // Some tied checkpoints keep the one matrix under the name of the head.
    let names = Set(tensors.names)
    let isUnderHeadName = d.tiedHead && !names.contains(embeddingName) && names.contains(headName)
    let embeddingName = isUnderHeadName ? headName : embeddingName
    let hasHead = !d.tiedHead || (names.contains(headName) && !isUnderHeadName)

    var wanted = [(name: embeddingName, shape: [d.vocabularySize, d.width])]
    for layer in 0..<d.layers {
      wanted += layerShapes(d).map { ("model.layers.\(layer).\($0.name)", $0.shape) }
    }
    wanted.append(("model.norm.weight", [d.width]))
    if hasHead { wanted.append((headName, [d.vocabularySize, d.width])) }
    try check(wanted, tensors, folder: folder)

    var read: [[Float]] = []
    for (name, _) in wanted { read.append(try floats(name, tensors)) }
    let perLayer = layerShapes(d).count
    let layers = (0..<d.layers).map { layer in
      let own = read[(1 + layer * perLayer)..<(1 + (layer + 1) * perLayer)]
      return DecoderLayer(Array(own), d)
    }
    func vocabulary(_ values: [Float]) -> Matrix {
      Matrix(rows: d.vocabularySize, columns: d.width, values: values)
    }
    let head = hasHead ? read[read.count - 1] : nil
    if d.tiedHead, let head, head != read[0] {
      throw .bad(
        .contradiction, file: folder + "/config.json", field: "tie_word_embeddings",
        "is true, but \(headName) differs from \(embeddingName)",
        advice: "set it to false if the head is meant to be used, or remove \(headName)")
    }
    return DecoderWeights(
      description: d, embedding: vocabulary(read[0]), layers: layers,
      finalNorm: read[1 + d.layers * perLayer],
      head: d.tiedHead ? nil : head.map(vocabulary))
  }

  /// Throws for a tensor that is missing, of another shape, of a type we do not read, or unknown.
  private static func check(
    _ wanted: [(name: String, shape: [Int])], _ tensors: SafetensorsFolder, folder: String
  ) throws(ImportError) {
    var unsupported: [String] = []
    for (name, shape) in wanted {
      guard let (file, entry) = tensors.find(name) else {
        throw .bad(
          .missingTensor, file: folder, field: name, "is in none of the weight files",
          advice: "check that config.json belongs to these weights")
      }
      guard entry.shape == shape else {
        throw .bad(
          .wrongShape, file: file.path, field: name, offset: entry.offset,
          "has shape \(entry.shape), config.json asks for \(shape)",
          advice: "check that config.json belongs to these weights")
      }
      if entry.coding == nil {
        unsupported.append("\(name): dtype \(entry.dataType) (supported: F32, F16, BF16)")
      }
    }
    let known = Set(wanted.map(\.name))
    for name in tensors.names.sorted() where !known.contains(name) {
      // Tables of frequencies, which older exports carry along.
      if name.hasSuffix(".rotary_emb.inv_freq") { continue }
      unsupported.append("\(name): a plain Llama has no such tensor")
    }
    guard unsupported.isEmpty else { throw .unsupported(unsupported) }
  }

  private static func floats(
    _ name: String, _ tensors: SafetensorsFolder
  ) throws(ImportError) -> [Float] {
    guard let (file, entry) = tensors.find(name), let coding = entry.coding else { return [] }
    let values = try file.withBytes(at: entry.offset, count: entry.count, of: name) {
      decodeFloats($0, coding)
    }
    guard let values else {
      throw .bad(
        .notFinite, file: file.path, field: name, offset: entry.offset,
        "holds an infinity or something that is not a number")
    }
    return values
  }

  /// Whether the tokenizer puts the begin token in front of a text.
  ///
  /// The post-processor of tokenizer.json decides; without one, tokenizer_config.json.
  private static func addsBos(
    _ folder: String, _ source: TokenizerSource, hasBos: Bool
  ) throws(ImportError) -> Bool {
    switch source {
    case .none, .gguf: return false
    case .llama2c: return hasBos
    case .huggingFace(let path):
      let tokenizer = try StrictJSON.file(path, refusingDuplicates: false)
      if let processor = tokenizer["post_processor"], !processor.isNull {
        return (processor["processors"]?.array ?? [processor]).contains { processor in
          processor["single"]?.array?.first?["SpecialToken"] != nil
        }
      }
      let path = folder + "/tokenizer_config.json"
      guard FileManager.default.fileExists(atPath: path) else { return false }
      return try ConfigurationReader(path).flag("add_bos_token", default: false)
    }
  }
}

extension DecoderLayer {
  /// A layer from the tensors in the order of `layerShapes`.
  fileprivate init(_ read: [[Float]], _ d: DecoderDescription) {
    func matrix(_ index: Int, _ rows: Int, _ columns: Int) -> Matrix {
      Matrix(rows: rows, columns: columns, values: read[index])
    }
    self.init(
      attentionNorm: read[0],
      query: matrix(1, d.queryWidth, d.width), key: matrix(2, d.keyValueWidth, d.width),
      value: matrix(3, d.keyValueWidth, d.width), output: matrix(4, d.width, d.queryWidth),
      feedForwardNorm: read[5],
      gate: matrix(6, d.feedForwardWidth, d.width), up: matrix(7, d.feedForwardWidth, d.width),
      down: matrix(8, d.width, d.feedForwardWidth))
  }
}
