# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of the tensors section, of payload values and of compressed frames."""

import struct

from vector_invalid import case, drop, put, replace
import vector_writer as w

TENSORS, DATA = 1, 3   # sections of mini; tensors: embed, norm, head
CODES, MANTISSAS, SCALES, OFFSETS, NORM, NORM_M, HEAD, HEAD_M = range(DATA, DATA + 8)


def field(tensor, at, kind, *values):
    """A change of a field of a descriptor."""
    return put(TENSORS, 16 + 64 * tensor + at, kind, *values)


def sixes(last):
    """The codes of `head` in 6 bits, all 0 but for the last byte."""
    return (w.pack_codes([[0] * 40] * 4, 6))[:-1] + last


# The tensors section
case("tensor-count-2e32-1", "over_limit", "the largest count", put(TENSORS, 0, "I", 0xFFFFFFFF))
case("tensor-count-2e26", "over_limit", "count times 64 wraps at 2^32",
     put(TENSORS, 0, "I", 3 + (1 << 26)))
case("tensor-count-16384", "bad_tensor", "the largest allowed count in a small section",
     put(TENSORS, 0, "I", 16384))
case("modifier-count-wraps-2e32", "bad_tensor", "modifiers of 2^28 times 16 bytes",
     put(TENSORS, 4, "I", 1 << 28))
case("names-size-2e32-1", "bad_tensor", "names past the section", put(TENSORS, 8, "I", 0xFFFFFFFF))
case("tensors-zero-field", "bad_padding", "the zero word of the tensors header",
     put(TENSORS, 12, "I", 1))
case("tensors-15-bytes", "bad_tensor", "shorter than the tensors header", replace(1, bytes(15)))
case("tensors-trailing", "bad_tensor", "a byte after the names",
     lambda f: replace(1, f.sections[1]["stored"] + b"x")(f))
case("name-offset", "bad_tensor", "a name that starts inside the one before", field(1, 0, "I", 4))
case("name-offset-2e32-1", "bad_tensor", "offset + length wraps", field(1, 0, "I", 0xFFFFFFFF))
case("name-length-0", "bad_tensor", "a name of no bytes", field(2, 4, "I", 0))
case("name-length-256", "bad_tensor", "a name above the limit", field(2, 4, "I", 256))
case("name-past-end", "bad_tensor", "the last name is one byte longer than the names",
     field(2, 4, "I", 5))
case("names-left-over", "bad_tensor", "the last name is one byte shorter than the names",
     field(2, 4, "I", 3))
case("nul-in-name", "bad_text", "a NUL in a tensor's name", put(TENSORS, -2, "B", 0))
case("latin1-name", "bad_text", "a name in Latin-1", put(TENSORS, -2, "B", 0xE9))
case("group-2e17-plus-32", "bad_tensor", "a group above the limit",
     field(1, 20, "I", (1 << 17) + 32))
case("rows-0", "bad_tensor", "a tensor without rows", field(2, 8, "I", 0))
case("columns-0", "bad_tensor", "a tensor without columns", field(2, 12, "I", 0))
case("rows-2e24-plus-1", "over_limit", "rows above the limit", field(2, 8, "I", (1 << 24) + 1))
case("columns-2e17-plus-1", "over_limit", "columns above the limit",
     field(2, 12, "I", (1 << 17) + 1))
case("dims-product-2e64", "over_limit", "rows times columns is near 2^64",
     field(0, 8, "II", 0xFFFFFFFF, 0xFFFFFFFF))
case("dims-product-2e63", "over_limit", "rows times columns is 2^63 mod 2^64",
     field(0, 8, "II", 1 << 31, 0xFFFFFFFF))
case("dims-product-2e32", "bad_size", "rows times columns is 0 mod 2^32",
     field(2, 8, "II", 1 << 16, 1 << 16))
case("dims-largest", "bad_size", "the largest rows and columns", field(2, 8, "II", 1 << 24, 1 << 17))
case("nbytes-wraps-2e32", "bad_size", "the codes' size is right mod 2^32",
     field(2, 8, "II", 199432, 21536))
case("rows-3", "bad_size", "one row less than the streams hold", field(2, 8, "I", 3))
case("encoding-0", "bad_tensor", "encoding 0", field(2, 16, "H", 0))
case("encoding-6", "bad_tensor", "an unknown encoding", field(2, 16, "H", 6))
case("encoding-codebook", "unsupported", "a reserved encoding", field(2, 16, "H", 4))
case("encoding-planes", "unsupported", "a reserved encoding", field(2, 16, "H", 5))
case("bits-1", "bad_tensor", "grid of 1 bit", field(2, 18, "B", 1))
case("bits-9", "bad_tensor", "grid of 9 bits", field(2, 18, "B", 9))
case("bits-255", "bad_tensor", "a shift of 255", field(2, 18, "B", 255))
case("wide-bits-8", "bad_tensor", "wide of 8 bits", field(1, 18, "B", 8))
case("wide-flags", "bad_tensor", "a wide tensor with group scales", field(1, 19, "B", 1))
case("flags-offsets-alone", "bad_tensor", "group offsets without group scales",
     field(0, 19, "B", 2))
