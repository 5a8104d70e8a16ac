# SPDX-License-Identifier: Apache-2.0
"""Makes small Llama-style models with pseudo-random codes, as records for vector_writer."""

from dataclasses import dataclass, field
import struct

from vector_mask import masked
from vector_overlay import overlaid
import vector_writer as w

GRID, WIDE, WORDS = 1, 2, 3


@dataclass
class Coding:
    """How a weight is coded: bits 0 is wide."""

    bits: int = 8
    group: int = 0
    flags: int = 0
    extreme: bool = False
    exponent: int = None
    mask: tuple = None  # (form, percent of blocks, 0), (form, n, m) or (form, kept columns, 0)
    overlays: tuple = ()  # (kind, p, columns or percent of cells, extreme)


@dataclass
class Shape:
    """A model. `codings` are per role; role "*" is the default."""

    seed: int = 1
    vocabulary: int = 16
    width: int = 32
    layers: int = 1
    heads: int = 2
    kv_heads: int = 1
    ff: int = 32
    context: int = 16
    pairing: int = 2
    phases: int = None       # r; None: half of the head width
    hadamard: int = 0        # block of q and k
    spread: int = 0          # block of rows
    window: int = 0
    fraction: int = 16
    eps: int = 42950         # 1e-5 at fraction 16
    codings: dict = field(default_factory=lambda: {"*": Coding()})
    codecs: tuple = (0,)     # of the data sections, in turn
    attend_scale: tuple = None
    attend_code: tuple = ()  # bits, step, shift
    slots_shared: bool = True


