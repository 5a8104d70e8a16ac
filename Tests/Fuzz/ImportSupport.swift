// What the fuzz targets of the importers share: files in memory, seeds, and a mutator of text.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

/// A file without a disk, whose contents change.
final class MemoryFile: @unchecked Sendable {
  private let descriptor: Int32
  let path: String

  init(_ name: String) {
    let shared = "/dev/shm/curta-fuzz-\(getpid())-\(name)"
    descriptor = open(shared, O_RDWR | O_CREAT | O_EXCL, 0o600)
    guard descriptor >= 0 else { fatalError("open \(shared)") }
    unlink(shared)
    path = "/proc/self/fd/\(descriptor)"
  }

  func fill(_ bytes: UnsafeRawBufferPointer) {
    guard ftruncate(descriptor, 0) == 0 else { fatalError("ftruncate") }
    var done = 0
    while done < bytes.count {
      let written = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(done))
      guard written > 0 else { fatalError("pwrite") }
      done += written
    }
  }
}

/// A recorded model of the import tests.
struct FuzzModel {
  let name: String
  let config: [UInt8]
  let weights: [UInt8]

  static let all: [FuzzModel] = {
    let folder = "Tests/CurtaImportTests/Reference/architectures/"
    return [
      "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox",
      "phi", "phi3-longrope", "starcoder2",
    ].map { name in
      guard let config = try? Repository.bytes(folder + name + "/config.json"),
        let weights = try? Repository.bytes(folder + name + "/model.safetensors")
      else { fatalError("no recorded model \(name)") }
      return FuzzModel(name: name, config: config, weights: weights)
    }
  }()
}

/// Reads everything there is. A damaged value is an error; anything else of a wrong shape is not.
func readAll(_ source: DecoderSource) {
  guard source.parameterCount < 1 << 20 else { return }
  guard let weights = try? DecoderWeights(source) else { return }
  guard weights.isConsistent, weights.parameterCount == source.parameterCount else {
    fatalError("weights do not fit their description")
  }
}

/// Changes a JSON text where it hurts: values become other values, members other members.
func mutateJSON(_ text: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
  let values = [
    "0", "1", "-1", "2", "3", "1.5", "1e308", "1e-308", "-0", "true", "false", "null", "[]", "{}",
    "\"\"", "\"llama\"", "\"gelu\"", "16777216", "16777217", "4096", "65536", "65537",
    "9223372036854775807", "9223372036854775808", "[1,2]", "[1.0,1.2]", "{\"rope_type\":\"yarn\"}",
    "\"linear\"", "\"dynamic\"", "\"longrope\"", "\"llama3\"", "\"full_attention\"",
    "[\"sliding_attention\",\"full_attention\"]", "{\"rope_type\":\"linear\",\"factor\":2}",
    "{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":16}", "1e30", "1e-30",
  ].map { Array($0.utf8) }
  var text = text
  for _ in 0...random.below(3) where !text.isEmpty {
    let colons = text.indices.filter { text[$0] == UInt8(ascii: ":") }
    switch random.below(8) {
    case 0:
      text[random.below(text.count)] = UInt8(random.below(256))
    case 1:
      let at = random.below(text.count)
      text.removeSubrange(at..<min(text.count, at + 1 + random.below(24)))
    case 2:
      let at = random.below(text.count)
      text.insert(contentsOf: random.element(values), at: at)
    case 3:
      // A member once more, elsewhere.
      let lines = text.split(separator: UInt8(ascii: ","))
      guard !lines.isEmpty else { continue }
      let line = random.element(lines)
      let at = random.element(colons + [0])
      text.insert(contentsOf: [UInt8(ascii: ",")] + line, at: at)
    default:
      guard !colons.isEmpty else { continue }
      let start = random.element(colons) + 1
      var end = start
      while end < text.count, text[end] != UInt8(ascii: ","), text[end] != UInt8(ascii: "}") {
        end += 1
      }
      text.replaceSubrange(start..<end, with: random.element(values))
    }
  }
  return text
}

/// Writes the bytes over libFuzzer's input, as far as they fit.
func replace(
  _ data: UnsafeMutablePointer<UInt8>, _ most: Int, with bytes: [UInt8]
) -> Int {
  let count = min(bytes.count, most)
  bytes.withUnsafeBytes { if count > 0 { memcpy(data, $0.baseAddress!, count) } }
  return count
}
