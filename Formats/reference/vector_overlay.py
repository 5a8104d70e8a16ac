# SPDX-License-Identifier: Apache-2.0
"""Overlays for test vectors: drawn from a stream of random numbers, as records with their streams."""

import struct

OUTLIER_COLUMNS, SPARSE_RESIDUAL = 2, 3


def pack_entries(rows):
    """(counts, gaps, values) of rows of (column, value), ascending; long gaps are bridged."""
    counts, gaps, values = [], [], []
    for row in rows:
        before, start = -1, len(gaps)
        for column, value in row:
            while column - before > 256:
                gaps.append(255)
                values.append(0)
                before += 256
            gaps.append(column - before - 1)
            values.append(value)
            before = column
        counts.append(len(gaps) - start)
    return counts, gaps, values


def draw_columns(random, columns, count):
    """`count` different columns in order."""
    keys = sorted((random.below(1 << 20), k) for k in range(columns))
    return sorted(k for _, k in keys[:count])


def overlaid(random, rows, columns, overlay):
    """((kind, p, first, A), streams) of an overlay (kind, p, columns or percent of cells, extreme)."""
    kind, p, amount, extreme = overlay

    def value():
        return (-127, 127)[random.below(2)] if extreme else random.between(-127, 127)

    if kind == OUTLIER_COLUMNS:
        chosen = draw_columns(random, columns, amount)
        values = [[value() for _ in chosen] for _ in range(rows)]
        bound = max(sum(map(abs, row)) for row in values) << p
        streams = [struct.pack(f"<{amount}I", *chosen),
                   struct.pack(f"<{rows * amount}b", *sum(values, []))]
        return (kind, p, amount, bound), streams
    cells = [[(k, value()) for k in range(columns) if random.below(100) < amount]
             for _ in range(rows)]
    cells[-1] = [(columns - 1, -127)]
    if rows > 2:
        cells[1] = []
    counts, gaps, values = pack_entries(cells)
    bound = max(sum(abs(v) for _, v in row) for row in cells) << p
    streams = [struct.pack(f"<{rows}H", *counts), bytes(gaps),
               struct.pack(f"<{len(values)}b", *values)]
    return (kind, p, len(gaps), bound), streams
