# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of the container: each is a small valid file with one fault, hashes made right."""

import struct

from curta_codecs import xxh64
from vector_model import GRID, WIDE
import vector_writer as w

CASES = {}  # name: (status, what it tries, function that gives the bytes)


def mini():
    """A File that only embeds and gives logits: 4 ids, 40 columns, 8 streams."""
    r, t, p = w.Stream(99), w.Tensors(), w.Program(8, 4)
    codes = [[r.between(-4, 3) for _ in range(40)] for _ in range(4)]
    t.add("embed", 4, 40, GRID, [w.pack_codes(codes, 3), struct.pack("<4H", *[40000] * 4),
                                 bytes([9] * 8), struct.pack("<8h", *range(8))], 3, 3, 32, 18)
    t.add("norm", 1, 40, WIDE, [struct.pack("<40h", *[16384] * 40), b"\x00\x80"], 16, 0, 0, 29)
    codes = [[r.between(-127, 127) for _ in range(40)] for _ in range(4)]
    t.add("head", 4, 40, GRID, [w.pack_codes(codes, 8), struct.pack("<4H", *[50000] * 4)],
          8, 0, 0, 24)
    x, last = p.buffer(1, 0, 40, 0, fraction=12), p.buffer(1, 1, 40, 1, fraction=12)
    codes8 = p.buffer(3, 1, 40, 2)
    p.output = p.buffer(1, 1, 4, 0, fraction=16)
    p.op(1, 0, x)
    p.op(9, x, last)
    p.op(2, last, 1, codes8, 1, 168, 0)
    p.op(10, codes8, 2, p.output)
    f = w.File()
    f.add(1, w.metadata({"name": "mini", "parameters": 320}))
    f.add(3, t.section())
    f.add(4, p.section())
    for i, stream in enumerate(t.streams):
        f.add(5, stream, index=i)
    return f


def case(name, status, text, change, base=mini):
    """Registers a file: `change` alters the File (or gives the bytes)."""
    def make():
        f = base()
        out = change(f)
        return out if isinstance(out, bytes) else f.build()
    assert name not in CASES, name
    CASES[name] = (status, text, make)


def put(section, at, kind, *values):
    """A change that packs values into a section's bytes, which keep their size."""
    def change(f):
        raw = bytearray(f.sections[section]["stored"])
        struct.pack_into("<" + kind, raw, at % len(raw), *values)
        f.sections[section]["stored"] = bytes(raw)
    return change


def replace(section, data, codec=0, size=None):
    """A change of a section's stored bytes, codec and size."""
    def change(f):
        f.sections[section].update(stored=data, codec=codec,
                                   size=len(data) if size is None else size)
    return change


def entry(section, **fields):
    """A change of fields in the directory only."""
    def change(f):
        f.sections[section].update(fields)
    return change


def head(**fields):
    """A change of header fields; the header hash is made right."""
    def change(f):
        f.header.update(fields)
    return change


def late(at, kind, *values):
    """A change after every hash was computed."""
    def change(f):
        f.late_edits.append(lambda body: struct.pack_into("<" + kind, body, at % len(body), *values))
    return change


def early(at, kind, *values):
    """A change of the whole file's bytes before the header is hashed."""
    def change(f):
        f.edits.append(lambda body: struct.pack_into("<" + kind, body, at, *values))
    return change


def cut(count):
    """The first bytes only (negative: without the last)."""
    return lambda f: f.build()[:count]


def drop(section):
    """A change that leaves a section out; data indices stay dense."""
    def change(f):
        del f.sections[section]
        for i, s in enumerate(s for s in f.sections if s["kind"] == 5):
            s["index"] = i
    return change


def both(*changes):
    """Several changes as one fault."""
    def change(f):
        for one in changes:
            one(f)
    return change


