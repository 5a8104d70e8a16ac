// A tiny random Llama, its Hugging Face folder, and what numpy makes of that folder.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

/// A small deterministic generator, so that a failure repeats.
struct Xorshift {
  var state: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// Uniform in ±range.
  mutating func next(_ range: Float) -> Float {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return (Float(state >> 40) / Float(1 << 23) - 1) * range
  }
}

enum TinyLlama {
  static let ropeBase = 5000.0

  static func weights(pairing: RopePairing, tied: Bool, keyValueHeads: Int) -> DecoderWeights {
    let d = DecoderDescription(
      vocabularySize: 37, width: 24, feedForwardWidth: 20, layers: 3, queryHeads: 6,
      keyValueHeads: keyValueHeads, headWidth: 8, contextLength: 64, normEpsilon: 1e-5,
      parts: tied ? [.gate, .tiedHead] : [.gate],
      rotary: [RotaryTable(base: ropeBase, width: 8, pairing: pairing)])
    var random = Xorshift()
    func matrix(_ rows: Int, _ columns: Int) -> Matrix {
      Matrix(
        rows: rows, columns: columns,
        values: (0..<rows * columns).map { _ in random.next(0.5) })
    }
    func linear(_ rows: Int, _ columns: Int) -> LinearLayer { LinearLayer(matrix(rows, columns)) }
    func gain() -> NormLayer { NormLayer((0..<d.width).map { _ in 1 + random.next(0.3) }) }
    let embedding = matrix(d.vocabularySize, d.width)
    let layers = (0..<d.layers).map { _ in
      DecoderLayer(
        attentionNorm: gain(), query: linear(d.queryWidth, d.width),
        key: linear(d.keyValueWidth, d.width), value: linear(d.keyValueWidth, d.width),
        output: linear(d.width, d.queryWidth), feedForwardNorm: gain(),
        gate: linear(d.feedForwardWidth, d.width), up: linear(d.feedForwardWidth, d.width),
        down: linear(d.width, d.feedForwardWidth))
    }
    return DecoderWeights(
      description: d,
      ends: DecoderEnds(
        embedding: embedding, finalNorm: gain(),
        head: tied ? nil : matrix(d.vocabularySize, d.width)),
      layers: layers)
  }

  /// Writes config.json and model.safetensors.
  static func write(_ weights: DecoderWeights, to folder: URL) throws {
    let d = weights.description
    let config: [String: Any] = [
      "num_attention_heads": d.queryHeads, "num_key_value_heads": d.keyValueHeads,
      "head_dim": d.headWidth, "hidden_size": d.width, "rms_norm_eps": Double(d.normEpsilon),
      "rope_theta": ropeBase, "tie_word_embeddings": d.tiedHead,
      "num_hidden_layers": d.layers, "curta_pairing": d.rotary[0].pairing.rawValue,
    ]
    try JSONSerialization.data(withJSONObject: config)
      .write(to: folder.appendingPathComponent("config.json"))

    var header: [String: Any] = [:]
    var data = Data()
    func add(_ name: String, _ shape: [Int], _ values: [Float]) {
      let start = data.count
      values.withUnsafeBytes { data.append(contentsOf: $0) }
      header[name] = ["dtype": "F32", "shape": shape, "data_offsets": [start, data.count]]
    }
    func add(_ name: String, _ m: Matrix) { add(name, [m.rows, m.columns], m.values) }
    func add(_ name: String, _ layer: LinearLayer) { add(name, layer.weight) }
    func add(_ name: String, _ norm: NormLayer) { add(name, [d.width], norm.weight) }
    add("model.embed_tokens.weight", weights.ends.embedding)
    for (index, layer) in weights.layers.enumerated() {
      let prefix = "model.layers.\(index)."
      add(prefix + "input_layernorm.weight", layer.attentionNorm)
      add(prefix + "self_attn.q_proj.weight", layer.query)
      add(prefix + "self_attn.k_proj.weight", layer.key)
      add(prefix + "self_attn.v_proj.weight", layer.value)
      add(prefix + "self_attn.o_proj.weight", layer.output)
      add(prefix + "post_attention_layernorm.weight", layer.feedForwardNorm!)
      add(prefix + "mlp.gate_proj.weight", layer.gate!)
      add(prefix + "mlp.up_proj.weight", layer.up)
      add(prefix + "mlp.down_proj.weight", layer.down)
    }
    add("model.norm.weight", weights.ends.finalNorm)
    if let head = weights.ends.head { add("lm_head.weight", head) }
    let json = try JSONSerialization.data(withJSONObject: header)
    var file = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Data($0) }
    file.append(json)
    file.append(data)
    try file.write(to: folder.appendingPathComponent("model.safetensors"))
  }
}

/// Logits by Reference/decoder.py, float64 [tokens][vocabulary].
func numpyLogits(model: String, tokens: [Int32], scratch: URL) throws -> [Double] {
  let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reference/decoder.py").path
  let out = scratch.appendingPathComponent("logits.f64")
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = ["python3", script, model, out.path] + tokens.map(String.init)
  try process.run()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw CocoaError(.fileReadUnknown) }
  let data = try Data(contentsOf: out)
  return data.withUnsafeBytes { Array($0.bindMemory(to: Double.self)) }
}

/// Calls `body` with a new folder that goes away afterwards.
func withScratch<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("curta-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
