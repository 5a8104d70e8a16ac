// Names of vision transformers outside of Hugging Face: timm, vit-pytorch, torch and torchvision.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

extension VisionNaming {
  /// timm, DeiT's and DINOv2's own files.
  static let timm = VisionNaming(
    name: "timm's",
    marks: ["patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight"],
    names: { prefix, has in
      let tokens = ["cls_token", "dist_token", "reg_token", "register_tokens"]
      let qkv = VisionModule("attn.qkv")
      let isScaled = has("blocks.0.ls1.gamma")
      let isGated = has("blocks.0.mlp.w12.weight")
      return VisionNames(
        tokens: tokens.filter(has), positions: "pos_embed", projection: "patch_embed.proj",
        layers: "blocks.",
        layer: VisionLayerNames(
          attentionNorm: "norm1", query: qkv.part(0, of: 3), key: qkv.part(1, of: 3),
          value: qkv.part(2, of: 3), output: "attn.proj", feedForwardNorm: "norm2",
          gate: isGated ? VisionModule("mlp.w12").part(0, of: 2) : nil,
          up: isGated ? VisionModule("mlp.w12").part(1, of: 2) : "mlp.fc1",
          down: isGated ? "mlp.w3" : "mlp.fc2",
          outputScale: isScaled ? "ls1.gamma" : nil, downScale: isScaled ? "ls2.gamma" : nil),
        firstNorm: has("norm_pre.weight") ? "norm_pre" : nil,
        finalNorm: ["fc_norm", "norm"].first { has($0 + ".weight") }.map { VisionModule($0) },
        head: has("head.weight") ? "head" : nil,
        ignored: { $0 == "mask_token" })
    }, headWidth: 64, interpolation: .bicubicAntialiased)

  /// lucidrains' vit-pytorch in its first versions.
  static let vitPytorch = VisionNaming(
    name: "vit-pytorch's",
    marks: [
      "patch_to_embedding.weight", "pos_embedding",
      "transformer.layers.0.0.fn.fn.to_qkv.weight",
    ],
    names: { _, has in
      let qkv = VisionModule("0.fn.fn.to_qkv")
      let hasHidden = has("mlp_head.2.weight")
      return VisionNames(
        tokens: ["cls_token"], positions: "pos_embedding", projection: "patch_to_embedding",
        layers: "transformer.layers.",
        layer: VisionLayerNames(
          attentionNorm: "0.fn.norm", query: qkv.part(0, of: 3), key: qkv.part(1, of: 3),
          value: qkv.part(2, of: 3), output: "0.fn.fn.to_out", feedForwardNorm: "1.fn.norm",
          up: "1.fn.fn.net.0", down: "1.fn.fn.net.2"),
        hidden: hasHidden ? "mlp_head.0" : nil, head: hasHidden ? "mlp_head.2" : "mlp_head.0")
    }, normEpsilon: 1e-5)

  /// torch's TransformerEncoder behind a convolution, a norm and a linear layer as its head.
  static let torchEncoder = VisionNaming(
    name: "torch's encoder",
    marks: [
      "patch_embed.proj.weight", "pos_embed", "transformer.layers.0.self_attn.in_proj_weight",
    ],
    names: { _, has in
      let qkv = VisionModule(
        weight: "self_attn.in_proj_weight", bias: "self_attn.in_proj_bias")
      let norm = ["transformer.norm", "norm", "mlp_head.0"].first {
        // A norm's weight is a vector; that of mlp_head.0 is one where mlp_head.1 follows.
        has($0 + ".weight") && ($0 != "mlp_head.0" || has("mlp_head.1.weight"))
      }
      let head = ["mlp_head.1", "mlp_head.0", "mlp_head", "head", "fc"].first {
        has($0 + ".weight")
      }
      return VisionNames(
        tokens: ["cls_token"].filter(has), positions: "pos_embed", projection: "patch_embed.proj",
        layers: "transformer.layers.",
        layer: VisionLayerNames(
          attentionNorm: "norm1", query: qkv.part(0, of: 3), key: qkv.part(1, of: 3),
          value: qkv.part(2, of: 3), output: "self_attn.out_proj", feedForwardNorm: "norm2",
          up: "linear1", down: "linear2"),
        finalNorm: norm.map { VisionModule($0) }, head: head.map { VisionModule($0) })
    }, activation: nil, normEpsilon: 1e-5, normsBehind: nil)

  static let torchvision = VisionNaming(
    name: "torchvision's",
    marks: [
      "conv_proj.weight", "encoder.pos_embedding",
      "encoder.layers.encoder_layer_0.self_attention.in_proj_weight",
    ],
    names: { _, has in
      let qkv = VisionModule(
        weight: "self_attention.in_proj_weight", bias: "self_attention.in_proj_bias")
      let isOld = has("encoder.layers.encoder_layer_0.mlp.linear_1.weight")
      return VisionNames(
        tokens: ["class_token"], positions: "encoder.pos_embedding", projection: "conv_proj",
        layers: "encoder.layers.encoder_layer_",
        layer: VisionLayerNames(
          attentionNorm: "ln_1", query: qkv.part(0, of: 3), key: qkv.part(1, of: 3),
          value: qkv.part(2, of: 3), output: "self_attention.out_proj", feedForwardNorm: "ln_2",
          up: isOld ? "mlp.linear_1" : "mlp.0", down: isOld ? "mlp.linear_2" : "mlp.3"),
        finalNorm: "encoder.ln", head: has("heads.head.weight") ? "heads.head" : nil)
    })
}