# Header, whole file
case("empty", "truncated", "no bytes at all", cut(0))
case("header-63-bytes", "truncated", "one byte less than a header", cut(63))
case("header-only", "truncated", "the header alone", cut(64))
case("last-byte-cut", "truncated", "the file without its last byte", cut(-1))
case("directory-past-end", "truncated", "file_size and file end inside the directory",
     lambda f: (f.header.update(file_size=100), f.build()[:100])[1])
case("leading-shebang", "bad_magic", "a script line before the header",
     lambda f: b"#!/bin/sh\n" + f.build())
case("big-endian-magic", "bad_magic", "the magic's bytes reversed",
     head(magic=bytes([0x0A, 0x0D, 0x41, 0x54, 0x52, 0x55, 0x43, 0x89])))
case("crlf-mangled-magic", "bad_magic", "CR LF became LF, as a text transfer does",
     lambda f: f.build().replace(b"\r\n", b"\n", 1) + b"\x00")
case("major-2", "bad_version", "the next major version", head(major=2))
case("major-0", "bad_version", "major version 0", head(major=0))
case("table-set-2", "unsupported", "a table set that 1.0 does not have", head(table_set=2))
case("header-reserved", "bad_padding", "a reserved byte of the header",
     head(reserved=bytes(19) + b"\x01"))
case("section-count-0", "bad_size", "no sections", head(section_count=0))
case("section-count-65537", "over_limit", "one section above the limit", head(section_count=65537))
case("section-count-2e32-1", "over_limit", "count times 48 wraps at 2^32",
     head(section_count=0xFFFFFFFF))
case("section-count-65536", "truncated", "a directory of 3 MiB in a small file",
     head(section_count=65536))
case("file-size-2e64-1", "truncated", "the largest file size", head(file_size=(1 << 64) - 1))
case("trailing-bytes", "bad_layout", "bytes after file_size",
     lambda f: f.build() + b"after the end")
case("trailing-bytes-declared", "bad_layout", "bytes after the last section, inside file_size",
     lambda f: setattr(f, "tail", bytes(64)))
case("zip-appended", "bad_layout", "an empty zip archive behind the file, inside file_size",
     lambda f: setattr(f, "tail", b"PK\x05\x06" + bytes(18)))
case("header-bit-flip", "bad_checksum", "one bit of minor, header hash not updated",
     late(10, "B", 1))
case("header-hash-flip", "bad_checksum", "one bit of the header hash",
     lambda f: (lambda b: b[:63] + bytes([b[63] ^ 1]) + b[64:])(f.build()))
case("directory-bit-flip", "bad_checksum", "a directory entry, directory hash not updated",
     late(64 + 12, "I", 0))
case("section-bit-flip", "bad_checksum", "the last byte of the last section", late(-1, "B", 0))
case("section-hash-zero", "bad_checksum", "a hash of zero", entry(3, hash=0))


def swap_streams(f):
    """The bytes of two equal-sized sections change places; the directory does not."""
    a, b = f.sections[4], f.sections[10]
    a["hash"], b["hash"] = xxh64(a["stored"]), xxh64(b["stored"])
    a["stored"], b["stored"] = b["stored"], a["stored"]


case("swap-two-sections", "bad_checksum", "two row mantissa streams swapped", swap_streams)


def offset_of(f, section):
    """The right offset of a section."""
    return struct.unpack_from("<Q", f.build(), 64 + 48 * section + 16)[0]


def hole(f):
    """All sections from the second on lie 64 bytes later than they should."""
    body = f.build()
    start = 64 + 48 * len(f.sections)
    second = struct.unpack_from("<Q", body, 64 + 48 + 16)[0]
    body = bytearray(body[:second] + bytes(64) + body[second:])
    for i in range(1, len(f.sections)):
        at = 64 + 48 * i + 16
        struct.pack_into("<Q", body, at, struct.unpack_from("<Q", body, at)[0] + 64)
    struct.pack_into("<QQ", body, 16, len(body), xxh64(bytes(body[64:start])))
    struct.pack_into("<Q", body, 56, xxh64(bytes(body[:56])))
    return bytes(body)


