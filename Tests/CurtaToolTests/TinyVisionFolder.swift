// A small random vision transformer as a Hugging Face folder.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation

/// A ViT of 16x16 colour images, patches of 4 and three labels.
enum TinyVisionFolder {
  static let labels = ["ant", "bee", "cat fish"]
  private static let (width, inner, layers) = (32, 48, 2)

  /// Writes config.json, preprocessor_config.json and model.safetensors; returns the folder's path.
  static func write(to parent: URL) throws -> String {
    let folder = parent.appendingPathComponent("tiny-vit")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let names = labels.enumerated().map { "\"\($0)\": \"\($1)\"" }.joined(separator: ", ")
    let config = """
      {"architectures": ["ViTForImageClassification"], "model_type": "vit", "image_size": 16,
       "patch_size": 4, "num_channels": 3, "hidden_size": \(width), "num_hidden_layers": \(layers),
       "num_attention_heads": 2, "intermediate_size": \(inner), "qkv_bias": true,
       "hidden_act": "gelu", "layer_norm_eps": 1e-06, "id2label": {\(names)}}
      """
    let processor = """
      {"image_processor_type": "ViTImageProcessor", "do_resize": true,
       "size": {"height": 16, "width": 16}, "resample": 2, "do_rescale": true,
       "rescale_factor": 0.00392156862745098, "do_normalize": true,
       "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
      """
    for (name, text) in [("config", config), ("preprocessor_config", processor)] {
      try Data(text.utf8).write(to: folder.appendingPathComponent(name + ".json"))
    }
    try weights().write(to: folder.appendingPathComponent("model.safetensors"))
    return folder.path
  }

  /// The tensors under the names of `transformers`.
  private static func weights() throws -> Data {
    var tensors: [(name: String, shape: [Int], mean: Float, deviation: Float)] = []
    func linear(_ name: String, _ rows: Int, _ shape: [Int]) {
      let columns = shape.reduce(1, *)
      tensors.append((name + ".weight", [rows] + shape, 0, 1 / Float(columns).squareRoot()))
      tensors.append((name + ".bias", [rows], 0, 0.1))
    }
    func norm(_ name: String) {
      tensors.append((name + ".weight", [width], 1, 0.1))
      tensors.append((name + ".bias", [width], 0, 0.1))
    }
    tensors.append(("vit.embeddings.cls_token", [1, 1, width], 0, 0.3))
    tensors.append(("vit.embeddings.position_embeddings", [1, 17, width], 0, 0.3))
    linear("vit.embeddings.patch_embeddings.projection", width, [3, 4, 4])
    for layer in 0..<layers {
      let prefix = "vit.encoder.layer.\(layer)."
      for part in ["query", "key", "value"] {
        linear(prefix + "attention.attention." + part, width, [width])
      }
      linear(prefix + "attention.output.dense", width, [width])
      linear(prefix + "intermediate.dense", inner, [width])
      linear(prefix + "output.dense", width, [inner])
      norm(prefix + "layernorm_before")
      norm(prefix + "layernorm_after")
    }
    norm("vit.layernorm")
    linear("classifier", labels.count, [width])

    var random = SeededRandom(3)
    var header: [String: Any] = [:]
    var data = Data()
    for tensor in tensors {
      let start = data.count
      for _ in 0..<tensor.shape.reduce(1, *) {
        var sum: Float = -6
        for _ in 0..<12 { sum += Float(random.next() >> 40) * 0x1p-24 }
        let value = tensor.mean + tensor.deviation * sum
        withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
      }
      header[tensor.name] = [
        "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.count],
      ]
    }
    let json = try JSONSerialization.data(withJSONObject: header, options: .sortedKeys)
    var file = Data()
    withUnsafeBytes(of: UInt64(json.count).littleEndian) { file.append(contentsOf: $0) }
    return file + json + data
  }
}
