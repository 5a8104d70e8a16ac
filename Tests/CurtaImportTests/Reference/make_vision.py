#!/usr/bin/env python3
"""Tiny random vision transformers, with what `transformers`, timm and torchvision compute.

    make_vision.py OUT [NAME ...]

Writes OUT/NAME/{config.json or curta-vision.json, weights, expected.bin}. The weights are random but
fixed by a seed, and are representable in float16, which they are stored in; outputs are of float32.
expected.bin: u32 images, height, width, channels, outputs; u8 pixels; f32[images][outputs].
Models of timm and torchvision are left out where these are not installed.
SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import struct
import sys
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import transformers as hf  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.5, 0.75]
BASE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            image_size=16, patch_size=8)
DINO = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=24,
            patch_size=8)
PREPARED = dict(do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
                image_mean=MEAN, image_std=STD, resample=2)


def square(edge):
    return dict(PREPARED, size=dict(height=edge, width=edge))


def cropped(edge, size):
    return dict(PREPARED, size=dict(shortest_edge=edge), do_center_crop=True, resample=3,
                crop_size=dict(height=size, width=size))


def features(output):
    return output.last_hidden_state[:, 0]


# name: the model, the preparation, image height and width, and which output is meant.
MODELS = {
    "vit": (lambda: hf.ViTForImageClassification(hf.ViTConfig(
        **BASE, id2label={0: "cat", 1: "dog", 2: "fish"}, label2id={"cat": 0, "dog": 1, "fish": 2})),
        square(16), lambda m, x: m(x).logits),
    "vit-features": (lambda: hf.ViTModel(hf.ViTConfig(**dict(BASE, hidden_act="gelu_new"),
                                                      qkv_bias=False)),
                     square(16), lambda m, x: features(m(x))),
    "vit-larger": (lambda: hf.ViTForImageClassification(hf.ViTConfig(**BASE, num_labels=3)),
                   square(40), lambda m, x: m(x, interpolate_pos_encoding=True).logits),
    "deit": (lambda: hf.DeiTForImageClassification(hf.DeiTConfig(**BASE, num_labels=3)),
             dict(PREPARED, size=20, do_center_crop=True, crop_size=16),
             lambda m, x: m(x).logits),
    "dinov2": (lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)), cropped(20, 16),
               lambda m, x: features(m(x))),
    "dinov2-larger": (lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)), cropped(48, 40),
                      lambda m, x: features(m(x))),
    "dinov2-gated": (lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO, use_swiglu_ffn=True)),
                     cropped(30, 24), lambda m, x: features(m(x))),
    "dinov2_with_registers": (lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(
        **DINO, num_register_tokens=3)), cropped(24, 16), lambda m, x: features(m(x))),
    "clip_vision_model": (lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(
        **BASE, projection_dim=8)), cropped(16, 16), lambda m, x: m(x).image_embeds),
    "clip": (lambda: hf.CLIPModel(hf.CLIPConfig(
        vision_config=BASE, projection_dim=8,
        text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=8, vocab_size=16))), cropped(16, 16),
        lambda m, x: m.visual_projection(m.vision_model(x).pooler_output)),
    "clip-classifier": (lambda: hf.CLIPForImageClassification(hf.CLIPConfig(
        vision_config=BASE, projection_dim=8, num_labels=3,
        text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=8, vocab_size=16))), cropped(16, 16),
        lambda m, x: m(x).logits),
}


def randomize(model, name):
    """Random weights that are the same in float16."""
    torch.manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            value = torch.randn(parameter.shape) * 0.3
            if "norm" in key and key.endswith("weight"):
                value += 1
            parameter.copy_(value.half().float())
    return model.eval()


def expect(folder, edge, compute, channels=3, mean=MEAN, std=STD):
    """Random pixels and the outputs of them."""
    pixels = torch.randint(0, 256, (2, edge, edge, channels), dtype=torch.uint8)
    x = (pixels.float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        outputs = compute(x.permute(0, 3, 1, 2).contiguous()).float()
    with open(os.path.join(folder, "expected.bin"), "wb") as out:
        out.write(struct.pack("<5I", 2, edge, edge, channels, outputs.shape[1]))
        out.write(pixels.numpy().tobytes())
        out.write(outputs.contiguous().numpy().astype("<f4").tobytes())


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w") as out:
        json.dump(value, out, indent=1, sort_keys=True)
        out.write("\n")


def edge_of(preparation):
    size = preparation.get("crop_size", preparation["size"])
    return size if isinstance(size, int) else size["height"]


def from_transformers(out, name):
    make, preparation, compute = MODELS[name]
    model = randomize(make(), name)
    folder = os.path.join(out, name)
    os.makedirs(folder)
    model.save_pretrained(folder)
    for key in [k for k in os.listdir(folder) if k not in ("config.json", "model.safetensors")]:
        os.remove(os.path.join(folder, key))
    from safetensors.torch import load_file
    path = os.path.join(folder, "model.safetensors")
    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()},
              path, metadata={"format": "pt"})
    write_json(folder, "preprocessor_config.json", preparation)
    torch.manual_seed(1)
    expect(folder, edge_of(preparation), lambda x: compute(model, x))


# timm: arguments of VisionTransformer, and more of config.json.
TIMM = dict(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=3)
TIMM_MODELS = {
    "timm-vit": (dict(), {}),
    "timm-vit-average": (dict(global_pool="avg"), dict(global_pool="avg")),
    "timm-vit-registers": (dict(reg_tokens=2, no_embed_class=True, init_values=0.1), {}),
    "timm-vit-clip": (dict(pre_norm=True), {}),
}


def from_timm(out, name):
    from timm.models.vision_transformer import VisionTransformer
    changes, fields = TIMM_MODELS[name]
    model = randomize(VisionTransformer(**{**TIMM, **changes}), name)
    folder = os.path.join(out, name)
    os.makedirs(folder)
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    write_json(folder, "config.json", dict(
        architecture="vit_tiny_patch8_16", num_classes=3, num_features=16,
        global_pool=fields.get("global_pool", "token"), model_args=dict(num_heads=2),
        pretrained_cfg=dict(mean=MEAN, std=STD, input_size=[3, 16, 16], interpolation="bicubic",
                            crop_pct=0.9, crop_mode="center")))
    torch.manual_seed(1)
    expect(folder, 16, model)


def from_torchvision(out, name):
    from torchvision.models import VisionTransformer
    model = randomize(VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24,
        num_classes=3), name)
    folder = os.path.join(out, name)
    os.makedirs(folder)
    torch.save({k: v.half() for k, v in model.state_dict().items()},
               os.path.join(folder, "weights.pth"))
    write_json(folder, "curta-vision.json", dict(
        num_attention_heads=2, image_mean=MEAN, image_std=STD))
    torch.manual_seed(1)
    expect(folder, 16, model)


class TorchEncoder(torch.nn.Module):
    """What people write around torch's own encoder."""

    def __init__(self, norm_first):
        super().__init__()
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 16))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, 5, 16))
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(1, 16, 8, 8)
        self.transformer = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(
            16, 4, 24, activation="relu", batch_first=True, norm_first=norm_first), 2,
            enable_nested_tensor=False)
        self.mlp_head = torch.nn.Sequential(torch.nn.LayerNorm(16), torch.nn.Linear(16, 3))

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.mlp_head(self.transformer(x)[:, 0])


