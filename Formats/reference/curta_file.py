# SPDX-License-Identifier: Apache-2.0
"""A strict reader of the Curta file: every rule of curta-file.md, in the order it states."""

from dataclasses import dataclass, field
import struct

from curta_codecs import decode, xxh64
from curta_errors import CurtaError, need
from curta_program import read_program
from curta_tensors import check_payloads, read_tensors

MAGIC = bytes([0x89, 0x43, 0x55, 0x52, 0x54, 0x41, 0x0D, 0x0A])
METADATA, TOKENIZER, TENSORS, PROGRAM, DATA = 1, 2, 3, 4, 5
KNOWN = (METADATA, TOKENIZER, TENSORS, PROGRAM, DATA)
MAX_SECTIONS = 65536
MAX_SECTION_BYTES = 1 << 34
MAX_RATIO = 1024
MAX_METADATA_ENTRIES = 1024
MAX_TEXT = 65536
KEY_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")


def align64(x):
    """x rounded up to a multiple of 64."""
    return (x + 63) // 64 * 64


@dataclass
class Entry:
    """One directory entry."""

    kind: int
    index: int
    codec: int
    flags: int
    offset: int
    stored_size: int
    size: int
    hash: int


@dataclass
class CurtaFile:
    """A file that has passed every check."""

    identity: int = 0
    minor: int = 0
    entries: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    tensors: list = field(default_factory=list)
    program: object = None
    tokenizer: bytes = None


class Cursor:
    """Takes fields from bytes; running out raises the given status."""

    def __init__(self, data, status):
        self.data, self.status, self.at = data, status, 0

    def take(self, count, where):
        """The next `count` bytes."""
        need(count <= len(self.data) - self.at, self.status, f"{where} past the end")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, count, where):
        """The next unsigned integer of `count` bytes."""
        return int.from_bytes(self.take(count, where), "little")


def check_text(data, where):
    """UTF-8 without NUL (bad_text); Python's decoder refuses overlong forms and surrogates."""
    try:
        text = bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CurtaError("bad_text", where) from error
    need("\0" not in text, "bad_text", f"{where}: NUL")
    return text


def read_header(data):
    """Header checks, in order; gives (minor, section_count, directory hash)."""
    need(len(data) >= 64, "truncated", "header")
    magic, major, minor, count, size, dir_hash, table_set, reserved, head_hash = \
        struct.unpack("<8sHHIQQI20sQ", data[:64])
    need(magic == MAGIC, "bad_magic", "header")
    need(xxh64(data[:56]) == head_hash, "bad_checksum", "header")
    need(major == 1, "bad_version", "header")
    need(table_set == 1, "unsupported", "table set")
    need(not any(reserved), "bad_padding", "header reserved")
    need(count != 0, "bad_size", "section count")
    need(count <= MAX_SECTIONS, "over_limit", "section count")
    need(len(data) >= size, "truncated", "file size")
    need(len(data) <= size, "bad_layout", "bytes after the file")
    need(64 + 48 * count <= len(data), "truncated", "directory")
    need(xxh64(data[64:64 + 48 * count]) == dir_hash, "bad_checksum", "directory")
    return minor, count, dir_hash


def check_order(entry, previous, where):
    """Kinds ascend; data indices count from 0; every other kind occurs once with index 0."""
    if entry.kind == DATA:
        expected = previous.index + 1 if previous and previous.kind == DATA else 0
        need(entry.index == expected, "duplicate", f"{where}: index")
        need(previous is None or previous.kind <= DATA, "duplicate", f"{where}: order of kinds")
    else:
        need(entry.index == 0, "duplicate", f"{where}: index")
        need(previous is None or previous.kind < entry.kind, "duplicate", f"{where}: kind")


