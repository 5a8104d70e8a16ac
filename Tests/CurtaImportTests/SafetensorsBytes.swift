// Builds safetensors files byte by byte, sound and hostile, and Llama folders from them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

@testable import CurtaImport

extension Checkpoint {
  /// All weights, read now.
  func weights() throws -> DecoderWeights { try DecoderWeights(source) }
}

/// Calls `body` with a new folder that goes away afterwards.
func withScratch<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("curta-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

/// A file of that header text and data; `length` replaces the true header length.
func safetensorsBytes(_ header: String, _ data: [UInt8], length: UInt64? = nil) -> Data {
  var file = withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { Data($0) }
  file.append(contentsOf: header.utf8)
  file.append(contentsOf: data)
  return file
}

/// One tensor to write.
struct TensorBytes {
  var name: String
  var dataType = "F32"
  var shape: [Int]
  var bytes: [UInt8]

  init(_ name: String, _ shape: [Int], value: Float) {
    self.name = name
    self.shape = shape
    let count = shape.reduce(1, *)
    bytes = (0..<count).flatMap { _ in
      withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
    }
  }
}

func safetensorsBytes(_ tensors: [TensorBytes]) -> Data {
  var members: [String] = []
  var data: [UInt8] = []
  for tensor in tensors {
    let end = data.count + tensor.bytes.count
    members.append(
      "\"\(tensor.name)\":{\"dtype\":\"\(tensor.dataType)\",\"shape\":\(tensor.shape),"
        + "\"data_offsets\":[\(data.count),\(end)]}")
    data += tensor.bytes
  }
  return safetensorsBytes("{" + members.joined(separator: ",") + "}", data)
}

/// A one-layer Llama: width 4, 2 heads of 2, 1 key-value head, feed-forward 6, 5 tokens.
enum FolderBytes {
  static var config: [String: Any] {
    [
      "model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5,
      "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "rope_theta": 500.0,
      "tie_word_embeddings": true, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": [2, 3],
      "rope_scaling": NSNull(), "attention_bias": false,
    ]
  }

  static var tensors: [TensorBytes] {
    let layer = "model.layers.0."
    return [
      TensorBytes("model.embed_tokens.weight", [5, 4], value: 0.5),
      TensorBytes(layer + "input_layernorm.weight", [4], value: 1),
      TensorBytes(layer + "self_attn.q_proj.weight", [4, 4], value: 0.25),
      TensorBytes(layer + "self_attn.k_proj.weight", [2, 4], value: 0.125),
      TensorBytes(layer + "self_attn.v_proj.weight", [2, 4], value: -1),
      TensorBytes(layer + "self_attn.o_proj.weight", [4, 4], value: -2),
      TensorBytes(layer + "post_attention_layernorm.weight", [4], value: 3),
      TensorBytes(layer + "mlp.gate_proj.weight", [6, 4], value: 4),
      TensorBytes(layer + "mlp.up_proj.weight", [6, 4], value: 5),
      TensorBytes(layer + "mlp.down_proj.weight", [4, 6], value: 6),
      TensorBytes("model.norm.weight", [4], value: 7),
    ]
  }

  static func write(
    _ folder: URL, config: [String: Any] = config, tensors: [TensorBytes]? = nil
  ) throws {
    try JSONSerialization.data(withJSONObject: config)
      .write(to: folder.appendingPathComponent("config.json"))
    if let tensors {
      try safetensorsBytes(tensors).write(to: folder.appendingPathComponent("model.safetensors"))
    }
  }
}

/// The reason of the error that `body` throws, nil where it throws none or another kind.
func malformation(_ body: () throws -> Void) -> Malformation? {
  do {
    try body()
  } catch ImportError.malformed(let malformation) {
    return malformation
  } catch {
    return nil
  }
  return nil
}

/// The list of the `unsupported` error that `body` throws.
func unsupportedList(_ body: () throws -> Void) -> [String] {
  do {
    try body()
  } catch ImportError.unsupported(let list) {
    return list
  } catch {
    return []
  }
  return []
}
