# SPDX-License-Identifier: Apache-2.0
"""The arithmetic vectors of image programs: spread, patchify, prefix, pool and resampling, from
curta_scalar, checked with numpy."""

import numpy as np

import curta_arithmetic as a
from curta_records import CROP, Image, STRETCH
import curta_ops as ops
from curta_resample import resample_lines, resized
import curta_scalar as s
import vector_arithmetic as common
from vector_arithmetic import dividing, row, same, scale, table
from vector_writer import Stream

R = None
I31 = a.I32


def flat(x):
    """Nested lists as one."""
    return [int(value) for value in np.array(x).ravel()]


def spreads():
    """spread.tsv: the op quantize."""
    lines = []
    for number in range(90):
        width = (R.between(1, 12), 16, 64, 256)[number % 4]
        x, (m, e) = [s.clamp32(v) for v in row(width, 1 << R.between(1, 31))], scale()
        if number % 2:  # a fixed row
            m, e = 32768, 15 + R.below(31)
        if number % 8 == 3:
            x = [(I31, -I31)[R.below(2)] for _ in x]
        x = [0] * width if number == 5 else [I31] * width if number == 6 else x
        B = (dividing(width, number), min(256, width & -width))[number // 4 % 2]
        B = B if B > 1 else 0
        q, out = s.spread(x, (m, e), B)
        got = ops.spread(np.array([x]), (np.array([m]), np.array([e])), B)
        same(got[0][0], q)
        same([got[1][0], got[2][0]], out)
        lines.append((x, m, e, B, q, *out))
    return table("x m e hadamard q m_out e_out", lines)


def patches():
    """patchify.tsv."""
    lines = []
    for number in range(24):
        down, across, channels = R.between(1, 4), R.between(1, 4), (1, 3)[number % 2]
        height, width = down * R.between(1, 3), across * R.between(1, 3)
        pixels = [[[(R.below(256), R.below(3), 255 - R.below(3))[R.below(3)] for _ in range(channels)]
                   for _ in range(width)] for _ in range(height)]
        out = s.patchify(pixels, down, across)
        image = Image(height, width, channels, down, across, 0, 0, 0)
        q, m, e = ops.patchify(np.array([pixels, pixels]), image)
        same(q, out + out)
        assert set(m) == {32768} and set(e) == {15}
        lines.append((height, width, channels, down, across, flat(pixels), flat(out)))
    return table("height width channels patch_height patch_width pixels[y][x][c] "
                 "codes[patch][y][x][c]", lines)


class FakeTensor:
    """The fields of a wide tensor that prefix looks at."""

    def __init__(self, codes, mantissas, exponent):
        self.mantissas, self.exponent, self.rows = np.array(mantissas), exponent, len(codes)


class FakeWeight:
    """A weight of wide codes."""

    def __init__(self, codes, mantissas, exponent):
        self.whole, self.tensor = np.array(codes), FakeTensor(codes, mantissas, exponent)


def prefixes():
    """prefix.tsv: one image."""
    lines = []
    for number in range(60):
        width, P, more, F = R.between(1, 8), R.between(1, 3), number % 4, R.below(31)
        limit = 32767 if number % 5 else R.between(1, 32767)
        codes = [[R.between(-limit, limit) for _ in range(width)] for _ in range(more)]
        mantissas = [R.between(1, 65535) for _ in codes]
        exponent = (R.between(F - 20, F + 40), R.between(-64, 64))[number % 3 == 2]
        exponent = max(-64, min(64, exponent)) if more else 0
        z = [[s.clamp32(v) for v in row(width, 1 << R.between(1, 31))] for _ in range(P)]
        scales = [scale() for _ in z]
        if number % 2:  # fixed rows
            scales = [(32768, 15 + R.below(31))] * P
        if number % 9 == 4:
            z = [[(I31, -I31)[R.below(2)] for _ in line] for line in z]
        out = [s.prefix_row([c * m for c in line], exponent, F) for line, m in zip(codes, mantissas)]
        out += [s.bias(line, pair, None, 0, 0, F) for line, pair in zip(z, scales)]
        m, e = (np.array([pair[i] for pair in scales]) for i in (0, 1))
        weight = FakeWeight(codes, mantissas, exponent) if more else None
        same(ops.prefix(np.array(z), m, e, weight, P, F), out)
        lines.append((width, codes and flat(codes), mantissas, exponent, flat(z), flat(scales), F,
                      flat(out)))
    return table("width codes[j][k] mantissas[j] exponent z[patch][k] scales[patch]:m,e fraction "
                 "out[row][k]", lines)


def pools():
    """pool.tsv: one image."""
    lines = []
    for number in range(60):
        rows, width, kind = R.between(1, 9), R.between(1, 6), 1 + number % 2
        first = (0, rows - 1, R.below(rows))[number % 3]
        x = [[s.clamp32(v) for v in row(width, 1 << R.between(1, 31))] for _ in range(rows)]
        if number % 6 == 5:  # sums at a tie
            x = [[R.between(-2, 1) for _ in line] for line in x]
        if number % 10 == 7:
            x = [[(I31, -I31)[number // 10 % 2]] * width for _ in x]
        out = s.pool(x, kind, first)
        same(ops.pool(np.array(x + x), rows, kind, first), [out, out])
        lines.append((rows, width, flat(x), kind, first, out))
    return table("rows width x[row][k] kind first out", lines)


def line_of(n, number):
    """A line of n pixels: noise, only 0 and 255, an edge, or a constant."""
    edge = R.below(n + 1)
    return [[R.below(256) for _ in range(n)], [255 * R.below(2) for _ in range(n)],
            [255 * (i >= edge) for i in range(n)], [R.below(256)] * n][number % 4]


def lines_resampled():
    """resample.tsv."""
    sizes = [(n, N) for n in range(1, 7) for N in range(1, 7)]
    sizes += [(1, 40), (1, 300), (40, 1), (300, 1), (4096, 1), (1000, 3), (3, 1000), (2, 97), (97, 2),
              (16, 16), (10, 20), (20, 10), (17, 64), (64, 17), (97, 96), (96, 97), (8, 255), (255, 8),
              (224, 256), (256, 224), (30, 10), (10, 30), (101, 14), (333, 111)]
    sizes += [(R.between(1, 60), R.between(1, 60)) for _ in range(30)]
    lines = []
    sizes = [(n, N, kind) for n, N in sizes for kind in (1, 2, 3)]
    for number, (n, N, kind) in enumerate(sizes + [(40000, 1, 3)]):  # a sum of weights above 2^64
        p = line_of(n, number) if n < 40000 else [at % 10 for at in range(n)]
        out = s.resample_line(p, N, kind)
        same(resample_lines(np.array(p)[:, None], N, kind)[:, 0], out)
        lines.append((n, N, kind, p, out))
    return table("n N filter pixels out", lines)


def images_resized():
    """resize.tsv: whole images."""
    lines = []
    for number in range(54):
        resize, kind = (STRETCH, CROP)[number % 2], 1 + number // 2 % 3
        channels = (1, 3)[number // 6 % 2]
        height, width = R.between(1, 12), R.between(1, 12)
        edge = max(height, width) + R.below(5) if resize == CROP else 0
        h, w = {0: (1, 1), 1: (1, 9), 2: (9, 1), 3: (height, width),
                4: (R.between(1, 30), R.between(1, 4))}.get(number // 6 % 6,
                                                            (R.between(1, 20), R.between(1, 20)))
        pixels = [[[(R.below(256), 255 * R.below(2))[number // 3 % 2] for _ in range(channels)]
                   for _ in range(w)] for _ in range(h)]
        planes = [[[pixel[c] for pixel in line] for line in pixels] for c in range(channels)]
        planes = [s.crop(plane, height, width, edge, kind) if resize == CROP
                  else s.resample(plane, height, width, kind) for plane in planes]
        out = [[list(pixel) for pixel in zip(*rows)] for rows in zip(*planes)]
        image = Image(height, width, channels, height, width, resize, edge, kind)
        same(resized(pixels, image), out)
        lines.append((height, width, channels, resize, edge, kind, h, w, flat(pixels), flat(out)))
    return table("height width channels resize edge filter h w pixels[y][x][c] out[y][x][c]", lines)


def tables():
    """Every file by name."""
    global R
    common.R = R = Stream(20261124)
    return {"spread": spreads(), "patchify": patches(), "prefix": prefixes(), "pool": pools(),
            "resample": lines_resampled(), "resize": images_resized()}
