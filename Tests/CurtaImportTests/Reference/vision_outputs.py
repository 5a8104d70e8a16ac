#!/usr/bin/env python3
"""What `transformers` computes with a real checkpoint, and pixels of real pictures.

    vision_outputs.py vit FOLDER TAR OUT         logits of a ViTForImageClassification folder
    vision_outputs.py drawn FOLDER PICTURES OUT  the same of the pictures PICTURES/*/drawn.png
    vision_outputs.py dinov2 WEIGHTS TAR OUT     features of a DINOv2 ViT-S/14 of 16 x 16 patches
    vision_outputs.py pixels TAR COUNT OUT       pictures of every class of a CIFAR-10 tar, raw

`vit`, `drawn` and `dinov2` write what make_vision.py calls expected.bin; vision-drawn/expected.bin is
`drawn` of Examples/models/vit-cifar10 and Examples/pictures. `pixels` writes for each picture one
byte with its class and then its pixels. The pictures come from the tar of JPEGs as they are, or for
`dinov2` with their shorter edge at 256 and the centre of 224.
SPDX-License-Identifier: Apache-2.0
"""

import glob
import io
import os
import struct
import sys
import tarfile
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def pictures(tar, count):
    """The first pictures of every folder in turn, as (folder, RGB image)."""
    with tarfile.open(tar) as archive:
        folders = {}
        for member in archive.getmembers():
            if member.isfile() and member.name.lower().endswith((".jpg", ".jpeg")):
                folders.setdefault(os.path.dirname(member.name), []).append(member)
        for members in folders.values():
            members.sort(key=lambda member: member.name)
        rounds = [members[i] for i in range(max(map(len, folders.values())))
                  for members in folders.values() if i < len(members)]
        for member in rounds[:count]:
            data = archive.extractfile(member).read()
            yield (os.path.basename(os.path.dirname(member.name)),
                   Image.open(io.BytesIO(data)).convert("RGB"))


def write(path, pixels, outputs):
    pixels = np.stack(pixels)
    with open(path, "wb") as out:
        out.write(struct.pack("<5I", *pixels.shape, outputs.shape[1]))
        out.write(pixels.astype(np.uint8).tobytes())
        out.write(outputs.astype("<f4").tobytes())


def normalized(pixels, mean, std):
    import torch
    x = (np.stack(pixels).astype(np.float64) / 255 - mean) / std
    return torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))


def vit(folder, tar, path):
    logits(folder, [np.asarray(image) for _, image in pictures(tar, 10)], path)


def drawn(folder, pictures_folder, path):
    files = sorted(glob.glob(os.path.join(pictures_folder, "*", "drawn.png")))
    logits(folder, [np.asarray(Image.open(file).convert("RGB").resize((32, 32), Image.BILINEAR))
                    for file in files], path)


def logits(folder, pixels, path):
    import torch
    import transformers as hf
    model = hf.ViTForImageClassification.from_pretrained(folder).float().eval()
    with torch.no_grad():
        write(path, pixels, model(normalized(pixels, 0.5, 0.5)).logits.numpy())


def dinov2(weights, tar, path):
    import torch
    import transformers as hf
    from safetensors.torch import load_file, save_file
    state = {key: value.float() for key, value in load_file(weights).items()}
    state["embeddings.position_embeddings"] = state.pop("embeddings.position_embeddings_16x16")
    state["embeddings.mask_token"] = torch.zeros(1, 384)
    with tempfile.TemporaryDirectory() as folder:
        hf.Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6,
                        image_size=224, patch_size=14).save_pretrained(folder)
        save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        model, report = hf.Dinov2Model.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    pixels = []
    for _, image in pictures(tar, 2):
        scale = 256 / min(image.size)
        image = image.resize([max(224, round(edge * scale)) for edge in image.size], Image.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pixels.append(np.asarray(image.crop((left, top, left + 224, top + 224))))
    x = normalized(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        write(path, pixels, model.eval()(x).last_hidden_state[:, 0].numpy())


def raw(tar, count, path):
    with open(path, "wb") as out:
        for name, image in pictures(tar, int(count)):
            out.write(bytes([CLASSES.index(name)]))
            out.write(np.asarray(image).tobytes())


if __name__ == "__main__":
    dict(vit=vit, drawn=drawn, dinov2=dinov2, pixels=raw)[sys.argv[1]](*sys.argv[2:])
