#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares resampling with Pillow 11.3 (newer ones begin with the columns for some sizes): by filter the share of
equal pixels and the largest difference. Box differs where the end of a box is the middle of a pixel:
Pillow's rounding of doubles then takes or leaves the pixel. Not a part of make_vectors.py."""

import numpy as np
from PIL import Image as Pillow

from curta_records import Image, STRETCH
from curta_resample import resized

R = np.random.default_rng(20261123)
FILTERS = {1: Pillow.Resampling.BOX, 2: Pillow.Resampling.BILINEAR, 3: Pillow.Resampling.BICUBIC}


def noise(h, w):
    """Unrelated pixels."""
    return R.integers(0, 256, (h, w, 3))


def waves(h, w):
    """Smooth waves with a little noise."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [127 + 100 * np.sin(x / R.uniform(2, 30) + y / R.uniform(2, 30)) for _ in range(3)]
    return np.clip(np.round(np.stack(planes, -1) + R.normal(0, 15, (h, w, 3))), 0, 255)


def sizes(count):
    """Pairs of sizes: (h, w, H, W)."""
    yield from ((1, 1, 50, 60), (300, 400, 1, 1), (224, 224, 224, 224), (256, 341, 224, 224))
    for _ in range(count):
        yield (*(int(v) for v in R.integers(1, 400, 2)), *(int(v) for v in R.integers(1, 300, 2)))


def main():
    """One line for each filter and kind of image."""
    for number, pillow in FILTERS.items():
        for make in (noise, waves):
            equal, far, total, most = 0, 0, 0, 0
            for h, w, H, W in sizes(60):
                pixels = make(h, w).astype(np.uint8)
                want = np.asarray(Pillow.fromarray(pixels).resize((W, H), pillow)).astype(int)
                off = np.abs(resized(pixels, Image(H, W, 3, H, W, STRETCH, 0, number)) - want)
                equal, far = equal + np.sum(off == 0), far + np.sum(off > 1)
                total, most = total + off.size, max(most, int(off.max()))
            print(f"{pillow.name:9} {make.__name__:6} equal {100 * equal / total:.3f} %, off by more "
                  f"than 1 {100 * far / total:.4f} %, largest difference {most}")


if __name__ == "__main__":
    main()
