// What the weights of a vision transformer do not say: config.json, or curta-vision.json.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The constants of a vision transformer that are not in its tensors.
///
/// `curta-vision.json` is a JSON object beside weights of which nobody else says it. Its fields are
/// those of a Hugging Face config.json and preprocessor_config.json, in one file, and three more:
///
/// | field | what | where absent |
/// |---|---|---|
/// | `num_attention_heads` | heads | width / 64 for timm, DINOv2, CLIP and ViT; else it must be there |
/// | `hidden_act` | `gelu`, `gelu_pytorch_tanh`, `quick_gelu`, `relu`, `silu` | must be there for torch's encoder; `quick_gelu` for CLIP, else `gelu` |
/// | `layer_norm_eps` | in all norms | 1e-5 for vit-pytorch, torch and CLIP, 1e-12 for ViT, else 1e-6 |
/// | `norm_placement` | `before` or `behind` attention and feed-forward network | must be there for torch's encoder, else `before` |
/// | `score_scale` | what q·k is multiplied by | 1/√(head width) |
/// | `pooling` | `class` or `mean` (of the patches) | `class` where there is such a token |
/// | `image_size` | one number, or height and width | the square grid of the positions |
/// | `patch_size`, `num_channels` | for a projection that is a matrix | square patches, 3 channels or 1 |
/// | `id2label` or `labels` | names of the labels | none |
/// | `image_mean`, `image_std` | of pixels of 0…1 | must be there unless `do_normalize` is false |
/// | `do_resize`, `size`, `do_center_crop`, `crop_size`, `resample`, `rescale_factor` | as in preprocessor_config.json | pictures are stretched, bilinear |
struct VisionConfiguration: Sendable {
  static let fileName = "curta-vision.json"

  var heads: Int?
  var activation: DecoderActivation?
  var normEpsilon: Double?
  var normsBehind: Bool?
  var scoreScale: Double?
  /// true: the mean of the patches; false: the class token; nil: not said.
  var poolsMean: Bool?
  var labels: [String] = []
  var imageSize: VisionPreprocessing.Size?
  var patchSize: VisionPreprocessing.Size?
  var channels: Int?
  /// Stated though the tensors say it too; both must agree.
  var width: Int?
  var feedForwardWidth: Int?
  var layers: Int?

  static let activations: [String: DecoderActivation] = [
    "gelu": .geluErf, "gelu_python": .geluErf, "gelu_new": .geluTanh, "gelu_fast": .geluTanh,
    "gelu_pytorch_tanh": .geluTanh, "quick_gelu": .quickGelu, "relu": .relu, "silu": .silu,
    "swish": .silu,
  ]

  init() {}

  init(_ reader: ConfigurationReader) throws(ImportError) {
    func size(_ field: String, _ limit: Int) throws(ImportError) -> Int? {
      reader.value(field) == nil ? nil : try reader.size(field, limit: limit)
    }
    heads = try size("num_attention_heads", ConfigurationReader.headLimit)
    width = try size("hidden_size", ConfigurationReader.sizeLimit)
    feedForwardWidth = try size("intermediate_size", ConfigurationReader.sizeLimit)
    layers = try size("num_hidden_layers", ConfigurationReader.layerLimit)
    channels = try size("num_channels", ConfigurationReader.sizeLimit)
    imageSize = try reader.imageSize("image_size")
    patchSize = try reader.imageSize("patch_size")
    normEpsilon = try reader.positive("layer_norm_eps")
    scoreScale = try reader.positive("score_scale")
    activation = choice(reader, "hidden_act", Self.activations)
    normsBehind = choice(reader, "norm_placement", ["before": false, "behind": true])
    poolsMean = choice(reader, "pooling", ["class": false, "mean": true])
    labels = try Self.labels(reader)
  }

  /// The meaning of a word; an unknown one is a problem.
  private func choice<T>(_ reader: ConfigurationReader, _ field: String, _ words: [String: T]) -> T?
  {
    guard let value = reader.value(field) else { return nil }
    if let meaning = value.text.flatMap({ words[$0] }) { return meaning }
    let known = words.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
    reader.report(
      "\(reader.fileName): \(reader.named(field)) = \(printableName(value.summary, limit: 64)) "
        + "(supported: \(known))")
    return nil
  }

  /// `labels`, or `id2label` in the order of its numbers; none where they are called LABEL_0 and so
  /// on, as nobody named them.
  private static func labels(_ reader: ConfigurationReader) throws(ImportError) -> [String] {
    var found: [StrictJSON]?
    if let value = reader.value("labels") ?? reader.value("label_names") {
      found = value.array
    } else if let value = reader.value("id2label") {
      guard let map = value.object else {
        throw .bad(.wrongType, file: reader.path, field: "id2label", "must be an object")
      }
      found = (0..<map.count).map { map[String($0)] ?? .null }
    } else {
      return []
    }
    let names = found?.compactMap(\.text) ?? []
    guard let found, names.count == found.count else {
      throw .bad(
        .wrongType, file: reader.path, field: "labels",
        "must be a list of names, or id2label names for 0, 1, 2 and so on")
    }
    let isDefault = names.enumerated().allSatisfy { $1 == "LABEL_\($0)" }
    return isDefault ? [] : names
  }

  /// Throws where a stated number is not that of the tensors.
  func check(
    _ shape: VisionShape, labels outputs: Int?, file: String
  ) throws(ImportError) {
    func same(_ field: String, _ stated: Int?, _ found: Int) throws(ImportError) {
      guard let stated, stated != found else { return }
      throw .bad(
        .contradiction, file: file, field: field, "is \(stated), but the tensors have \(found)",
        advice: "check that the file belongs to these weights")
    }
    try same("hidden_size", width, shape.width)
    try same("intermediate_size", feedForwardWidth, shape.feedForwardWidth)
    try same("num_hidden_layers", layers, shape.layers)
    try same("num_channels", channels, shape.channels)
    try same("patch_size", patchSize?.height, shape.patchHeight)
    try same("patch_size", patchSize?.width, shape.patchWidth)
    if let outputs, !labels.isEmpty { try same("labels", labels.count, outputs) }
  }
}
