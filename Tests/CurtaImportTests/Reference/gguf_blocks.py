#!/usr/bin/env python3
# Random and extreme GGUF blocks of every type with the gguf package's float32 values.
# SPDX-License-Identifier: Apache-2.0
"""usage: gguf_blocks.py SEED BLOCKS

Writes to standard output, for each type: u32 type, u32 bytes, u32 floats, the blocks, the values
(float32), all little-endian. Half-precision scales are finite: zeros of both signs, subnormal
numbers, the largest ones, and random ones.
"""
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Byte offsets of the half-precision numbers of a block.
HALVES = {
    T.F16: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.F32: [], T.BF16: [],
}
EXTREMES = np.array(
    [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00], np.uint16)


def blocks_of(kind, count, random):
    size = GGML_QUANT_SIZES[kind][1]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    # All bits clear and all bits set, each with every extreme scale.
    fixed = 2 * len(EXTREMES)
    blocks[:fixed:2] = 0
    blocks[1:fixed:2] = 255
    for place in HALVES[kind]:
        halves = random.integers(0, 1 << 16, count, dtype=np.uint16)
        infinite = halves & 0x7C00 == 0x7C00
        halves[infinite] ^= 0x4000
        extreme = random.random(count) < 0.5
        halves[extreme] = random.choice(EXTREMES, int(extreme.sum()))
        halves[:fixed] = np.repeat(EXTREMES, 2)
        blocks[:, place] = halves & 255
        blocks[:, place + 1] = halves >> 8
    if kind in (T.F32, T.BF16):
        # The two top bytes hold the exponent; keep it off all ones.
        top = blocks[:, -2].astype(np.uint16) | blocks[:, -1].astype(np.uint16) << 8
        top[top & 0x7F80 == 0x7F80] ^= 0x4000
        blocks[:, -2] = top & 255
        blocks[:, -1] = top >> 8
    return blocks


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for kind in HALVES:
        random = np.random.default_rng([seed, int(kind)])
        blocks = blocks_of(kind, count, random)
        values = dequantize(blocks.reshape(1, -1), kind).astype(np.float32).reshape(-1)
        assert np.isfinite(values).all(), kind
        sys.stdout.buffer.write(struct.pack("<III", int(kind), blocks.size, values.size))
        sys.stdout.buffer.write(blocks.tobytes())
        sys.stdout.buffer.write(values.astype("<f4").tobytes())


main()