class Maker:
    """Builds one model; after `build`, `tensors`, `program` and `file` may be changed."""

    def __init__(self, shape):
        self.shape, self.random = shape, w.Stream(shape.seed * 0x9E3779B9 + 12345)
        self.tensors = w.Tensors()
        self.program = w.Program(shape.context, shape.vocabulary)

    def code(self, low, high, extreme):
        """A code; extreme ones are the two ends."""
        if extreme:
            return (low, high)[self.random.below(2)]
        return (self.random.between(low, high) + self.random.between(low, high)) // 2

    def weight(self, name, rows, columns, gain=4):
        """A grid or wide tensor by the coding of its role; gives its index."""
        role = name.split(".")[-1]
        coding = self.shape.codings.get(role, self.shape.codings.get("*"))
        r, extreme = self.random, coding.extreme
        bits = coding.bits
        low, high = ((-32767, 32767) if bits == 0 else (-127, 127) if bits == 8
                     else (-(1 << bits - 1), (1 << bits - 1) - 1))
        codes = [[self.code(low, high, extreme) for _ in range(columns)] for _ in range(rows)]
        mantissas = [65535 if extreme else r.between(20000, 65535) for _ in range(rows)]
        groups = -(-columns // coding.group) if coding.group else 1
        largest = max(-low, high)
        streams, scales, offsets = [struct.pack(f"<{rows}H", *mantissas)], None, None
        if coding.flags & 1:
            scales = [255 if extreme else r.between(60, 255) for _ in range(rows * groups)]
            scales[0] = scales[0] if extreme else 0
            largest *= 255
        if coding.flags & 2:
            offsets = [r.between(-300, 300) for _ in range(rows * groups)]
            if extreme:
                offsets = [(-32767, 32767)[r.below(2)] for _ in range(rows * groups)]
        exponent = coding.exponent
        if exponent is None:  # the largest weight is about gain / sqrt(columns), or 1 for gain 0
            exponent = (largest * 65535).bit_length()
            exponent += max(0, columns.bit_length() // 2 - gain // 2) if gain else 0
        if bits == 0:
            raw = b"".join(struct.pack(f"<{columns}h", *row) for row in codes)
            return self.tensors.add(name, rows, columns, WIDE, [raw] + streams, 16, 0, 0, exponent)
        record = None
        if coding.mask:
            (packed, scales, offsets, index), record = masked(r, coding.mask, codes, bits, scales,
                                                              offsets)
        else:
            packed = w.pack_codes(codes, bits)
        streams = [packed] + streams
        streams += [bytes(scales)] if scales else []
        streams += [struct.pack(f"<{len(offsets)}h", *offsets)] if offsets else []
        streams += [index] if record else []
        overlays = [overlaid(r, rows, columns, overlay) for overlay in coding.overlays]
        return self.tensors.add(name, rows, columns, GRID, streams, bits, coding.flags,
                                coding.group, exponent, record, overlays)

    def gamma(self, name, width):
        """A norm weight around 1."""
        codes = [self.random.between(12000, 32767) for _ in range(width)]
        codes[0] = -codes[0]
        return self.tensors.add(name, 1, width, WIDE,
                                [struct.pack(f"<{width}h", *codes), struct.pack("<H", 43690)],
                                16, 0, 0, 30)

    def attend_operand(self, head_width):
        """log2(e) / sqrt(w), divided by its block with a Hadamard, as (m, e)."""
        if self.shape.attend_scale:
            return self.shape.attend_scale
        value = 1.4426950408889634 / head_width ** 0.5
        value /= self.shape.hadamard or 1
        e = 15
        while value * 2 ** e < 32768:
            e += 1
        return int(value * 2 ** e), e

    def build(self):
        """The tensors and the program; gives the File."""
        s, p = self.shape, self.program
        head = s.width // s.heads
        kv = head * s.kv_heads
        table = self.weight("embed", s.vocabulary, s.width, gain=0)
        phases, r = w.NONE, 0
        if s.pairing:
            r = head // 2 if s.phases is None else s.phases
            words = [int(2 ** 32 / 6.283185307179586 * 10000 ** (-i / r)) for i in range(r)]
            phases = self.tensors.add("phases", 1, r, WORDS, [struct.pack(f"<{r}I", *words)], 32)

        slots = iter(range(64))
        slot = {name: next(slots) for name in ("x", "a", "b", "c", "d")}
        if not s.slots_shared:
            slot = None

        def place(name):
            return slot[name] if slot else next(slots)

        x = p.buffer(1, 0, s.width, place("x"), fraction=s.fraction)
        a = p.buffer(3, 0, s.width, place("a"))
        zq, zk, zv = (p.buffer(2, 0, width, place(name))
                      for width, name in ((s.width, "b"), (kv, "c"), (kv, "d")))
        q = p.buffer(3, 0, s.width, place("a"), scales=s.heads)
        o = p.buffer(3, 0, s.width, place("b"))
        zg, zu = p.buffer(2, 0, s.ff, place("b")), p.buffer(2, 0, s.ff, place("c"))
        h = p.buffer(3, 0, s.ff, place("d"))
        last = p.buffer(1, 1, s.width, place("a"), fraction=s.fraction)
        last_codes = p.buffer(3, 1, s.width, place("b"))
        p.output = p.buffer(1, 1, s.vocabulary, place("c"), fraction=16)
        eps = (s.eps & 0xFFFFFFFF, s.eps >> 32)
        m, e = self.attend_operand(head)
        p.op(1, table, x, s.spread)
        for layer in range(s.layers):
            def name(role, layer=layer):
                return f"layer.{layer}.{role}"
            keys, values = p.state(s.kv_heads, head), p.state(s.kv_heads, head)
            gamma = self.gamma(name("attention_norm"), s.width)
            p.op(2, x, gamma, a, 1, *eps, s.spread)
            weights = [self.weight(name(role), rows, s.width)
                       for role, rows in (("q", s.width), ("k", kv), ("v", kv))]
            p.op(3, a, 3, weights[0], zq, weights[1], zk, weights[2], zv)
            p.op(5, zq, q, phases, s.pairing, s.hadamard, w.NONE)
            p.op(6, zk, keys, phases, s.pairing, s.hadamard, w.NONE)
            p.op(6, zv, values, w.NONE, 0, 0, w.NONE)
            p.op(7, q, keys, values, o, s.window, m, e, s.spread, *((0, *s.attend_code) if s.attend_code else ()))
            p.op(4, o, self.weight(name("o"), s.width, s.width), x)
            p.op(2, x, self.gamma(name("ff_norm"), s.width), a, 1, *eps, s.spread)
            gate, up = (self.weight(name(role), s.ff, s.width) for role in ("gate", "up"))
            p.op(3, a, 2, gate, zg, up, zu)
            p.op(8, zg, zu, h, 1, s.spread)
            p.op(4, h, self.weight(name("down"), s.width, s.ff), x)
        p.op(9, x, last)
        p.op(2, last, self.gamma("norm", s.width), last_codes, 1, *eps, s.spread)
        p.op(10, last_codes, self.weight("head", s.vocabulary, s.width), p.output)
        return self.file()

    def file(self, minor=0, values=None, extra=()):
        """The File of the present tensors and program."""
        file = w.File(minor)
        file.add(1, w.metadata({"name": "vector"} if values is None else values))
        file.add(3, self.tensors.section())
        file.add(4, self.program.section())
        codecs = self.shape.codecs
        for i, stream in enumerate(self.tensors.streams):
            file.add(5, stream, index=i, codec=codecs[i % len(codecs)])
        for kind, data in extra:
            file.add(kind, data, flags=0)
        return file