def check_entry(entry, previous, offset, file_size, where):
    """The rules of one directory entry, in the order of its fields."""
    if entry.kind not in KNOWN:
        need(entry.flags & 1 == 0, "unknown", f"{where}: required section of unknown kind")
    check_order(entry, previous, where)
    need(entry.codec <= 2, "bad_frame", f"{where}: codec")
    need(entry.kind not in (METADATA, TENSORS, PROGRAM) or entry.codec == 0,
         "bad_frame", f"{where}: must be stored")
    need(entry.flags <= 1, "bad_padding", f"{where}: flags")
    need(entry.kind not in KNOWN or entry.flags == 1, "bad_padding", f"{where}: not required")
    need(entry.offset == offset, "bad_layout", f"{where}: offset")
    need(entry.stored_size != 0, "bad_size", f"{where}: stored size")
    need(entry.offset + entry.stored_size <= file_size, "truncated", where)
    need(entry.size != 0, "bad_size", f"{where}: size")
    need(entry.size <= MAX_SECTION_BYTES, "over_limit", f"{where}: size")
    if entry.codec == 0:
        need(entry.size == entry.stored_size, "bad_size", f"{where}: stored size and size differ")
    else:
        need(entry.size <= MAX_RATIO * entry.stored_size, "over_limit", f"{where}: ratio")


def read_directory(data, count):
    """Entries, layout, padding and section hashes."""
    entries, previous, offset = [], None, align64(64 + 48 * count)
    for number in range(count):
        entry = Entry(*struct.unpack_from("<IIIIQQQQ", data, 64 + 48 * number))
        check_entry(entry, previous, offset, len(data), f"section {number}")
        entries.append(entry)
        previous = entry
        end = entry.offset + entry.stored_size
        offset = align64(end)
    need(end == len(data), "bad_layout", "the last section does not end the file")
    kinds = [entry.kind for entry in entries]
    for kind in (METADATA, TENSORS, PROGRAM):
        need(kind in kinds, "missing", f"section of kind {kind}")
    end = 64 + 48 * count
    for number, entry in enumerate(entries):
        need(not any(data[end:entry.offset]), "bad_padding", f"before section {number}")
        end = entry.offset + entry.stored_size
    for number, entry in enumerate(entries):
        stored = data[entry.offset:entry.offset + entry.stored_size]
        need(xxh64(stored) == entry.hash, "bad_checksum", f"section {number}")
    return entries


def read_metadata(data):
    """The metadata as a dict of int and str."""
    cursor, values, previous = Cursor(data, "bad_metadata"), {}, b""
    count = cursor.number(4, "count")
    need(count <= MAX_METADATA_ENTRIES, "over_limit", "metadata entries")
    for number in range(count):
        where = f"metadata entry {number}"
        key_length = cursor.number(2, where)
        need(1 <= key_length <= 255, "bad_metadata", f"{where}: key length")
        key = cursor.take(key_length, where)
        need(KEY_BYTES.issuperset(key), "bad_metadata", f"{where}: key")
        need(number == 0 or key > previous, "duplicate", f"{where}: key")
        value_type = cursor.number(1, where)
        need(value_type in (1, 2), "bad_metadata", f"{where}: type")
        if value_type == 1:
            value = cursor.number(8, where)
        else:
            length = cursor.number(4, where)
            need(length <= MAX_TEXT, "over_limit", f"{where}: text")
            value = check_text(cursor.take(length, where), where)
        values[key.decode("ascii")] = value
        previous = key
    need(cursor.at == len(data), "bad_metadata", "bytes after the last entry")
    return values


def read_file(data):
    """Checks the whole file and gives a CurtaFile, or raises CurtaError."""
    data = bytes(data)
    result = CurtaFile()
    result.minor, count, result.identity = read_header(data)
    result.entries = read_directory(data, count)

    def stored(entry):
        return data[entry.offset:entry.offset + entry.stored_size]

    def one(kind):
        return next((entry for entry in result.entries if entry.kind == kind), None)

    streams = [entry for entry in result.entries if entry.kind == DATA]
    result.metadata = read_metadata(stored(one(METADATA)))
    result.tensors = read_tensors(stored(one(TENSORS)), [entry.size for entry in streams])
    result.program = read_program(stored(one(PROGRAM)), result.tensors)
    tokenizer = one(TOKENIZER)
    if tokenizer:  # its contents: curta-tokenizer.md, curta_tokenizer.py
        result.tokenizer = decode(tokenizer.codec, stored(tokenizer), tokenizer.size)
    check_payloads(result.tensors,
                   lambda i: decode(streams[i].codec, stored(streams[i]), streams[i].size))
    return result
