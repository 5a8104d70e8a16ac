// Vision transformers of Hugging Face folders, by their config.json.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation

extension VisionSource {
  /// The `model_type`s that are read, and the names of their tensors.
  private static let types: [String: VisionNaming] = [
    "vit": .huggingFaceViT, "deit": .huggingFaceViT, "dinov2": .dinov2,
    "dinov2_with_registers": .dinov2, "clip_vision_model": .clip, "clip": .clip,
  ]

  /// Others that are vision models, so that they are refused as such.
  private static let otherTypes: Set<String> = [
    "swin", "swinv2", "beit", "data2vec-vision", "convnext", "convnextv2", "resnet", "siglip",
    "siglip_vision_model", "siglip2", "siglip2_vision_model", "dinov3_vit", "vit_mae", "vit_msn",
    "vit_hybrid", "mobilevit", "mobilevitv2", "mobilenet_v1", "mobilenet_v2", "efficientnet",
    "levit", "pvt", "pvt_v2", "poolformer", "regnet", "cvt", "segformer", "yolos", "ijepa",
    "timm_wrapper", "hiera", "swin2sr", "maxvit",
  ]

  /// Whether a model_type, an architecture of transformers or one of timm is a vision model's.
  static func isVisionName(_ name: String) -> Bool {
    types[name] != nil || otherTypes.contains(name) || name.hasSuffix("ForImageClassification")
      || ["vit_", "deit_", "deit3_", "swin_", "swinv2_"].contains { name.hasPrefix($0) }
  }

  func loadHuggingFace(_ outer: ConfigurationReader) throws(ImportError) -> VisionCheckpoint {
    let type = outer.value("model_type")?.text ?? ""
    guard let expected = Self.types[type] else {
      let known = Self.types.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
      throw .unsupported([
        "config.json: model_type = \"\(printableName(type, limit: 64))\" (supported: \(known))"
      ])
    }
    guard let config = type == "clip" ? try outer.part("vision_config") : outer else {
      throw .bad(.missingField, file: outer.path, field: "vision_config", "is missing")
    }
    var (naming, names) = try naming()
    guard naming.name == expected.name else {
      throw .bad(
        .contradiction, file: outer.path, field: "model_type",
        "is \"\(type)\", but the tensors have \(naming.name) names",
        advice: "check that config.json belongs to these weights")
    }
    let architectures = (outer.value("architectures")?.array ?? []).compactMap(\.text)
    if names.head == nil, !options.features, !catalog.has("classifier.weight"),
      architectures.contains(where: { $0.hasSuffix("ForImageClassification") })
    {
      throw .bad(
        .missingTensor, file: catalog.place, field: "classifier.weight",
        "is not there, but config.json says \(printableName(architectures[0], limit: 64))",
        advice: "check that config.json belongs to these weights")
    }
    var configuration = try VisionConfiguration(config)
    // What transformers takes where the field is absent.
    if configuration.heads == nil { configuration.heads = 12 }
    if type == "dinov2_with_registers" { naming.interpolation = .bicubicAntialiased }
    if naming.name == VisionNaming.clip.name, catalog.has("classifier.weight") {
      // CLIPForImageClassification: the mean of the patches, without a norm.
      let (ignored, norm) = (names.ignored, names.prefix + "post_layernorm.")
      names.head = "classifier"
      names.finalNorm = nil
      names.ignored = { ignored($0) || $0.hasPrefix(norm) }
      configuration.poolsMean = true
    }
    let preparation = try preparation(absentTo: outer)
    config.reportUnread()
    refuseHeads(naming, architectures, config)
    if let head = names.head, naming.name == VisionNaming.dinov2.name, !options.features {
      config.report(
        "\(head.weight): a head over the class token and the mean of the patches "
          + "(supported: features alone)")
    }
    let absentFilter = type == "vit" ? ImageFilter.bilinear : .bicubic
    let assembly = VisionAssembly(
      catalog: catalog, naming: naming, names: names, configuration: configuration,
      file: outer.path,
      preprocessing: { (channels) throws(ImportError) in
        try VisionPreprocessing(
          preparation, channels: channels, absentFilter: absentFilter)
      }, options: options, givesFeatures: names.head == "visual_projection",
      ignoresHead: { $0.hasPrefix("cls_classifier.") || $0.hasPrefix("distillation_classifier.") })
    var notes: [String] = []
    if catalog.has(names.prefix + "pooler.dense.weight"), names.head == nil {
      notes.append("the pooler is left out: features are the class token behind the last norm")
    }
    return try load(
      assembly, config === outer ? [outer, preparation] : [outer, config, preparation],
      notes: notes)
  }

  /// preprocessor_config.json, which must be there.
  private func preparation(absentTo config: ConfigurationReader) throws(ImportError)
    -> ConfigurationReader
  {
    let path = folder + "/preprocessor_config.json"
    guard FileManager.default.fileExists(atPath: path) else {
      throw .unreadable(
        file: path,
        reason: "no such file; it says how images become pixels (image_mean, image_std, size), "
          + "as \(VisionConfiguration.fileName) may, which then stands for config.json too")
    }
    return try ConfigurationReader(path)
  }

  /// Reports heads that cannot be had.
  private func refuseHeads(
    _ naming: VisionNaming, _ architectures: [String], _ config: ConfigurationReader
  ) {
    if catalog.has("cls_classifier.weight"), !options.features {
      config.report(
        "cls_classifier, distillation_classifier: the mean of two heads of two tokens "
          + "(supported: one head, or features alone)")
    }
    for name in architectures
    where name.contains("MaskedImageModeling") || name.contains("Segmentation")
      || name.contains("Detection") || name.contains("DepthEstimation")
    {
      config.report(
        "config.json: architectures = \(printableName(name, limit: 64)) "
          + "(supported: image classification, features)")
    }
  }
}
