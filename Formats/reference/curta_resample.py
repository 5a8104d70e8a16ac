# SPDX-License-Identifier: Apache-2.0
"""Resampling of curta-arithmetic.md section 5 on arrays of pixels, and the pixels of the vectors."""

import numpy as np

from curta_records import BICUBIC, BILINEAR, BOX, CROP, NO_RESIZE
from curta_sampling import Random

U = 1 << 16


def weight(distance, full, kind):
    """The weight of a pixel at distance / full times the filter's unit, both integers."""
    if kind == BOX:
        return int(-full < 2 * distance <= full)
    T = (2 * U * abs(distance) + full) // (2 * full)
    if kind == BILINEAR:
        return max(0, U - T)
    if T < U:
        return 3 * T ** 3 - 5 * T ** 2 * U + 2 * U ** 3
    return -T ** 3 + 5 * T ** 2 * U - 8 * T * U ** 2 + 4 * U ** 3 if T < 2 * U else 0


def coefficients(n, N, i, kind):
    """For pixel i of N: the first pixel of n that counts, and the coefficients from there on."""
    unit = max(n, N)                       # r in units of 1 / N
    x = (2 * i + 1) * n                    # x in units of 1 / (2 N), as the reach and N for 1/2
    reach = {BOX: 1, BILINEAR: 2, BICUBIC: 4}[kind] * unit
    first, end = max(0, (x - reach + N) // (2 * N)), min(n, (x + reach + N) // (2 * N))
    w = [weight((2 * j + 1) * N - x, 2 * unit, kind) for j in range(first, end)]
    s = sum(w)
    assert s > 0
    return first, np.array([((v << 23) + s) // (2 * s) for v in w], np.int64)


def resample_lines(pixels, N, kind, start=0, count=None):
    """Lines along the first axis to N pixels each, of which `count` from `start` on are wanted."""
    out = []
    for i in range(start, start + (N if count is None else count)):
        first, c = coefficients(len(pixels), N, i, kind)
        total = np.tensordot(c, pixels[first:first + len(c)], 1)
        assert np.max(np.abs(total), initial=0) + (1 << 21) < 1 << 31
        out.append(np.clip((total + (1 << 21)) >> 22, 0, 255))
    return np.stack(out)


def resized(pixels, image):
    """Pixels [h][w][channels] as the image record wants them."""
    pixels = np.asarray(pixels, np.int64)
    h, w = pixels.shape[:2]
    if image.resize == NO_RESIZE:
        return pixels
    H, W, top, left = image.height, image.width, 0, 0
    if image.resize == CROP:
        a = min(h, w)
        H, W = (2 * h * image.edge + a) // (2 * a), (2 * w * image.edge + a) // (2 * a)
        top, left = (H - image.height) // 2, (W - image.width) // 2
    rows = resample_lines(pixels.swapaxes(0, 1), W, image.filter, left, image.width)
    return resample_lines(rows.swapaxes(0, 1), H, image.filter, top, image.height)


def pixels_of(seed, height, width, channels):
    """The pixels of a vector: the top byte of each number of section 7's generator."""
    random = Random(seed)
    values = [random.next() >> 56 for _ in range(height * width * channels)]
    return np.array(values, np.int64).reshape(height, width, channels)