def from_torch(out, name):
    model = randomize(TorchEncoder(norm_first=name.endswith("before")), name)
    folder = os.path.join(out, name)
    os.makedirs(folder)
    state = {k: torch.nn.Parameter(v.half()) for k, v in model.state_dict().items()}
    torch.save(dict(epoch=3, loss=0.5, state_dict=state), os.path.join(folder, "weights.pth"))
    write_json(folder, "curta-vision.json", dict(
        num_attention_heads=4, hidden_act="relu", norm_placement=name.split("-")[-1],
        image_mean=[0.1307], image_std=[0.3081], do_resize=False, labels=["a", "b", "c"]))
    torch.manual_seed(1)
    expect(folder, 16, model, 1, [0.1307], [0.3081])


def main():
    out, names = sys.argv[1], sys.argv[2:]
    makers = {name: from_transformers for name in MODELS}
    makers.update({name: from_torch for name in ["torch-behind", "torch-before"]})
    try:
        import timm  # noqa: F401
        makers.update({name: from_timm for name in TIMM_MODELS})
    except (ImportError, RuntimeError) as error:
        print("SKIPPED: timm:", error)
    try:
        import torchvision  # noqa: F401
        makers["torchvision"] = from_torchvision
    except (ImportError, RuntimeError) as error:
        print("SKIPPED: torchvision:", error)
    for name in names or makers:
        makers[name](out, name)


main()
