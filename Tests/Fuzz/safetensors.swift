// Fuzz target: a safetensors file, and the decoder of a recorded configuration out of it.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

/// A folder in memory would be better; the weights are a link to a file in memory.
private let file = MemoryFile("model.safetensors")
private let folder: String = {
  let path = NSTemporaryDirectory() + "curta-fuzz-\(getpid())"
  do {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: path + "/model.safetensors", withDestinationPath: file.path)
  } catch { fatalError("\(error)") }
  atexit {
    try? FileManager.default.removeItem(atPath: NSTemporaryDirectory() + "curta-fuzz-\(getpid())")
  }
  return path
}()

@c(LLVMFuzzerTestOneInput)
public func fuzzSafetensors(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  file.fill(UnsafeRawBufferPointer(start: data, count: size))
  do throws(ImportError) {
    let files = try SafetensorsFolder(folder)
    var total = 0
    for tensor in files.stored.values {
      guard tensor.offset >= 8, tensor.count >= 0, tensor.offset + tensor.count <= size else {
        fatalError("\(tensor.name) is outside of the file")
      }
      total += tensor.count
    }
    guard total <= size else { fatalError("tensors overlap") }
    let catalog = TensorCatalog(files, place: folder)
    for name in ["llama", "gpt2", "phi3-longrope"] {
      let path =
        Repository.root.path
        + "/Tests/CurtaImportTests/Reference/architectures/\(name)/config.json"
      do throws(ImportError) {
        readAll(try DecoderFolder.source(ConfigurationReader(path), catalog))
      } catch {
        guard !error.description.isEmpty else { fatalError("an error without a text") }
      }
    }
  } catch {
    guard !error.description.isEmpty else { fatalError("an error without a text") }
  }
  return 0
}

/// Changes the header and makes its length right again, or lets libFuzzer choose.
@c(LLVMFuzzerCustomMutator)
public func mutateSafetensors(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 64 || random.chance(16) {
    bytes =
      random.element(FuzzModel.all.filter { ["llama", "gpt2", "phi3-longrope"].contains($0.name) })
      .weights
  }
  if random.chance(4) {
    let count = replace(data, most, with: bytes)
    return libFuzzerMutate(data, count, most)
  }
  let length = bytes.prefix(8).reversed().reduce(0) { ($0 & 0xFF_FFFF) << 8 | Int($1) }
  guard bytes.count > 8, length <= bytes.count - 8 else {
    return replace(data, most, with: bytes)
  }
  let header = mutateJSON(Array(bytes[8..<8 + length]), &random)
  var result = withUnsafeBytes(of: UInt64(header.count).littleEndian) { [UInt8]($0) }
  result += header + bytes[(8 + length)...]
  return replace(data, most, with: result)
}
