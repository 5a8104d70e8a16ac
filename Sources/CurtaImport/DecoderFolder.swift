// Reads a Hugging Face folder: config.json, safetensors weights, and what else is beside them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A Hugging Face folder with a decoder of any known architecture.
enum DecoderFolder {
  /// Reads the folder; `tokenizer` replaces its own tokenizer.json, `context` the context that
  /// config.json states.
  static func load(
    _ folder: String, tokenizer: String?, context: Int?
  ) throws(ImportError) -> Checkpoint {
    let configPath = folder + "/config.json"
    let config = try ConfigurationReader(configPath, context: context)
    let files: SafetensorsFolder
    do throws(ImportError) {
      files = try SafetensorsFolder(folder)
    } catch {
      // A model that we do not know explains more than weights that cannot be read.
      if planner(config) == nil { throw unknownModel(config, undecodable: []) }
      throw error
    }
    let catalog = TensorCatalog(files, place: folder)
    let source = try source(config, catalog)

    let size = source.description.vocabularySize
    let tokenizerSource = try TokenizerSource.find(
      option: tokenizer,
      candidates: ["tokenizer.json", "tokenizer.model"].map { folder + "/" + $0 },
      vocabularySize: size)
    let bos = try config.tokens("bos_token_id", vocabularySize: size)?.first
    var checkpoint = Checkpoint(
      source: source, tokenizer: tokenizerSource, bos: bos,
      eos: try config.tokens("eos_token_id", vocabularySize: size) ?? [])
    checkpoint.addsBos = try addsBos(folder, tokenizerSource, hasBos: bos != nil)
    let generationPath = folder + "/generation_config.json"
    if FileManager.default.fileExists(atPath: generationPath) {
      let generation = try GenerationConfiguration(generationPath, vocabularySize: size)
      checkpoint.bos = checkpoint.bos ?? generation.bos
      checkpoint.eos = generation.eos ?? checkpoint.eos
      checkpoint.defaults = generation.defaults
    }
    for path in [configPath, generationPath, tokenizerSource.path] {
      guard let path, FileManager.default.fileExists(atPath: path) else { continue }
      checkpoint.sourceFiles.append(try SourceFile(at: path))
    }
    checkpoint.sourceFiles += files.files.map { SourceFile($0.file) }
    checkpoint.chat = try chatForm(folder: folder)
    for path in checkpoint.chat.files { checkpoint.sourceFiles.append(try SourceFile(at: path)) }
    return checkpoint
  }

  private static func planner(_ config: ConfigurationReader) -> Architectures.FolderPlanner? {
    config.value("model_type")?.text.flatMap { Architectures.folder[$0] }
  }

  /// The error of a model type that is not in the list, with all else that is unsupported.
  private static func unknownModel(
    _ config: ConfigurationReader, undecodable: [String]
  ) -> ImportError {
    let supported = Architectures.folder.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
    if let type = config.value("model_type") {
      config.report("model_type", type, supported: supported)
    } else {
      config.report("config.json: no model_type (supported: \(supported))")
    }
    config.reportUnread()
    return .unsupported(config.problems + undecodable)
  }

  /// The decoder that config.json describes. Everything unsupported is in one error.
  static func source(
    _ config: ConfigurationReader, _ catalog: TensorCatalog
  ) throws(ImportError) -> DecoderSource {
    guard let planner = planner(config) else {
      throw unknownModel(config, undecodable: catalog.undecodable())
    }
    var plan: DecoderPlan
    do throws(ImportError) {
      plan = try planner(config, catalog)
    } catch {
      // What is unsupported explains more than a field that makes no sense to us.
      let problems = config.problems
      throw problems.isEmpty ? error : .unsupported(problems + catalog.undecodable())
    }
    config.reportUnread()
    plan.adapt(to: catalog)
    return try plan.source(catalog, problems: config.problems)
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
    case .sentencePiece:
      let path = folder + "/tokenizer_config.json"
      guard FileManager.default.fileExists(atPath: path) else { return hasBos }
      return try ConfigurationReader(path).flag("add_bos_token", default: hasBos)
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