# Layout
case("misaligned-section", "bad_layout", "an offset that is not a multiple of 64",
     lambda f: entry(3, offset=offset_of(f, 3) + 4)(f))
case("overlap-1-byte", "bad_layout", "a section one byte into the one before",
     lambda f: entry(1, offset=640 + len(f.sections[0]["stored"]) - 1)(f))
case("alias-two-sections", "bad_layout", "two entries on the same bytes",
     entry(1, offset=640))
case("offset-is-file-size", "bad_layout", "the last section starts at the end",
     lambda f: entry(10, offset=len(f.build()))(f))
case("offset-2e64-64", "bad_layout", "an offset whose end wraps to 0",
     entry(10, offset=(1 << 64) - 64))
case("offset-0", "bad_layout", "a section that holds the header", entry(0, offset=0))
case("hole-64", "bad_layout", "64 zero bytes between two sections, offsets agree",
     hole)
case("section-end-plus-1", "truncated", "the last section ends a byte past the file",
     entry(10, stored_size=9, size=9))
case("sum-of-sections-wraps", "truncated", "offset + stored_size is 0 mod 2^64",
     entry(0, stored_size=(1 << 64) - 640, size=(1 << 64) - 640))
case("pad-size-max-3", "truncated", "stored_size 2^64 - 4 pads to 0",
     entry(3, stored_size=(1 << 64) - 4, size=(1 << 64) - 4))
case("stored-size-2e64-1", "truncated", "the largest stored size",
     entry(10, stored_size=(1 << 64) - 1))
case("stored-size-2e32", "truncated", "stored_size wraps to its true value at 2^32",
     entry(10, stored_size=(1 << 32) + 8, size=(1 << 32) + 8))
case("stored-size-0", "bad_size", "a section of no bytes", entry(3, stored_size=0))
case("size-0", "bad_size", "a decoded size of 0", entry(3, size=0))
case("size-not-stored-size", "bad_size", "stored, and size is one more", entry(3, size=97))
case("size-2e34-plus-1", "over_limit", "a decoded size above the limit",
     entry(3, size=(1 << 34) + 1, codec=2))
case("ratio-1025", "over_limit", "a decoded size of more than 1024 times the stored one",
     entry(3, size=1024 * 96 + 1, codec=2))


case("padding-after-directory", "bad_padding", "a byte between directory and section 0",
     early(64 + 48 * 11 + 5, "B", 1))
case("hole-nonzero", "bad_padding", "a byte of the padding between two sections",
     lambda f: early(640 + len(f.sections[0]["stored"]), "B", 7)(f))

# Directory
case("kind-order", "duplicate", "tensors and program sections swapped",
     lambda f: f.sections.__setitem__(slice(1, 3), f.sections[2:0:-1]))
case("dup-section", "duplicate", "two metadata sections",
     lambda f: f.sections.insert(1, dict(f.sections[0])))
case("data-index-gap", "duplicate", "data 0, 1, 3", entry(5, index=3))
case("data-index-twice", "duplicate", "data 0, 1, 1", entry(5, index=1))
case("data-index-from-1", "duplicate", "the first data index is 1", entry(3, index=1))
case("metadata-index-1", "duplicate", "an index where there is none", entry(0, index=1))
case("missing-metadata", "missing", "no metadata section", drop(0))
case("missing-tensors", "missing", "no tensors section", drop(1))
case("missing-program", "missing", "no program section", drop(2))
case("unknown-required", "unknown", "a required section of kind 77",
     lambda f: f.add(77, b"?") and None)
case("unknown-required-kind-0", "unknown", "a required section of kind 0",
     lambda f: f.sections.insert(0, {**f.sections[0], "kind": 0}))
case("known-not-required", "bad_padding", "a known kind without the required bit",
     entry(4, flags=0))
