# SPDX-License-Identifier: Apache-2.0
"""Masks for test vectors: drawn from a stream of random numbers, with the streams that they leave."""

import struct

import vector_writer as w

BLOCKS, PATTERN, COLUMNS = 1, 2, 3


def draw_blocks(random, rows, columns, percent):
    """[strips][blocks] of 0 and 1; where there are three strips the second has no survivor."""
    strips, blocks = -(-rows // 16), -(-columns // 32)
    grid = [[int(random.below(100) < percent) for _ in range(blocks)] for _ in range(strips)]
    if strips > 2:
        grid[1] = [0] * blocks
    if not any(map(any, grid)):
        grid[0][-1] = 1
    return grid


def draw_pattern(random, rows, columns, n, m):
    """[rows][columns] of 0 and 1, n of every m."""
    alive = []
    for _ in range(rows):
        row = []
        for _ in range(columns // m):
            part, left = [], n
            for i in range(m):
                part.append(int(random.below(m - i) < left))
                left -= part[-1]
            row += part
        alive.append(row)
    return alive


def bitmap(bits):
    """Bits as bytes, lowest first."""
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(sum(bit << i for i, bit in enumerate(bits[at:at + 8]))
                 for at in range(0, len(bits), 8))


def masked(random, mask, codes, bits, scales, offsets):
    """(codes, scales, offsets, mask) as streams, and the record's (form, first, second). Scales and
    offsets are lists of rows * groups, or None."""
    form, a, b = mask
    rows, columns = len(codes), len(codes[0])
    blocks = -(-columns // 32)
    if form == BLOCKS:
        grid = draw_blocks(random, rows, columns, a)
        kept = [(n, i) for n in range(rows) for i in range(blocks) if grid[n // 16][i]]
        packed = [codes[n][32 * i:32 * i + 32] for n, i in kept]
        groups = len(scales) // rows if scales else 0
        scales, offsets = ([values[n * groups + i] for n, i in kept] if values else None
                           for values in (scales, offsets))
        raw = bitmap(sum(grid, []))
        record = (form, sum(map(sum, grid)), sum(grid[-1]))
    elif form == PATTERN:
        alive = draw_pattern(random, rows, columns, a, b)
        packed = [[c for c, lives in zip(*pair) if lives] for pair in zip(codes, alive)]
        raw = b"".join(bitmap(row + [0] * (-columns % 32)) for row in alive)
        record = (form, a, b)
    else:
        columns = sorted(random.below(1 << 20) * columns + k for k in range(columns))[:a]
        columns = sorted(k % len(codes[0]) for k in columns)
        packed = [[row[k] for k in columns] for row in codes]
        raw = struct.pack(f"<{a}I", *columns)
        record = (form, a, 0)
    return (w.pack_codes(packed, bits), scales, offsets, raw), record
