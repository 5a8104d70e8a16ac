# SPDX-License-Identifier: Apache-2.0
"""The valid vectors of image programs, and their images."""

import hashlib

from curta_file import read_file
from curta_interpreter import ImageSession
from curta_resample import pixels_of
from vector_image import (BICUBIC, BILINEAR, BOX, CROP, ImageMaker, ImageShape, MEAN, NONE, ROW,
                          STRETCH)
from vector_model import Coding
from vector_valid import EXTREME, LOG2E
from vector_writer import Stream

SHAPES = {
    "vit-grey": ImageShape(seed=61, size=(12, 8, 1), patch=(4, 4), pairing=0, heads=4, kv_heads=4,
                           vocabulary=5, positions=0, codings={"*": Coding(8)}),
    "vit-class": ImageShape(seed=62, size=(16, 16, 3), patch=(8, 8), resize=(CROP, 20, BICUBIC),
                            prefix=2, pool=(ROW, 0), layers=2, norm=2, bias=True, gate=False,
                            activation=3, pairing=0, heads=2, kv_heads=2, vocabulary=10, positions=0,
                            codecs=(2, 0), codings={"*": Coding(8), "gate": Coding(4, 32, 3)}),
    "vit-behind": ImageShape(seed=63, size=(12, 12, 3), patch=(4, 6), resize=(STRETCH, 0, BILINEAR),
                             prefix=1, pool=(MEAN, 1), layers=2, norm=2, bias=True, gate=False,
                             activation=5, behind=True, end="pool", pairing=0, heads=4, kv_heads=4,
                             vocabulary=6, positions=3, spread=16,
                             codings={"*": Coding(8), "positions": Coding(4, 32, 3)}),
    "vit-features": ImageShape(seed=64, size=(8, 12, 3), patch=(8, 4), resize=(CROP, 12, BOX),
                               prefix=1, pool=(ROW, 0), norm=2, bias=True, gate=False, activation=2,
                               end="features", pairing=0, vocabulary=32,
                               codings={"*": Coding(6), "prefix": Coding(0)}),
    "vit-rotary": ImageShape(seed=65, size=(14, 21, 3), patch=(7, 7), resize=(STRETCH, 0, BICUBIC),
                             prefix=5, pool=(MEAN, 5), layers=2, head_norm=True, pairing=1, heads=4,
                             kv_heads=2, hadamard=8, spread=32, ff=96, score_cap=2 * LOG2E,
                             activation=1, end="norm-pool", vocabulary=7, fraction=20,
                             row_fraction=14, codings={"*": Coding(8), "patch": Coding(5)}),
    "vit-patches": ImageShape(seed=66, size=(10, 15, 1), patch=(5, 3), resize=(CROP, 17, BILINEAR),
                              prefix=3, pool=(ROW, 2), bias=True, post_norm=True, pairing=2,
                              patch_rows=True, activation=4, width=36, ff=20, kv_heads=2, phases=5,
                              end="outputs-rows", logit_cap=1 << 16, row_fraction=18,
                              codings={"*": Coding(7)}),
    "vit-coded": ImageShape(seed=70, size=(12, 12, 3), patch=(3, 3), resize=(STRETCH, 0, BILINEAR),
                            prefix=1, pool=(ROW, 0), layers=2, norm=2, bias=True, gate=False,
                            activation=3, pairing=0, heads=4, kv_heads=4, vocabulary=5, spread=32,
                            score_cap=2 * LOG2E, attend_code=(4, 1, 256),
                            codings={"*": Coding(4, 32, 1)}),
    "vit-one": ImageShape(seed=67, size=(4, 4, 1), patch=(4, 4), resize=(STRETCH, 0, BOX),
                          pool=(MEAN, 0), heads=1, kv_heads=1, pairing=0, end="norm-pool",
                          vocabulary=1, eps=0, fraction=8, codings={"*": Coding(8)}),
    "vit-limits": ImageShape(seed=69, size=(4096, 1, 1), patch=(4096, 1), resize=(CROP, 8192, BICUBIC),
                             prefix=64, pool=(ROW, 64), width=8, heads=1, kv_heads=1, ff=8,
                             pairing=0, vocabulary=4, codings={"*": Coding(8), "patch": Coding(2)}),
    "vit-extreme": ImageShape(seed=68, size=(2, 3, 1), patch=(1, 1), prefix=64, pool=(MEAN, 64),
                              norm=2, positions=1, bias=True, head_norm=True, end="norm-pool",
                              patch_rows=True, activation=5, fraction=30, row_fraction=10,
                              eps=1 << 40, bias_exponents=(64, 31, 29), score_cap=1 << 26,
                              logit_cap=1 << 26, attend_scale=(65535, -64),
                              codings={**EXTREME, "prefix": Coding(8, extreme=True, exponent=-64),
                                       "head": Coding(8, 32, 3, True)}),
}


def build(name):
    """The bytes of one valid vector."""
    return ImageMaker(SHAPES[name]).build().build()


def images_for(name):
    """A fixed list of (seed, height, width): the model's size, then, where images are resized, one
    pixel, lines, and sizes below and above."""
    shape, random = SHAPES[name], Stream(177 + SHAPES[name].seed)
    height, width, _ = shape.size
    sizes = [(height, width)] * 5
    if name == "vit-limits":
        sizes = [(4096, 1), (1, 1), (1, 7), (5, 3), (64, 48)]
    elif shape.resize[0] != NONE:
        sizes[1:] = [(1, 1), (1, random.between(2, 9)), (random.between(20, 60), 2),
                     (random.between(2, height), random.between(2, width)),
                     (random.between(30, 90), random.between(30, 90)),
                     (random.between(2, 12), random.between(40, 99))]
    return [(shape.seed * 100 + i, *size) for i, size in enumerate(sizes)]


def rows_hash(data, images, batch):
    """(SHA-256 of the output rows of all images, identity) of a run in steps of `batch` images."""
    model = read_file(data)
    session, digest = ImageSession(model), hashlib.sha256()
    channels = model.program.image.channels
    pixels = [pixels_of(seed, height, width, channels) for seed, height, width in images]
    for at in range(0, len(pixels), batch):
        digest.update(session.step(pixels[at:at + batch]).astype("<i4").tobytes())
    return digest.hexdigest(), f"{model.identity:016x}"
