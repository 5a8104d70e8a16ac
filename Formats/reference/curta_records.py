# SPDX-License-Identifier: Apache-2.0
"""Numbers and records of the program section: the image record, buffers, states."""

from dataclasses import dataclass, field
import struct

from curta_errors import need

FIXED, SCALED, CODES8 = 1, 2, 3
TOKENS, OUTPUTS, PATCHES = 0, 1, 2
EMBED, NORM_QUANT, LINEAR, LINEAR_ADD, HEAD_QUANT = 1, 2, 3, 4, 5
CACHE_APPEND, ATTEND, GATE_QUANT, SELECT, LOGITS = 6, 7, 8, 9, 10
BIAS, NORM, ADD, ADD_POSITION, SOFT_CAP = 11, 12, 13, 14, 15
QUANTIZE, PATCHIFY, PREFIX, POOL = 16, 17, 18, 19
NO_RESIZE, STRETCH, CROP = 0, 1, 2
BOX, BILINEAR, BICUBIC = 1, 2, 3
ROW, MEAN = 1, 2
NUMBERS = (FIXED, SCALED)
NONE = 0xFFFFFFFF
MAX_BUFFERS, MAX_STATES, MAX_OPS, MAX_SLOTS = 1024, 2048, 65536, 64
MAX_CONTEXT = 1 << 20
MAX_WIDTH = {FIXED: 1 << 24, SCALED: 1 << 24, CODES8: 1 << 17}
MAX_HEAD_WIDTH = 256
MAX_EDGE, MAX_SCALED_EDGE = 4096, 8192
MAX_PREFIX = 64


@dataclass
class Buffer:
    """A planned buffer."""

    type: int
    rows: int
    width: int
    scales: int
    fraction: int
    slot: int


@dataclass
class State:
    """A key or value cache."""

    heads: int
    width: int


@dataclass
class Image:
    """The image record."""

    height: int
    width: int
    channels: int
    patch_height: int
    patch_width: int
    resize: int
    edge: int
    filter: int

    @property
    def patches(self):
        """P, the number of patches."""
        return self.height // self.patch_height * (self.width // self.patch_width)


@dataclass
class Program:
    """A checked program; ops are tuples (number, 15 operands). `image` is None for tokens."""

    context: int
    vocabulary: int
    output: int
    slots: int
    image: Image = None
    buffers: list = field(default_factory=list)
    states: list = field(default_factory=list)
    ops: list = field(default_factory=list)


def signed(word):
    """A u32 read as i32."""
    return word - (1 << 32) if word >> 31 else word


def read_image(raw, context):
    """The image record."""
    image = Image(*struct.unpack("<8I", raw))

    def ok(condition, what):
        need(condition, "bad_program", f"image: {what}")

    ok(1 <= image.height <= MAX_EDGE, "height")
    ok(1 <= image.width <= MAX_EDGE, "width")
    ok(image.channels in (1, 3), "channels")
    ok(image.patch_height and image.height % image.patch_height == 0, "patch height")
    ok(image.patch_width and image.width % image.patch_width == 0, "patch width")
    ok(image.resize in (NO_RESIZE, STRETCH, CROP), "resize")
    least, most = max(image.height, image.width), MAX_SCALED_EDGE
    least, most = (least, most) if image.resize == CROP else (0, 0)
    ok(least <= image.edge <= most, "edge")
    filters = (0,) if image.resize == NO_RESIZE else (BOX, BILINEAR, BICUBIC)
    ok(image.filter in filters, "filter")
    ok(image.patches <= context <= image.patches + MAX_PREFIX, "context")
    return image


def read_buffer(raw, slots, image, where):
    """One buffer record; `image` is None for tokens."""
    kind, rows, width, scales, fraction, slot, reserved = struct.unpack("<IIIIiI8s", raw)
    need(kind in MAX_WIDTH, "bad_plan", f"{where}: type")
    known = (TOKENS, OUTPUTS, PATCHES) if image else (TOKENS, OUTPUTS)
    need(rows in known, "bad_plan", f"{where}: rows")
    need(1 <= width <= MAX_WIDTH[kind], "bad_plan", f"{where}: width")
    least, most = {FIXED: (0, 0), SCALED: (1, 1), CODES8: (1, 1024)}[kind]
    need(least <= scales <= most, "bad_plan", f"{where}: scales")
    need(kind == FIXED or width % scales == 0, "bad_plan", f"{where}: scales divide width")
    need(0 <= fraction <= (30 if kind == FIXED else 0), "bad_plan", f"{where}: fraction")
    need(slot < slots, "bad_plan", f"{where}: slot")
    need(not any(reserved), "bad_padding", f"{where}: reserved")
    return Buffer(kind, rows, width, scales, fraction, slot)


def read_state(raw, where):
    """One state record."""
    kind, heads, width, reserved = struct.unpack("<III20s", raw)
    need(kind == 1, "bad_plan", f"{where}: type")
    need(1 <= heads <= 1024, "bad_plan", f"{where}: heads")
    need(1 <= width <= MAX_HEAD_WIDTH, "bad_plan", f"{where}: width")
    need(not any(reserved), "bad_padding", f"{where}: reserved")
    return State(heads, width)