case("flags-bit-2", "bad_tensor", "an unknown flag", field(0, 19, "B", 7))
case("group-31", "bad_tensor", "a group that is not a multiple of 32", field(0, 20, "I", 31))
case("group-2e32-1", "bad_tensor", "the largest group", field(0, 20, "I", 0xFFFFFFFF))
case("group-64", "bad_size", "a group that needs fewer scales", field(0, 20, "I", 64))
case("wide-group", "bad_tensor", "a wide tensor with groups", field(1, 20, "I", 32))
case("exponent-65", "bad_tensor", "an exponent above its range", field(2, 24, "i", 65))
case("exponent-min", "bad_tensor", "the exponent -2^31", field(2, 24, "i", -(1 << 31)))
case("alias-two-tensors", "bad_tensor", "two tensors on the same streams", field(2, 28, "I", 4))
case("data-index-2e32-1", "bad_tensor", "data + data_count wraps", field(2, 28, "I", 0xFFFFFFFF))
case("data-count-3", "bad_tensor", "a stream too many", field(2, 32, "I", 3))
case("modifier-index", "bad_tensor", "a modifier index with no modifiers", field(2, 36, "I", 1))
case("modifier-count-absent", "bad_tensor", "a modifier without its record", field(2, 40, "I", 1))
case("descriptor-reserved", "bad_padding", "a reserved byte of a descriptor", field(2, 63, "B", 1))


def modifier(kind):
    """A modifier record on the last tensor."""
    def change(f):
        raw = bytearray(f.sections[1]["stored"])
        struct.pack_into("<I", raw, 4, 1)
        struct.pack_into("<I", raw, 16 + 128 + 40, 1)
        at = 16 + 64 * 3
        replace(1, bytes(raw[:at]) + struct.pack("<HHIII", kind, 1, 8, 1, 1) + bytes(raw[at:]))(f)
    return change


case("modifier-input-transform", "unsupported", "a modifier that is reserved", modifier(5))
case("modifier-kind-4", "bad_tensor", "a modifier whose number is not in use", modifier(4))
case("modifier-kind-0", "bad_tensor", "a modifier of kind 0", modifier(0))
case("modifier-kind-6", "bad_tensor", "an unknown modifier", modifier(6))
case("stream-absent", "bad_tensor", "the last data section is absent", drop(HEAD_M))
case("stream-left-over", "bad_tensor", "a data section that no tensor names",
     lambda f: f.add(5, b"more", index=8) and None)
case("stream-short", "bad_size", "a stream one byte short",
     lambda f: replace(HEAD, f.sections[HEAD]["stored"][:-1])(f))
case("stream-long", "bad_size", "a stream one byte long",
     lambda f: replace(HEAD, f.sections[HEAD]["stored"] + b"\0")(f))

# Payload values
case("code-minus-128", "bad_payload", "an 8-bit code of -128", put(HEAD, 5, "B", 0x80))
case("code-past-columns", "bad_payload", "a 3-bit code past the last column",
     put(CODES, 12 + 8, "B", 0))
case("code-past-columns-6", "bad_payload", "a 6-bit code past the last column",
     lambda f: (field(2, 18, "B", 6)(f), replace(HEAD, sixes(bytes([16])))(f)) and None)
case("code-past-columns-8", "bad_payload", "an 8-bit code past the last column",
     put(HEAD, -1, "B", 1))
case("mantissa-0", "bad_payload", "a row mantissa of 0", put(HEAD_M, 2, "H", 0))
case("norm-mantissa-0", "bad_payload", "a wide tensor's mantissa of 0", put(NORM_M, 0, "H", 0))
case("offset-minus-32768", "bad_payload", "a group offset of -32768", put(OFFSETS, 2, "h", -32768))
case("wide-code-minus-32768", "bad_payload", "a wide code of -32768", put(NORM, 8, "h", -32768))


# Frames, on the codes of `head` (256 bytes)
def frame(edit, size=256):
    """A change of the head's codes to a zstd frame that `edit` alters."""
    def change(f):
        out = edit(bytearray(w.zstd_frame(f.sections[HEAD]["stored"])))
        replace(HEAD, bytes(out), 1, size)(f)
    return change


def bytes_at(at, *values):
    """An edit of bytes at a place."""
    return lambda raw: raw[:at] + bytes(values) + raw[at + len(values):]


def with_header(descriptor, rest):
    """An edit that changes the frame header; 9 bytes are replaced."""
    return frame(lambda raw: raw[:4] + bytes([descriptor]) + rest + raw[9:])


