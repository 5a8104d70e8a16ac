# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of the mask modifier: its record, its stream, and the codes that it leaves."""

import struct

from vector_invalid import both, case, drop, put, replace
from vector_mask import BLOCKS, COLUMNS, PATTERN, bitmap
from vector_model import GRID, WIDE
import vector_writer as w

ROWS, WIDTH = 40, 72  # three strips, the last of 8 rows; three blocks, the last of 8 columns
GRID_OF_BLOCKS = [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
TENSORS, PROGRAM, CODES = 1, 2, 7  # sections: the head's streams come last


def head(form):
    """(streams, bits, flags, group, mask record) of the masked head."""
    r = w.Stream(98)
    mantissas = struct.pack(f"<{ROWS}H", *[50000] * ROWS)
    if form == BLOCKS:
        codes = [[r.between(-127, 127) for _ in range(8 if b == 2 else 32)]
                 for n in range(ROWS) for b in range(3) if GRID_OF_BLOCKS[n // 16][b]]
        count = len(codes)
        return ([w.pack_codes(codes, 8), mantissas, bytes([7] * count),
                 struct.pack(f"<{count}h", *[3] * count), bitmap(sum(GRID_OF_BLOCKS, []))],
                8, 3, 32, (BLOCKS, 4, 2))
    kept = 27 if form == PATTERN else 5
    codes = w.pack_codes([[r.between(-4, 3) for _ in range(kept)] for _ in range(ROWS)], 3)
    if form == PATTERN:
        row = bitmap([int(i % 8 < 3) for i in range(WIDTH)] + [0] * 24)
        return [codes, mantissas, row * ROWS], 3, 0, 0, (PATTERN, 3, 8)
    index = struct.pack("<5I", 2, 3, 31, 32, 71)
    return [codes, mantissas, index], 3, 0, 0, (COLUMNS, 5, 0)


def mini(form, masked_embed=False):
    """A function that gives a File: embed, norm and a masked head of ROWS by WIDTH. `masked_embed`:
    the masked tensor is also the embedding."""
    def make():
        r, t, p = w.Stream(97), w.Tensors(), w.Program(8, ROWS)
        codes = [[r.between(-8, 7) for _ in range(WIDTH)] for _ in range(ROWS)]
        t.add("embed", ROWS, WIDTH, GRID,
              [w.pack_codes(codes, 4), struct.pack(f"<{ROWS}H", *[40000] * ROWS)], 4, 0, 0, 18)
        t.add("norm", 1, WIDTH, WIDE, [struct.pack(f"<{WIDTH}h", *[16384] * WIDTH), b"\x00\x80"],
              16, 0, 0, 29)
        streams, bits, flags, group, mask = head(form)
        t.add("head", ROWS, WIDTH, GRID, streams, bits, flags, group, 24, mask)
        x, last = p.buffer(1, 0, WIDTH, 0, fraction=12), p.buffer(1, 1, WIDTH, 1, fraction=12)
        codes8 = p.buffer(3, 1, WIDTH, 2)
        p.output = p.buffer(1, 1, ROWS, 0, fraction=16)
        p.op(1, 2 if masked_embed else 0, x)
        p.op(9, x, last)
        p.op(2, last, 1, codes8, 1, 168, 0)
        p.op(10, codes8, 2, p.output)
        f = w.File()
        f.add(1, w.metadata({"name": "masked"}))
        f.add(3, t.section())
        f.add(4, p.section())
        for i, stream in enumerate(t.streams):
            f.add(5, stream, index=i)
        return f
    return make


def masked(name, form, status, text, change, **base):
    """A case on the head with a mask of this form."""
    case(f"mask-{name}", status, text, change, mini(form, **base))


def record(at, kind, *values):
    """A change of the modifier record."""
    return put(TENSORS, 16 + 64 * 3 + at, kind, *values)


def field(tensor, at, kind, *values):
    """A change of a field of a descriptor."""
    return put(TENSORS, 16 + 64 * tensor + at, kind, *values)


def stream(number, at, kind, *values):
    """A change in one of the head's streams, counted from 0."""
    return put(CODES + number, at, kind, *values)


def second_mask(f):
    """The head gets its mask's record and stream twice."""
    raw = bytearray(f.sections[TENSORS]["stored"])
    struct.pack_into("<I", raw, 4, 2)
    struct.pack_into("<I", raw, 16 + 128 + 40, 2)
    at = 16 + 64 * 3
    again = bytearray(raw[at:at + 16])
    data, = struct.unpack_from("<I", again, 4)
    struct.pack_into("<I", again, 4, data + 1)
    struct.pack_into("<I", raw, 16 + 128 + 32, struct.unpack_from("<I", raw, 16 + 128 + 32)[0] + 1)
    replace(TENSORS, bytes(raw[:at + 16] + again + raw[at + 16:]))(f)
    f.add(5, f.sections[-1]["stored"], index=data + 1)


MASK = 4  # the head's stream of the block mask; of the others it is stream 2
masked("form-0", BLOCKS, "bad_tensor", "form 0", record(2, "H", 0))
masked("form-4", BLOCKS, "bad_tensor", "an unknown form", record(2, "H", 4))
masked("data", BLOCKS, "bad_tensor", "a mask whose stream is the offsets", record(4, "I", 7))
masked("data-2e32-1", BLOCKS, "bad_tensor", "the largest data index", record(4, "I", 0xFFFFFFFF))
masked("data-count", BLOCKS, "bad_tensor", "data_count without the mask's stream",
       field(2, 32, "I", 4))
masked("stream-absent", BLOCKS, "bad_tensor", "no section for the mask", drop(-1))
masked("of-wide", BLOCKS, "bad_tensor", "the mask belongs to the norm weight",
       both(field(1, 40, "I", 1), field(2, 36, "II", 1, 0)))
masked("twice", BLOCKS, "bad_tensor", "two masks on one tensor", second_mask)
masked("embed", PATTERN, "bad_program", "a masked tensor is the embedding", lambda f: None,
       masked_embed=True)

masked("blocks-none", BLOCKS, "bad_tensor", "no survivor", record(8, "II", 0, 0))
masked("blocks-last-4", BLOCKS, "bad_tensor", "more survivors in the last strip than blocks",
       record(12, "I", 4))
masked("blocks-last-2e32-1", BLOCKS, "bad_tensor", "the largest number in the last strip",
       record(12, "I", 0xFFFFFFFF))
masked("blocks-too-many", BLOCKS, "bad_tensor", "more survivors than blocks", record(8, "I", 9))
masked("blocks-2e32-1", BLOCKS, "bad_tensor", "the largest number of survivors",
       record(8, "I", 0xFFFFFFFF))
masked("blocks-one-more", BLOCKS, "bad_size", "a survivor more than there are codes",
       record(8, "I", 5))
masked("blocks-group-64", BLOCKS, "bad_tensor", "group scales of two blocks", field(2, 20, "I", 64))
masked("blocks-group-0", BLOCKS, "bad_tensor", "one group scale a row", field(2, 20, "I", 0))
masked("blocks-bit-more", BLOCKS, "bad_payload", "a bit more than the record says",
       stream(MASK, 0, "B", 0xC7))
masked("blocks-bit-less", BLOCKS, "bad_payload", "a bit less than the record says",
       stream(MASK, 0, "B", 0x81))
masked("blocks-other-strip", BLOCKS, "bad_payload", "a survivor of the last strip is in the first",
       stream(MASK, 0, "2B", 0x87, 0))
masked("blocks-all-zero", BLOCKS, "bad_payload", "an empty bitmap", stream(MASK, 0, "H", 0))
masked("blocks-padding", BLOCKS, "bad_payload", "a bit past the last block in place of one inside",
       stream(MASK, 0, "2B", 0x85, 2))
masked("blocks-bitmap-long", BLOCKS, "bad_size", "a bitmap of three bytes",
       lambda f: replace(CODES + MASK, f.sections[CODES + MASK]["stored"] + b"\0")(f))
masked("blocks-code-past-columns", BLOCKS, "bad_payload", "a code past column 72 in a last block",
       stream(0, 32 + 8, "B", 1))
masked("blocks-code-minus-128", BLOCKS, "bad_payload", "a code of -128", stream(0, 70, "B", 0x80))
masked("blocks-offset-minus-32768", BLOCKS, "bad_payload", "a group offset of -32768",
       stream(3, -2, "h", -32768))
masked("blocks-mantissa-0", BLOCKS, "bad_payload", "a row without survivors with mantissa 0",
       stream(1, 2 * 20, "H", 0))

masked("pattern-0-of-8", PATTERN, "bad_tensor", "no survivor", record(8, "I", 0))
masked("pattern-8-of-8", PATTERN, "bad_tensor", "all survive", record(8, "I", 8))
masked("pattern-of-0", PATTERN, "bad_tensor", "groups of no columns", record(12, "I", 0))
masked("pattern-of-12", PATTERN, "bad_tensor", "groups of 12 columns, which divide 72",
       record(8, "II", 3, 12))
masked("pattern-of-16", PATTERN, "bad_tensor", "groups of 16 columns, which do not divide 72",
       record(8, "II", 6, 16))
masked("pattern-of-64", PATTERN, "bad_tensor", "groups of 64 columns", record(12, "I", 64))
masked("pattern-offsets", PATTERN, "bad_tensor", "group offsets with a pattern",
       field(2, 19, "BI", 3, 32))
masked("pattern-4-of-8", PATTERN, "bad_size", "more codes than there are", record(8, "I", 4))
masked("pattern-uneven", PATTERN, "bad_payload", "four survivors, then two", stream(2, 0, "2B", 15, 3))
masked("pattern-padding", PATTERN, "bad_payload", "a bit past column 72", stream(2, 9, "B", 1))
masked("pattern-code-past", PATTERN, "bad_payload", "a code past the survivors of the last row",
       stream(0, -1, "B", 0))
masked("columns-0", COLUMNS, "bad_tensor", "no column is kept", record(8, "I", 0))
masked("columns-2", COLUMNS, "bad_tensor", "fewer columns than one of 32", record(8, "I", 2))
masked("columns-73", COLUMNS, "bad_tensor", "more columns than the tensor has", record(8, "I", 73))
masked("columns-2e32-1", COLUMNS, "bad_tensor", "the largest number of columns",
       record(8, "I", 0xFFFFFFFF))
masked("columns-second", COLUMNS, "bad_tensor", "a second field", record(12, "I", 1))
masked("columns-offsets", COLUMNS, "bad_tensor", "group offsets with a list of columns",
       field(2, 19, "BI", 3, 32))
masked("columns-one-more", COLUMNS, "bad_size", "a column more than the list has",
       record(8, "I", 6))
masked("columns-72", COLUMNS, "bad_payload", "a column past the last", stream(2, -4, "I", 72))
masked("columns-2e32-1-entry", COLUMNS, "bad_payload", "the largest column",
       stream(2, -4, "I", 0xFFFFFFFF))
masked("columns-equal", COLUMNS, "bad_payload", "a column twice", stream(2, 4, "I", 2))
masked("columns-descend", COLUMNS, "bad_payload", "columns out of order", stream(2, 4, "II", 31, 3))
masked("columns-code-past", COLUMNS, "bad_payload", "a code past the kept columns",
       stream(0, 5, "B", 1))
