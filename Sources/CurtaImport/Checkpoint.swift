// A float checkpoint as the converter sees it, whatever format it came in.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// Where the tokenizer of a checkpoint is.
public enum TokenizerSource: Equatable, Sendable {
  /// The path of a Hugging Face tokenizer.json.
  case huggingFace(json: String)
  /// The path of a tokenizer.model of SentencePiece.
  case sentencePiece(model: String)
  /// The path of a llama2.c tokenizer .bin, which does not say how many tokens it has.
  case llama2c(path: String, vocabularySize: Int)
  /// The path of a GGUF file, whose metadata hold the tokenizer.
  case gguf(path: String)
  /// There is none: only token ids go in and out.
  case none
}

/// A file that a checkpoint was read from.
public struct SourceFile: Equatable, Sendable {
  /// Name without its folder.
  public let name: String
  public let path: String
  /// Length in bytes.
  public let bytes: Int
}

/// The float weights of a model with everything needed to run them.
public struct Checkpoint: Sendable {
  /// The weights, still in their files.
  public var source: DecoderSource
  public var tokenizer: TokenizerSource
  /// The token a text begins with.
  public var bos: Int32?
  /// The tokens that end a text; the first is the proper one.
  public var eos: [Int32]
  /// Whether `bos` goes in front of a prompt.
  public var addsBos = false
  public var defaults = SamplingDefaults()
  /// How a chat becomes a prompt, and what is to be said of its template.
  public var chat = ChatFormOutcome()
  public var sourceFiles: [SourceFile] = []

  public init(
    source: DecoderSource, tokenizer: TokenizerSource, bos: Int32?, eos: [Int32]
  ) {
    self.source = source
    self.tokenizer = tokenizer
    self.bos = bos
    self.eos = eos
  }

  /// Bytes of all parameters as float32; a tied head counts once.
  public var floatBytes: Int { source.parameterCount * 4 }
}

/// Reads a checkpoint: a Hugging Face folder, a GGUF file, or a llama2.c `.bin`.
///
/// Everything is checked but the values of the weights, which are read when they are asked for.
///
/// - Parameters:
///   - tokenizer: path of a tokenizer to use instead of the one beside the weights.
///   - context: tokens that the model is to see at once, where the checkpoint's own statement is not
///     wanted; rotary tables that depend on it follow.
/// - Throws: only `ImportError`; what is unsupported is all in one error.
public func loadCheckpoint(
  _ path: String, tokenizer: String? = nil, context: Int? = nil
) throws(ImportError) -> Checkpoint {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw .unreadable(file: path, reason: "no such file or folder")
  }
  if isFolder.boolValue {
    return try DecoderFolder.load(path, tokenizer: tokenizer, context: context)
  }
  if GGUFFile.hasMagic(path) {
    return try GGUFDecoder.load(path, tokenizer: tokenizer, context: context)
  }
  switch URL(fileURLWithPath: path).pathExtension {
  case "bin":
    return try loadLlama2C(path, tokenizer: tokenizer, context: context)
  case "safetensors":
    throw .unsupported(["\(path): weights alone; give the folder, with its config.json"])
  default:
    throw .unsupported([
      "\(path): neither a Hugging Face folder (config.json, model.safetensors), nor GGUF, nor a "
        + "llama2.c .bin"
    ])
  }
}

private func loadLlama2C(
  _ path: String, tokenizer: String?, context: Int?
) throws(ImportError) -> Checkpoint {
  let weights = try Llama2C.load(path, context: context)
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
  let size = weights.description.vocabularySize
  let source = try TokenizerSource.find(
    option: tokenizer, candidates: ["tok\(size).bin", "tokenizer.bin"].map { folder + "/" + $0 },
    vocabularySize: size)
  // As in llama2.c: a text begins with 1, and either 2 or the next 1 ends it.
  guard size > 2 else {
    throw .bad(
      .outOfRange, file: path, field: "vocab_size", offset: 20,
      "\(size) leaves no room for the tokens 1 (begin) and 2 (end)",
      advice: "check that this is a llama2.c checkpoint")
  }
  var checkpoint = Checkpoint(source: weights, tokenizer: source, bos: 1, eos: [2, 1])
  checkpoint.addsBos = true
  checkpoint.sourceFiles = [try SourceFile(at: path)]
  if let tokenizer = source.path { checkpoint.sourceFiles.append(try SourceFile(at: tokenizer)) }
  return checkpoint
}

extension TokenizerSource {
  /// Path of the file; nil where there is none.
  public var path: String? {
    switch self {
    case .huggingFace(let json): json
    case .sentencePiece(let model): model
    case .llama2c(let path, _), .gguf(let path): path
    case .none: nil
    }
  }

  /// The tokenizer at `option`, which must exist, or else the first candidate that does.
  static func find(
    option: String?, candidates: [String], vocabularySize: Int
  ) throws(ImportError) -> TokenizerSource {
    if let option, !FileManager.default.fileExists(atPath: option) {
      throw .unreadable(file: option, reason: "no such tokenizer")
    }
    let found = option ?? candidates.first { FileManager.default.fileExists(atPath: $0) }
    guard let found else { return .none }
    if found.hasSuffix(".model") { return .sentencePiece(model: found) }
    return found.hasSuffix(".json")
      ? .huggingFace(json: found) : .llama2c(path: found, vocabularySize: vocabularySize)
  }
}

extension SourceFile {
  init(_ file: MappedFile) {
    self.init(
      name: URL(fileURLWithPath: file.path).lastPathComponent, path: file.path, bytes: file.count)
  }

  init(at path: String) throws(ImportError) {
    self.init(try MappedFile(path))
  }
}
