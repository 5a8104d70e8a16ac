# SPDX-License-Identifier: Apache-2.0
"""Writes Curta files from plain records, for test vectors; every field can be set wrong."""

import struct

from curta_codecs import xxh64
from curta_file import MAGIC, align64

PLANES = {8: (8,), 7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 4: (4,), 3: (2, 1), 2: (2,)}
NONE = 0xFFFFFFFF


class Stream:
    """xorshift64* numbers for weights, so that the vectors depend on a seed only."""

    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        """A number from 0 to n - 1."""
        x = self.x
        x ^= x >> 12
        x ^= x << 25 & (1 << 64) - 1
        x ^= x >> 27
        self.x = x
        return ((x * 0x2545F4914F6CDD1D & (1 << 64) - 1) >> 32) * n >> 32

    def between(self, a, b):
        """A number from a to b."""
        return a + self.below(b - a + 1)


def pack_plane(values, bits):
    """32 values of one plane as bytes."""
    step = 4 * bits
    return bytes(sum(values[i + step * j] << bits * j for j in range(8 // bits))
                 for i in range(step))


def pack_codes(rows, bits):
    """Rows of codes as blocks."""
    out = b""
    for row in rows:
        row = row + [0] * (-len(row) % 32)
        for at in range(0, len(row), 32):
            u = [c & 255 if bits == 8 else c + (1 << bits - 1) for c in row[at:at + 32]]
            low = 0
            for plane in PLANES[bits]:
                out += pack_plane([x >> low & (1 << plane) - 1 for x in u], plane)
                low += plane
    return out


def lz4_block(data):
    """A raw LZ4 block: greedy matches, the block format's end conditions kept."""
    out, seen, anchor, at = bytearray(), {}, 0, 0

    def token(literals, match):
        def extra(n):
            return b"\xff" * ((n - 15) // 255) + bytes([(n - 15) % 255]) if n >= 15 else b""
        first = min(len(literals), 15) << 4 | (min(match[1] - 4, 15) if match else 0)
        out.append(first)
        out.extend(extra(len(literals)) + literals)
        if match:
            out.extend(struct.pack("<H", match[0]) + extra(match[1] - 4))

    while at + 12 <= len(data):
        key = data[at:at + 4]
        found = seen.get(key)
        seen[key] = at
        if found is None or at - found > 65535:
            at += 1
            continue
        length = 4
        while at + length < len(data) - 5 and data[found + length] == data[at + length]:
            length += 1
        token(data[anchor:at], (at - found, length))
        at += length
        anchor = at
    token(data[anchor:], None)
    return bytes(out)


def zstd_frame(data, window=None, checksum=False):
    """A zstd frame of raw and run-length blocks: no compressor is needed."""
    if window is None:
        head = bytes([0xA0 | checksum << 2]) + struct.pack("<I", len(data))
    else:
        head = bytes([0x80 | checksum << 2, window]) + struct.pack("<I", len(data))
    out, at = b"\x28\xb5\x2f\xfd" + head, 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at] and run < 1024:
            run += 1
        if run >= 8:
            kind, size, body = 1, run, data[at:at + 1]
        else:
            size = run
            while at + size < len(data) and size < 600 and len(set(data[at + size:at + size + 8])) != 1:
                size += 1
            kind, body = 0, data[at:at + size]
        at += size
        out += (size << 3 | kind << 1 | (at == len(data))).to_bytes(3, "little") + body
    return out + (struct.pack("<I", xxh64(data) & 0xFFFFFFFF) if checksum else b"")


def zstd_package(data):
    """A zstd frame with compressed blocks; needs the zstandard package."""
    import zstandard
    return zstandard.ZstdCompressor(level=19, write_content_size=True).compress(data)


ENCODERS = {0: bytes, 1: zstd_frame, 2: lz4_block}


def metadata(values):
    """The metadata section from a dict of int and str."""
    out = struct.pack("<I", len(values))
    for key in sorted(values):
        value = values[key]
        out += struct.pack("<H", len(key)) + key.encode()
        if isinstance(value, int):
            out += b"\x01" + struct.pack("<Q", value)
        else:
            raw = value.encode()
            out += b"\x02" + struct.pack("<I", len(raw)) + raw
    return out


class Tensors:
    """Collects tensors; gives the section and the streams."""

    def __init__(self):
        self.records, self.modifiers, self.streams = [], [], []

    def add(self, name, rows, columns, encoding, streams, bits, flags=0, group=0, exponent=0,
            mask=None, overlays=()):
        """One tensor; gives its index. A mask is (form, first, second), its stream the last; overlays
        are ((kind, form, first, second), streams)."""
        count = len(streams) + sum(len(own) for _, own in overlays)
        self.records.append((name.encode(), rows, columns, encoding, bits, flags, group, exponent,
                             len(self.streams), count, len(self.modifiers),
                             int(mask is not None) + len(overlays)))
        self.streams += streams
        if mask is not None:
            form, first, second = mask
            self.modifiers.append((1, form, len(self.streams) - 1, first, second))
        for (kind, form, first, second), own in overlays:
            self.modifiers.append((kind, form, len(self.streams), first, second))
            self.streams += own
        return len(self.records) - 1

    def section(self):
        """The bytes of the tensors section."""
        names = b"".join(record[0] for record in self.records)
        out, at = struct.pack("<IIII", len(self.records), len(self.modifiers), len(names), 0), 0
        for name, *fields in self.records:
            out += struct.pack("<IIIIHBBIiIIII20x", at, len(name), *fields)
            at += len(name)
        return out + b"".join(struct.pack("<HHIII", *m) for m in self.modifiers) + names


class Program:
    """Collects buffers, states and ops; gives the section. `image` is an image record or None."""

    def __init__(self, context, vocabulary, image=None):
        self.context, self.vocabulary, self.output, self.image = context, vocabulary, 0, image
        self.buffers, self.states, self.ops = [], [], []

    def buffer(self, kind, rows, width, slot, scales=None, fraction=0):
        """One buffer; gives its index."""
        scales = (0, 0, 1, 1)[kind] if scales is None else scales
        self.buffers.append((kind, rows, width, scales, fraction, slot))
        return len(self.buffers) - 1

    def state(self, heads, width):
        """One state; gives its index."""
        self.states.append((1, heads, width))
        return len(self.states) - 1

    def op(self, number, *operands):
        """One op; operands may be negative i32."""
        words = [x & 0xFFFFFFFF for x in operands]
        self.ops.append([number] + words + [0] * (15 - len(words)))

    def section(self):
        """The bytes of the program section."""
        slots = 1 + max(record[5] for record in self.buffers)
        out = struct.pack("<8I", len(self.buffers), len(self.states), len(self.ops), slots,
                          self.context, self.vocabulary, self.output, int(self.image is not None))
        out += struct.pack("<8I", *self.image) if self.image else b""
        for record in self.buffers:
            out += struct.pack("<IIIIiI8x", *record)
        for record in self.states:
            out += struct.pack("<III20x", *record)
        return out + b"".join(struct.pack("<16I", *op) for op in self.ops)


class File:
    """Sections as dicts; `build` lays them out and hashes them. A section may set any directory
    field by name; `header` sets header fields; `edit` changes the bytes before the hashes."""

    def __init__(self, minor=0):
        self.sections = []
        self.header = {"magic": MAGIC, "major": 1, "minor": minor, "table_set": 1,
                       "reserved": bytes(20)}
        self.edits = []       # functions of the whole bytearray, run before hashing
        self.late_edits = []  # run after hashing
        self.tail = b""

    def add(self, kind, data, index=0, codec=0, flags=1, stored=None):
        """One section; gives its record."""
        stored = ENCODERS[codec](data) if stored is None else stored
        self.sections.append({"kind": kind, "index": index, "codec": codec, "flags": flags,
                              "stored": stored, "size": len(data)})
        return self.sections[-1]

    def build(self):
        """The bytes of the file."""
        at = 64 + 48 * len(self.sections)
        body, entries = bytearray(64) + bytearray(48 * len(self.sections)), []
        for s in self.sections:
            start = align64(at)
            body += bytes(start - at) + s["stored"]
            at = start + len(s["stored"])
            entries.append([s["kind"], s["index"], s["codec"], s["flags"], s.get("offset", start),
                            s.get("stored_size", len(s["stored"])), s["size"],
                            s.get("hash", xxh64(s["stored"]))])
        body += self.tail
        for edit in self.edits:
            edit(body)
        for i, entry in enumerate(entries):
            struct.pack_into("<IIIIQQQQ", body, 64 + 48 * i, *entry)
        h = self.header
        directory = bytes(body[64:64 + 48 * len(self.sections)])
        struct.pack_into("<8sHHIQQI20s", body, 0, h["magic"], h["major"], h["minor"],
                         h.get("section_count", len(self.sections)),
                         h.get("file_size", len(body)), h.get("directory_hash", xxh64(directory)),
                         h["table_set"], h["reserved"])
        struct.pack_into("<Q", body, 56, h.get("header_hash", xxh64(bytes(body[:56]))))
        for edit in self.late_edits:
            edit(body)
        return bytes(body)
