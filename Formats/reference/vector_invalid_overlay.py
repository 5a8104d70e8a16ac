# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of outlier columns and sparse residuals: their records and streams."""

import struct

from vector_invalid import both, case, drop, put, replace
from vector_model import GRID, WIDE
from vector_overlay import OUTLIER_COLUMNS, SPARSE_RESIDUAL, pack_entries
import vector_writer as w

ROWS, WIDTH = 5, 300
TENSORS = 1
HEAD, COLUMNS, VALUES, COUNTS, GAPS, ENTRIES = 7, 9, 10, 11, 12, 13  # sections of the head
LIST = [2, 31, 299]
CELLS = [[(2, 5), (299, -1)], [], [(k, 1) for k in range(40)], [(7, -127)], [(0, 3), (256, 4)]]


def mini(overlaid_embed=False):
    """A function that gives a File: embed, norm and a head of ROWS by WIDTH with both overlays."""
    def make():
        r, t, p = w.Stream(95), w.Tensors(), w.Program(8, ROWS)
        codes = [[r.between(-8, 7) for _ in range(WIDTH)] for _ in range(ROWS)]
        t.add("embed", ROWS, WIDTH, GRID,
              [w.pack_codes(codes, 4), struct.pack(f"<{ROWS}H", *[40000] * ROWS)], 4, 0, 0, 18)
        t.add("norm", 1, WIDTH, WIDE, [struct.pack(f"<{WIDTH}h", *[16384] * WIDTH), b"\x00\x80"],
              16, 0, 0, 29)
        columns = struct.pack("<3I", *LIST)
        values = struct.pack(f"<{3 * ROWS}b", *[100, -27, 0] * ROWS)
        counts, gaps, entries = pack_entries(CELLS)
        residual = [struct.pack(f"<{ROWS}H", *counts), bytes(gaps),
                    struct.pack(f"<{len(entries)}b", *entries)]
        t.add("head", ROWS, WIDTH, GRID,
              [w.pack_codes(codes, 4), struct.pack(f"<{ROWS}H", *[50000] * ROWS)], 4, 0, 0, 24,
              overlays=[((OUTLIER_COLUMNS, 2, 3, 127 << 2), [columns, values]),
                        ((SPARSE_RESIDUAL, 3, len(gaps), 127 << 3), residual)])
        x, last = p.buffer(1, 0, WIDTH, 0, fraction=12), p.buffer(1, 1, WIDTH, 1, fraction=12)
        codes8 = p.buffer(3, 1, WIDTH, 2)
        p.output = p.buffer(1, 1, ROWS, 0, fraction=16)
        p.op(1, 2 if overlaid_embed else 0, x)
        p.op(9, x, last)
        p.op(2, last, 1, codes8, 1, 168, 0)
        p.op(10, codes8, 2, p.output)
        f = w.File()
        f.add(1, w.metadata({"name": "overlaid"}))
        f.add(3, t.section())
        f.add(4, p.section())
        for i, stream in enumerate(t.streams):
            f.add(5, stream, index=i)
        return f
    return make


def overlaid(name, status, text, change, **base):
    """A case on the head with both overlays."""
    case(f"overlay-{name}", status, text, change, mini(**base))


def record(number, at, kind, *values):
    """A change of one of the two modifier records."""
    return put(TENSORS, 16 + 64 * 3 + 16 * number + at, kind, *values)


def field(tensor, at, kind, *values):
    """A change of a field of a descriptor."""
    return put(TENSORS, 16 + 64 * tensor + at, kind, *values)


def longer(section, more):
    """A stream with bytes behind it."""
    return lambda f: replace(section, f.sections[section]["stored"] + more)(f)


ENTRY_COUNT = sum(map(len, CELLS)) + 1  # one bridge
overlaid("embed", "bad_program", "a tensor with overlays is the embedding", lambda f: None,
         overlaid_embed=True)
overlaid("of-wide", "bad_tensor", "the overlays belong to the norm weight",
         both(field(1, 40, "I", 2), field(2, 36, "II", 2, 0)))
overlaid("order", "bad_tensor", "the residual before the columns",
         both(record(0, 0, "H", SPARSE_RESIDUAL), record(1, 0, "H", OUTLIER_COLUMNS)))
