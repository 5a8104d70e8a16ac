# SPDX-License-Identifier: Apache-2.0
"""XXH64, LZ4 raw blocks and zstd frames, as curta-file.md sections 5 and 8 allow them."""

from curta_errors import CurtaError, need

MASK = (1 << 64) - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MAX_WINDOW = 1 << 20
MAX_BLOCK = 1 << 17  # RFC 8878, Block_Maximum_Size


def _rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def _lane(acc, word):
    return _rotl((acc + word * P2) & MASK, 31) * P1 & MASK


def xxh64_by_hand(data):
    """XXH64 with seed 0 in plain Python."""
    data = bytes(data)
    n, at = len(data), 0
    if n >= 32:
        lanes = [(P1 + P2) & MASK, P2, 0, (-P1) & MASK]
        whole = n - n % 32
        words = memoryview(data)[:whole].cast("Q")  # native order: little-endian hosts only
        a, b, c, d = lanes
        for i in range(0, whole // 8, 4):
            a = _lane(a, words[i])
            b = _lane(b, words[i + 1])
            c = _lane(c, words[i + 2])
            d = _lane(d, words[i + 3])
        h = (_rotl(a, 1) + _rotl(b, 7) + _rotl(c, 12) + _rotl(d, 18)) & MASK
        for lane in (a, b, c, d):
            h = ((h ^ _lane(0, lane)) * P1 + P4) & MASK
        at = whole
    else:
        h = P5
    h = (h + n) & MASK
    while at + 8 <= n:
        h ^= _lane(0, int.from_bytes(data[at:at + 8], "little"))
        h = (_rotl(h, 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= n:
        h ^= int.from_bytes(data[at:at + 4], "little") * P1 & MASK
        h = (_rotl(h, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        h = _rotl(h ^ (byte * P5 & MASK), 11) * P1 & MASK
    h = (h ^ (h >> 33)) * P2 & MASK
    h = (h ^ (h >> 29)) * P3 & MASK
    return h ^ (h >> 32)


def xxh64(data):
    """XXH64 with seed 0; the xxhash package does the work where it is installed."""
    try:
        import xxhash
    except ImportError:
        return xxh64_by_hand(data)
    return xxhash.xxh64_intdigest(bytes(data), 0)


def lz4_decode(stored, size):
    """Decodes one raw LZ4 block to exactly `size` bytes, or raises bad_frame."""
    out, at, end = bytearray(), 0, len(stored)

    def length(start, nibble):
        at, total = start, nibble
        if nibble == 15:
            while True:
                need(at < end, "bad_frame", "lz4: length runs past the block")
                byte = stored[at]
                at += 1
                total += byte
                need(total <= size, "bad_frame", "lz4: length past the output")
                if byte != 255:
                    break
        return at, total

    while True:
        need(at < end, "bad_frame", "lz4: the block ends without a last literal run")
        token = stored[at]
        at, literals = length(at + 1, token >> 4)
        need(at + literals <= end, "bad_frame", "lz4: literals past the block")
        need(len(out) + literals <= size, "bad_frame", "lz4: literals past the output")
        out += stored[at:at + literals]
        at += literals
        if at == end:
            need(token & 15 == 0, "bad_frame", "lz4: the last token announces a match")
            break
        need(at + 2 <= end, "bad_frame", "lz4: offset past the block")
        offset = stored[at] | stored[at + 1] << 8
        at, match = length(at + 2, token & 15)
        match += 4
        need(offset != 0, "bad_frame", "lz4: offset 0")
        need(offset <= len(out), "bad_frame", "lz4: offset before the start")
        need(len(out) + match <= size, "bad_frame", "lz4: match past the output")
        start = len(out) - offset
        for i in range(match):
            out.append(out[start + i])
    need(len(out) == size, "bad_frame", "lz4: the block is short")
    return bytes(out)


def zstd_walk(stored, size):
    """Checks the frame's header and block headers; gives (blocks, checksum bytes or None).

    A block is (type, start, length in the frame, regenerated length or None)."""
    need(len(stored) >= 5, "bad_frame", "zstd: shorter than a header")
    need(stored[:4] == b"\x28\xb5\x2f\xfd", "bad_frame", "zstd: magic (a skippable frame?)")
    descriptor = stored[4]
    single, has_sum = descriptor >> 5 & 1, descriptor >> 2 & 1
    need(descriptor & 8 == 0, "bad_frame", "zstd: reserved bit")
    need(descriptor & 3 == 0, "bad_frame", "zstd: dictionary id")
    fcs = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    need(fcs != 0, "bad_frame", "zstd: no frame content size")
    at = 5
    need(len(stored) >= at + (1 - single) + fcs, "bad_frame", "zstd: cut header")
    if not single:
        base = 1 << (10 + (stored[at] >> 3))
        window = base + (base >> 3) * (stored[at] & 7)
        need(window <= MAX_WINDOW, "bad_frame", "zstd: window above MAX_WINDOW")
        at += 1
    content = int.from_bytes(stored[at:at + fcs], "little") + (256 if fcs == 2 else 0)
    at += fcs
    need(content == size, "bad_frame", "zstd: frame content size is not the section's size")
    if single:
        window = content
    blocks, last, total = [], False, 0
    while not last:
        need(at + 3 <= len(stored), "bad_frame", "zstd: cut block header")
        head = int.from_bytes(stored[at:at + 3], "little")
        at += 3
        last, kind, length = head & 1 == 1, head >> 1 & 3, head >> 3
        need(kind != 3, "bad_frame", "zstd: reserved block type")
        need(length <= min(window, MAX_BLOCK), "bad_frame", "zstd: block above its maximum")
        held = 1 if kind == 1 else length
        need(at + held <= len(stored), "bad_frame", "zstd: cut block")
        blocks.append((kind, at, held, None if kind == 2 else length))
        total += 0 if kind == 2 else length
        need(total <= size, "bad_frame", "zstd: blocks past the size")
        at += held
    checksum = None
    if has_sum:
        need(at + 4 <= len(stored), "bad_frame", "zstd: cut checksum")
        checksum = stored[at:at + 4]
        at += 4
    need(at == len(stored), "bad_frame", "zstd: bytes after the frame")
    return blocks, checksum


def zstd_decode(stored, size):
    """Decodes one zstd frame to exactly `size` bytes. Frames with compressed blocks need the
    zstandard package; raw and run-length blocks are decoded here."""
    stored = bytes(stored)
    blocks, checksum = zstd_walk(stored, size)
    if any(kind == 2 for kind, _, _, _ in blocks):
        try:
            import zstandard
        except ImportError as error:
            raise CurtaError("codec_missing", "the zstandard package is not installed") from error
        try:
            out = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
        except zstandard.ZstdError as error:
            raise CurtaError("bad_frame", f"zstd: {error}") from error
    else:
        out = b"".join(stored[at:at + held] * (length if kind == 1 else 1)
                       for kind, at, held, length in blocks)
    need(len(out) == size, "bad_frame", "zstd: the frame decodes to another size")
    if checksum is not None:
        need(xxh64(out) & 0xFFFFFFFF == int.from_bytes(checksum, "little"),
             "bad_frame", "zstd: frame checksum")
    return out


def decode(codec, stored, size):
    """The decoded bytes of a section."""
    if codec == 0:
        return bytes(stored)
    return (zstd_decode if codec == 1 else lz4_decode)(stored, size)
