// The names that training programs give the parameters of a vision transformer.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// One program's names, and what its models have in common.
struct VisionNaming: Sendable {
  /// What to call it in messages.
  var name: String
  /// Names that say a checkpoint is of this kind, behind any of the prefixes.
  var marks: [String]
  var prefixes = [""]
  /// The names, from the prefix and from what is there.
  var names: @Sendable (String, (String) -> Bool) -> VisionNames
  /// Elements of a head where nobody says how many heads there are; nil: somebody must.
  var headWidth: Int?
  /// nil: somebody must say it.
  var activation: DecoderActivation? = .geluErf
  var normEpsilon = 1e-6
  /// nil: somebody must say it.
  var normsBehind: Bool? = false
  var interpolation = VisionInterpolation.bicubic

  static let all: [VisionNaming] = [
    huggingFaceViT, dinov2, clip, timm, vitPytorch, torchEncoder, torchvision,
  ]

  /// The naming of the tensors that are there, and their prefix; nil: none of them.
  static func find(_ has: (String) -> Bool) -> (naming: VisionNaming, prefix: String)? {
    for naming in all {
      for prefix in naming.prefixes where naming.marks.allSatisfy({ has(prefix + $0) }) {
        return (naming, prefix)
      }
    }
    return nil
  }

  // MARK: - Hugging Face

  /// ViT, DeiT.
  static let huggingFaceViT = VisionNaming(
    name: "ViT",
    marks: [
      "embeddings.patch_embeddings.projection.weight",
      "encoder.layer.0.attention.attention.query.weight",
      "encoder.layer.0.layernorm_before.weight",
    ],
    prefixes: ["vit.", "deit.", ""],
    names: { prefix, has in
      var tokens = ["embeddings.cls_token"]
      if has(prefix + "embeddings.distillation_token") {
        tokens.append("embeddings.distillation_token")
      }
      return VisionNames(
        prefix: prefix, tokens: tokens, positions: "embeddings.position_embeddings",
        projection: "embeddings.patch_embeddings.projection", layers: "encoder.layer.",
        layer: VisionLayerNames(
          attentionNorm: "layernorm_before", query: "attention.attention.query",
          key: "attention.attention.key", value: "attention.attention.value",
          output: "attention.output.dense", feedForwardNorm: "layernorm_after",
          up: "intermediate.dense", down: "output.dense"),
        finalNorm: "layernorm", head: has("classifier.weight") ? "classifier" : nil,
        ignored: {
          $0 == prefix + "embeddings.mask_token" || $0.hasPrefix(prefix + "pooler.")
        })
    }, headWidth: 64, normEpsilon: 1e-12)

  static let dinov2 = VisionNaming(
    name: "DINOv2",
    marks: [
      "embeddings.patch_embeddings.projection.weight",
      "encoder.layer.0.attention.attention.query.weight", "encoder.layer.0.norm1.weight",
    ],
    prefixes: ["dinov2.", "dinov2_with_registers.", ""],
    names: { prefix, has in
      let hasRegisters = has(prefix + "embeddings.register_tokens")
      let isGated = has(prefix + "encoder.layer.0.mlp.weights_in.weight")
      let isScaled = has(prefix + "encoder.layer.0.layer_scale1.lambda1")
      // A table that was interpolated before has another name.
      let positions = [
        "embeddings.position_embeddings", "embeddings.position_embeddings_16x16",
      ].first { has(prefix + $0) }
      return VisionNames(
        prefix: prefix,
        tokens: ["embeddings.cls_token"] + (hasRegisters ? ["embeddings.register_tokens"] : []),
        positions: positions ?? "embeddings.position_embeddings",
        projection: "embeddings.patch_embeddings.projection", layers: "encoder.layer.",
        layer: VisionLayerNames(
          attentionNorm: "norm1", query: "attention.attention.query",
          key: "attention.attention.key", value: "attention.attention.value",
          output: "attention.output.dense", feedForwardNorm: "norm2",
          gate: isGated ? VisionModule("mlp.weights_in").part(0, of: 2) : nil,
          up: isGated ? VisionModule("mlp.weights_in").part(1, of: 2) : "mlp.fc1",
          down: isGated ? "mlp.weights_out" : "mlp.fc2",
          outputScale: isScaled ? "layer_scale1.lambda1" : nil,
          downScale: isScaled ? "layer_scale2.lambda1" : nil),
        finalNorm: "layernorm", head: has("classifier.weight") ? "classifier" : nil,
        ignored: { $0 == prefix + "embeddings.mask_token" })
    }, headWidth: 64)

  /// The image tower.
  static let clip = VisionNaming(
    name: "CLIP",
    marks: ["embeddings.class_embedding", "pre_layrnorm.weight"], prefixes: ["vision_model.", ""],
    names: { prefix, has in
      VisionNames(
        prefix: prefix, tokens: ["embeddings.class_embedding"],
        positions: "embeddings.position_embedding.weight",
        projection: "embeddings.patch_embedding", layers: "encoder.layers.",
        layer: VisionLayerNames(
          attentionNorm: "layer_norm1", query: "self_attn.q_proj", key: "self_attn.k_proj",
          value: "self_attn.v_proj", output: "self_attn.out_proj", feedForwardNorm: "layer_norm2",
          up: "mlp.fc1", down: "mlp.fc2"),
        firstNorm: "pre_layrnorm", finalNorm: "post_layernorm",
        head: has("visual_projection.weight") ? "visual_projection" : nil,
        ignored: {
          $0.hasPrefix("text_model.") || $0.hasPrefix("text_projection.") || $0 == "logit_scale"
            || $0.hasSuffix("embeddings.position_ids")
        })
    }, headWidth: 64, activation: .quickGelu, normEpsilon: 1e-5)
}
