// Vision transformers of timm's folders, whose config.json has timm's own fields.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension VisionSource {
  func loadTimm(_ config: ConfigurationReader) throws(ImportError) -> VisionCheckpoint {
    let architecture = config.value("architecture")?.text ?? ""
    guard ["vit_", "deit_", "deit3_"].contains(where: { architecture.hasPrefix($0) }) else {
      throw .unsupported([
        "config.json: architecture = \"\(printableName(architecture, limit: 64))\" "
          + "(supported of timm: vit_…, deit_…, deit3_…)"
      ])
    }
    let (naming, names) = try naming()
    guard naming.name == VisionNaming.timm.name else {
      throw .bad(
        .contradiction, file: config.path, field: "architecture",
        "is \"\(printableName(architecture, limit: 64))\", but the tensors have "
          + "\(naming.name) names",
        advice: "check that config.json belongs to these weights")
    }
    var configuration = VisionConfiguration()
    configuration.labels = (config.value("label_names")?.array ?? []).compactMap(\.text)
    if architecture.contains("quickgelu") { configuration.activation = .quickGelu }
    if let arguments = try config.object("model_args") {
      if arguments.value("num_heads") != nil {
        configuration.heads = try arguments.size(
          "num_heads", limit: ConfigurationReader.headLimit)
      }
      configuration.imageSize = try arguments.imageSize("img_size")
      let neutral: Set<String> = [
        "patch_size", "embed_dim", "depth", "mlp_ratio", "num_classes", "in_chans",
        "dynamic_img_size",
        "dynamic_img_pad", "no_embed_class", "reg_tokens", "init_values", "class_token",
        "global_pool", "qkv_bias", "pre_norm", "fc_norm", "img_size", "num_heads", "drop_rate",
        "drop_path_rate", "weight_init", "strict_img_size",
      ]
      for field in arguments.unread where !neutral.contains(field) {
        config.report(
          "config.json: model_args.\(printableName(field, limit: 64)) is not understood")
      }
    }
    switch config.value("global_pool")?.text {
    case "avg": configuration.poolsMean = true
    case "token", "", nil: break
    case .some(let pool):
      config.report(
        "config.json: global_pool = \"\(printableName(pool, limit: 64))\" "
          + "(supported: \"token\", \"avg\")")
    }
    if catalog.has("head_dist.weight"), !options.features {
      config.report(
        "head, head_dist: the mean of two heads of two tokens (supported: one head)")
    }
    guard let pretrained = try config.object("pretrained_cfg") else {
      throw .bad(
        .missingField, file: config.path, field: "pretrained_cfg", "is missing",
        advice: "give a \(VisionConfiguration.fileName) with image_mean and image_std")
    }
    let assembly = VisionAssembly(
      catalog: catalog, naming: naming, names: names, configuration: configuration,
      file: config.path,
      preprocessing: { (channels) throws(ImportError) in
        try VisionPreprocessing(timm: pretrained, channels: channels)
      }, options: options, ignoresHead: { $0.hasPrefix("head_dist.") })
    return try load(assembly, [config, pretrained])
  }
}

extension VisionPreprocessing {
  /// The fields of timm's `pretrained_cfg`.
  init(timm reader: ConfigurationReader, channels: Int) throws(ImportError) {
    func numbers(
      _ field: String, _ range: ClosedRange<Double>
    ) throws(ImportError) -> [Double] {
      let list = reader.value(field)?.array?.compactMap(\.double).filter(range.contains) ?? []
      guard list.count == channels else {
        throw .bad(
          .outOfRange, file: reader.path, field: reader.named(field),
          "is not a list of \(channels) numbers, one for each channel")
      }
      return list
    }
    mean = try numbers("mean", -1e6...1e6)
    deviation = try numbers("std", 1e-6...1e6)
    let name = reader.value("interpolation")?.text ?? "bicubic"
    let found = ImageFilter(rawValue: name)
    if found == nil {
      reader.report(
        "config.json: interpolation = \"\(printableName(name, limit: 64))\" "
          + "(supported: \"bilinear\", \"bicubic\", \"box\")")
    }
    filter = found ?? .bicubic
    let sizes = (reader.value("input_size")?.array ?? []).compactMap(\.integer)
    guard sizes.count == 3, sizes.allSatisfy({ $0 > 0 && $0 <= VisionLimit.imageEdge }) else {
      throw .bad(
        .outOfRange, file: reader.path, field: reader.named("input_size"),
        "is not [channels, height, width]")
    }
    size = Size(height: sizes[1], width: sizes[2])
    let part = try reader.number("crop_pct", in: 0.01...1) ?? 0.875
    let mode = reader.value("crop_mode")?.text ?? "center"
    switch mode {
    case "squash" where part == 1: resize = .stretch
    case "center" where sizes[1] == sizes[2]:
      resize = .crop(edge: Int((Double(sizes[1]) / part).rounded(.down)))
    default:
      reader.report(
        "config.json: crop_mode = \"\(printableName(mode, limit: 64))\", crop_pct = \(part), "
          + "\(sizes[1]) × \(sizes[2]) (supported: \"center\" of squares, \"squash\" with 1)")
    }
  }
}
