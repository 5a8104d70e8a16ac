// Fuzz target: config.json, with the weights of the recorded model of that type beside it.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

private let file = MemoryFile("config.json")

/// The tensors of the recorded models by their model_type.
private let catalogs: [String: TensorCatalog] = {
  var catalogs: [String: TensorCatalog] = [:]
  for model in FuzzModel.all {
    let folder =
      Repository.root.path + "/Tests/CurtaImportTests/Reference/architectures/" + model.name
    guard let config = try? StrictJSON.file(folder + "/config.json"),
      let type = config["model_type"]?.text, let files = try? SafetensorsFolder(folder)
    else { fatalError("\(model.name)") }
    catalogs[type] = TensorCatalog(files, place: folder)
  }
  catalogs["gemma3"] = catalogs["gemma3_text"]
  catalogs["mingpt"] = catalogs["gpt2"]
  return catalogs
}()

@c(LLVMFuzzerTestOneInput)
public func fuzzConfig(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  file.fill(UnsafeRawBufferPointer(start: data, count: size))
  for context in [nil, 40] {
    do throws(ImportError) {
      let config = try ConfigurationReader(file.path, context: context)
      let type = config.peek("model_type")?.text ?? ""
      guard let catalog = catalogs[type] ?? catalogs["llama"] else { fatalError("no catalog") }
      readAll(try DecoderFolder.source(config, catalog))
    } catch {
      guard !error.description.isEmpty else { fatalError("an error without a text") }
    }
  }
  return 0
}

/// Starts from the recorded configurations; values become other values, or libFuzzer's choice.
@c(LLVMFuzzerCustomMutator)
public func mutateConfig(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var text = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 64 || random.chance(16) { text = random.element(FuzzModel.all).config }
  if random.chance(3) {
    let count = replace(data, most, with: text)
    return libFuzzerMutate(data, count, most)
  }
  return replace(data, most, with: mutateJSON(text, &random))
}