case("flags-bit-1", "bad_padding", "an unknown flag", entry(4, flags=3))
case("unknown-optional-flags", "bad_padding", "an unknown flag on an optional section",
     lambda f: f.add(77, b"?", flags=4) and None)
case("unknown-optional-hash", "bad_checksum", "an optional section with a wrong hash",
     lambda f: f.add(77, b"?", flags=0).update(hash=1))
case("codec-3", "bad_frame", "an unknown codec", entry(3, codec=3))
case("metadata-lz4", "bad_frame", "a compressed metadata section",
     lambda f: f.sections[0].update(codec=2, stored=w.lz4_block(f.sections[0]["stored"])))
case("program-zstd", "bad_frame", "a compressed program section",
     lambda f: f.sections[2].update(codec=1, stored=w.zstd_frame(f.sections[2]["stored"])))


# Metadata
def meta(*parts):
    """A metadata section from a count and raw entries."""
    return replace(0, struct.pack("<I", parts[0]) + b"".join(parts[1:]))


def text_entry(key, raw, length=None):
    """One text entry."""
    return (struct.pack("<H", len(key)) + key + b"\x02"
            + struct.pack("<I", len(raw) if length is None else length) + raw)


NUMBER = b"\x01\x00a\x01" + bytes(8)
case("metadata-count-2e32-1", "over_limit", "the largest count", meta(0xFFFFFFFF))
case("metadata-count-1025", "over_limit", "one entry above the limit", meta(1025))
case("metadata-count-1024-short", "bad_metadata", "1024 entries in 4 bytes", meta(1024))
case("metadata-3-bytes", "bad_metadata", "shorter than the count", replace(0, bytes(3)))
case("metadata-trailing", "bad_metadata", "a byte after the last entry", meta(1, NUMBER, b"\0"))
case("metadata-cut-value", "bad_metadata", "an integer of 7 bytes", meta(1, NUMBER[:-1]))
case("metadata-key-empty", "bad_metadata", "a key of no bytes", meta(1, b"\0\0\x01" + bytes(8)))
case("metadata-key-256", "bad_metadata", "a key of 256 bytes",
     meta(1, b"\x00\x01" + b"a" * 256 + b"\x01" + bytes(8)))
case("metadata-key-past-end", "bad_metadata", "a key length past the section",
     meta(1, b"\xff\x00a\x01" + bytes(8)))
case("metadata-key-upper", "bad_metadata", "a key with a capital", meta(1, NUMBER.replace(b"a", b"A")))
case("metadata-type-3", "bad_metadata", "an unknown value type", meta(1, b"\x01\x00a\x03" + bytes(8)))
case("metadata-keys-equal", "duplicate", "the same key twice", meta(2, NUMBER, NUMBER))
case("metadata-keys-descend", "duplicate", "b before a", meta(2, NUMBER.replace(b"a", b"b"), NUMBER))
case("metadata-text-past-end", "bad_metadata", "a text of 9 bytes of which 4 are there",
     meta(1, text_entry(b"a", b"abcd", 9)))
case("metadata-text-2e32-1", "over_limit", "a text length of 2^32 - 1",
     meta(1, text_entry(b"a", b"abcd", 0xFFFFFFFF)))
case("nul-in-text", "bad_text", "a NUL inside a text", meta(1, text_entry(b"a", b"a\0b")))
case("overlong-utf8", "bad_text", "a slash in two bytes", meta(1, text_entry(b"a", b"\xc0\xaf")))
case("surrogate", "bad_text", "a surrogate in UTF-8", meta(1, text_entry(b"a", b"\xed\xa0\x80")))
case("utf8-past-10ffff", "bad_text", "the code point 0x110000",
     meta(1, text_entry(b"a", b"\xf4\x90\x80\x80")))
case("utf8-cut", "bad_text", "a text that ends inside a character",
     meta(1, text_entry(b"a", b"ab\xe2\x82")))