SIZE4 = struct.pack("<I", 256)
SKIP = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
case("zstd-magic", "bad_frame", "another magic", frame(bytes_at(0, 0x27)))
case("zstd-no-content-size", "bad_frame", "no frame content size", with_header(0x00, b"\x00"))
case("zstd-window-2e27", "bad_frame", "a window of 128 MiB", with_header(0x80, b"\x88" + SIZE4))
case("zstd-window-2e20-plus", "bad_frame", "the smallest window above the limit",
     with_header(0x80, b"\x51" + SIZE4))
case("zstd-dictionary-id", "bad_frame", "a dictionary id", with_header(0xA1, b"\x07" + SIZE4))
case("zstd-reserved-bit", "bad_frame", "the reserved bit of the frame header",
     with_header(0xA8, SIZE4))
case("zstd-content-size-small", "bad_frame", "the frame says 255 bytes", frame(bytes_at(5, 255, 0)))
case("zstd-content-size-large", "bad_frame", "the frame says 257 bytes", frame(bytes_at(5, 1, 1)))
case("zstd-size-lies-small", "bad_frame", "frame and directory agree on the size, the blocks hold less",
     frame(lambda raw: raw[:9] + struct.pack("<I", 8 << 3 | 1)[:3] + bytes(8)))
case("zstd-size-lies-large", "bad_frame", "the blocks hold a byte more than frame and directory say",
     frame(lambda raw: raw[:9] + struct.pack("<I", 250 << 3)[:3] + bytes(250)
           + struct.pack("<I", 7 << 3 | 3)[:3] + b"\0"))
case("zstd-block-expands", "bad_frame", "a run-length block of 2 MiB",
     frame(lambda raw: raw[:9] + b"\x03\x00\xff\x00"))
case("zstd-block-type-3", "bad_frame", "a reserved block type", frame(bytes_at(9, 7)))
case("zstd-no-last-block", "bad_frame", "no block is the last",
     frame(lambda raw: raw[:9] + struct.pack("<I", 256 << 3)[:3] + bytes(256)))
case("zstd-cut-block", "bad_frame", "the last block is a byte short", frame(lambda raw: raw[:-1]))
case("zstd-trailing", "bad_frame", "a byte after the frame", frame(lambda raw: raw + b"\0"))
case("zstd-two-frames", "bad_frame", "two frames", frame(lambda raw: raw + raw))
case("zstd-skippable-before", "bad_frame", "a skippable frame first", frame(lambda raw: SKIP + raw))
case("zstd-skippable-after", "bad_frame", "a skippable frame last", frame(lambda raw: raw + SKIP))
case("zstd-checksum", "bad_frame", "a wrong frame checksum",
     frame(lambda raw: raw[:4] + b"\xa4" + raw[5:] + b"\1\2\3\4"))
case("zstd-checksum-absent", "bad_frame", "a checksum flag without a checksum",
     frame(bytes_at(4, 0xA4)))
case("zstd-4-bytes", "bad_frame", "the magic alone", frame(lambda raw: raw[:4]))
case("zstd-garbage-block", "bad_frame", "a compressed block of garbage",
     frame(lambda raw: raw[:9] + struct.pack("<I", 9 << 3 | 5)[:3] + b"\xff" * 9))


def lz4(data, size=256):
    """A change of the head's codes to these LZ4 bytes."""
    return replace(HEAD, data, 2, size)


case("lz4-endless-255", "bad_frame", "a literal length that never ends", lz4(b"\xf0" + b"\xff" * 99))
case("lz4-length-255-past-end", "bad_frame", "a match length of 255s up to the end",
     lz4(b"\x1fA\x01\x00" + b"\xff" * 9))
case("lz4-offset-0", "bad_frame", "a match with offset 0",
     lz4(b"\x1fA\x00\x00\xdf\x60" + b"abcdeabcdeabcdeabcd"))
case("lz4-offset-before-start", "bad_frame", "a match one byte before the start",
     lz4(b"\x4fABCD\x05\x00\xe0\x50abcde"))
case("lz4-short", "bad_frame", "a block that decodes to 255 bytes",
     lz4(w.lz4_block(bytes(range(255)))))
case("lz4-long", "bad_frame", "a block that decodes to 257 bytes",
     lz4(w.lz4_block(bytes(257))))
case("lz4-literals-past-end", "bad_frame", "literals past the block", lz4(b"\xf0\xf1abc"))
case("lz4-trailing", "bad_frame", "bytes after the last literals",
     lambda f: lz4(w.lz4_block(f.sections[HEAD]["stored"]) + b"\0\0\0\0")(f))
case("lz4-cut", "bad_frame", "the block without its last byte",
     lambda f: lz4(w.lz4_block(f.sections[HEAD]["stored"])[:-1])(f))
case("lz4-cut-offset", "bad_frame", "the block ends inside an offset", lz4(b"\x1fA\x01"))
case("lz4-payload-minus-128", "bad_payload", "a code of -128 in a compressed stream",
     lambda f: lz4(w.lz4_block(b"\x80" + bytes(255)))(f))