overlaid("columns-twice", "bad_tensor", "outlier columns twice", record(1, 0, "H", OUTLIER_COLUMNS))
overlaid("residual-twice", "bad_tensor", "two residuals", record(0, 0, "H", SPARSE_RESIDUAL))
overlaid("mask-behind", "bad_tensor", "a mask behind the columns", record(1, 0, "H", 1))
overlaid("data-count", "bad_tensor", "data_count without the last stream", field(2, 32, "I", 6))
overlaid("data", "bad_tensor", "columns whose stream is the mantissas", record(0, 4, "I", 5))
overlaid("data-second", "bad_tensor", "a residual whose stream is the list of columns",
         record(1, 4, "I", 6))
overlaid("data-2e32-1", "bad_tensor", "the largest data index", record(1, 4, "I", 0xFFFFFFFF))
overlaid("stream-absent", "bad_tensor", "no section for the values", drop(-1))

overlaid("columns-step-16", "bad_tensor", "a step of 2^16", record(0, 2, "H", 16))
overlaid("columns-step-65535", "bad_tensor", "the largest step", record(0, 2, "H", 65535))
overlaid("columns-0", "bad_tensor", "no outlier column", record(0, 8, "I", 0))
overlaid("columns-301", "bad_tensor", "more columns than the tensor has", record(0, 8, "I", 301))
overlaid("columns-2e32-1", "bad_tensor", "the largest number of columns",
         record(0, 8, "I", 0xFFFFFFFF))
overlaid("columns-4", "bad_size", "a column more than the list has", record(0, 8, "I", 4))
overlaid("columns-values-long", "bad_size", "a value too many", longer(VALUES, b"\0"))
overlaid("columns-300", "bad_payload", "a column past the last", put(COLUMNS, 8, "I", 300))
overlaid("columns-2e32-1-entry", "bad_payload", "the largest column",
         put(COLUMNS, 8, "I", 0xFFFFFFFF))
overlaid("columns-equal", "bad_payload", "a column twice", put(COLUMNS, 4, "I", 2))
overlaid("columns-descend", "bad_payload", "columns out of order", put(COLUMNS, 0, "2I", 31, 2))
overlaid("columns-value-minus-128", "bad_payload", "a value of -128 that keeps the sums below A",
         put(VALUES, 0, "2b", -128, 0))
overlaid("columns-bound-less", "bad_payload", "A below the sum of a row",
         record(0, 12, "I", (127 << 2) - 1))
overlaid("columns-bound-more", "bad_payload", "A above the sum of every row",
         record(0, 12, "I", (127 << 2) + 4))
overlaid("columns-bound-2e32-1", "bad_payload", "the largest A", record(0, 12, "I", 0xFFFFFFFF))

overlaid("residual-step-16", "bad_tensor", "a step of 2^16", record(1, 2, "H", 16))
overlaid("residual-0", "bad_tensor", "no entry", record(1, 8, "I", 0))
overlaid("residual-1501", "bad_tensor", "more entries than cells", record(1, 8, "I", 1501))
overlaid("residual-2e32-1", "bad_tensor", "the largest number of entries",
         record(1, 8, "I", 0xFFFFFFFF))
overlaid("residual-one-more", "bad_size", "an entry more than there are",
         record(1, 8, "I", ENTRY_COUNT + 1))
overlaid("residual-counts-short", "bad_size", "a count too few",
         lambda f: replace(COUNTS, f.sections[COUNTS]["stored"][:-2])(f))
overlaid("residual-counts-less", "bad_payload", "counts that leave an entry over",
         put(COUNTS, 0, "H", 1))
overlaid("residual-counts-more", "bad_payload", "counts of more than all entries",
         put(COUNTS, -2, "H", 3))
overlaid("residual-counts-65535", "bad_payload", "the largest count", put(COUNTS, 2, "H", 65535))
overlaid("residual-column-300", "bad_payload", "an entry past the last column",
         put(GAPS, 2, "B", 41))
overlaid("residual-gaps-255", "bad_payload", "the largest gaps in a row of forty",
         put(GAPS, 10, "8B", *[255] * 8))
overlaid("residual-value-minus-128", "bad_payload", "a value of -128 in place of a bridge's 0",
         put(ENTRIES, 1, "b", -128))
overlaid("residual-bound-less", "bad_payload", "A below the sum of a row",
         record(1, 12, "I", (127 << 3) - 8))
overlaid("residual-bound-more", "bad_payload", "A above the sum of every row",
         record(1, 12, "I", (127 << 3) + 1))
overlaid("residual-bound-0", "bad_payload", "A is 0", record(1, 12, "I", 0))
