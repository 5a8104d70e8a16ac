# SPDX-License-Identifier: Apache-2.0
"""Makes small decoders of other families than Llama: layer norm, biases, learned positions, parallel
and post-normed blocks, head norms, caps, and a head of ops on rows of outputs."""

from dataclasses import dataclass
import struct

import vector_writer as w
from vector_model import WIDE, WORDS, Maker, Shape

EMBED, NORM_QUANT, LINEAR, LINEAR_ADD, HEAD_QUANT = 1, 2, 3, 4, 5
CACHE_APPEND, ATTEND, GATE_QUANT, SELECT, LOGITS = 6, 7, 8, 9, 10
BIAS, NORM, ADD, ADD_POSITION, SOFT_CAP, QUANTIZE = 11, 12, 13, 14, 15, 16
FIXED, SCALED, CODES8 = 1, 2, 3
TOKENS, OUTPUTS = 0, 1


@dataclass
class DecoderShape(Shape):
    """A decoder. `windows` and `bases` (of the rotary turn) go by layer, in turn."""

    norm: int = 1
    positions: int = None      # rows of add_position's tensor beyond the context; None: no positions
    bias: bool = False
    bias_exponents: tuple = (31,)
    gate: bool = True
    activation: int = 1
    parallel: bool = False
    post_norm: bool = False
    head_norm: bool = False
    windows: tuple = (0,)
    bases: tuple = (10000,)
    score_cap: int = 0
    logit_cap: int = 0
    row_fraction: int = 16     # of what `bias` and `norm` write
    outputs_rows: bool = False
    plain_end: bool = False    # the last rows are quantised without a norm


class DecoderMaker(Maker):
    """Builds one decoder."""

    def bias(self, name, width):
        """A row of biases, or NONE."""
        if not self.shape.bias:
            return w.NONE
        codes = [self.random.between(-32767, 32767) for _ in range(width)]
        exponents = self.shape.bias_exponents
        exponent = exponents[len(self.tensors.records) % len(exponents)]
        return self.tensors.add(name, 1, width, WIDE,
                                [struct.pack(f"<{width}h", *codes), struct.pack("<H", 50000)],
                                16, 0, 0, exponent)

    def phases_table(self, name, r, base):
        """The rotary turns of one base."""
        words = [int(2 ** 32 / 6.283185307179586 * base ** (-i / r)) for i in range(r)]
        return self.tensors.add(name, 1, r, WORDS, [struct.pack(f"<{r}I", *words)], 32)

    def plan(self):
        """The buffers by name."""
        s, p = self.shape, self.program
        head = s.width // s.heads
        kv = head * s.kv_heads
        slots = "xabcdefgh"
        rows = {"x": (FIXED, s.width, "x"), "a": (CODES8, s.width, "a"), "a2": (CODES8, s.width, "e"),
                "zq": (SCALED, s.width, "b"), "zk": (SCALED, kv, "c"), "zv": (SCALED, kv, "d"),
                "fq": (FIXED, s.width, "f"), "fk": (FIXED, kv, "g"), "fv": (FIXED, kv, "h"),
                "q": (CODES8, s.width, "a"), "o": (CODES8, s.width, "b"),
                "zo": (SCALED, s.width, "c"), "fo": (FIXED, s.width, "d"), "fn": (FIXED, s.width, "f"),
                "zg": (SCALED, s.ff, "b"), "zu": (SCALED, s.ff, "c"), "fg": (FIXED, s.ff, "d"),
                "h": (CODES8, s.ff, "g")}
        b = {}
        for name, (kind, width, slot) in rows.items():
            fraction = 0 if kind != FIXED else s.fraction if name == "x" else s.row_fraction
            b[name] = p.buffer(kind, TOKENS, width, slots.index(slot), fraction=fraction,
                               scales=s.heads if name == "q" else None)
        b["last"] = p.buffer(FIXED, OUTPUTS, s.width, 1, fraction=s.fraction)
        b["last_codes"] = p.buffer(CODES8, OUTPUTS, s.width, 2)
        p.output = b["out"] = p.buffer(FIXED, OUTPUTS, s.vocabulary, 3, fraction=16)
        return b

    def build(self):
        """The tensors and the program; gives the File."""
        s, p = self.shape, self.program
        table = self.weight("embed", s.vocabulary, s.width, gain=0)
        head = s.width // s.heads
        r = (head // 2 if s.phases is None else s.phases) if s.pairing else 0
        turns = [self.phases_table(f"phases.{base}", r, base) for base in s.bases] if r else [w.NONE]
        b = self.plan()
        p.op(EMBED, table, b["x"], s.spread)
        if s.positions is not None:
            p.op(ADD_POSITION, self.weight("positions", s.context + s.positions, s.width, gain=0),
                 b["x"])
        for layer in range(s.layers):
            self.layer(b, f"layer.{layer}.", turns[layer % len(turns)],
                       s.windows[layer % len(s.windows)])
        p.op(SELECT, b["x"], b["last"])
        if s.outputs_rows:
            self.outputs_rows(b, turns[0])
        elif s.plain_end:
            p.op(QUANTIZE, b["last"], b["last_codes"], s.spread)
        else:
            self.norm_quant("norm", b["last"], b["last_codes"])
        p.op(LOGITS, b["last_codes"], self.weight("head", s.vocabulary, s.width), b["out"])
        if s.bias:
            p.op(BIAS, b["out"], self.bias("head_bias", s.vocabulary), b["out"])
        if s.logit_cap:
            p.op(SOFT_CAP, b["out"], s.logit_cap)
        return self.file()

    def eps(self):
        """Two words."""
        return self.shape.eps & 0xFFFFFFFF, self.shape.eps >> 32

    def norm_quant(self, name, source, out):
        """norm_quant of the model's kind."""
        s = self.shape
        self.program.op(NORM_QUANT, source, self.gamma(name, s.width), out, s.norm, *self.eps(),
                        s.spread)

    def numbers(self, name, source, out, width):
        """`bias` when the model has biases or norms heads; gives the buffer to go on with."""
        if self.shape.bias or self.shape.head_norm:
            self.program.op(BIAS, source, self.bias(name, width), out)
            return out
        return source

    def add_block(self, name, b, codes, columns):
        """Back to the residual: linear_add and bias, or linear, bias, norm, add."""
        s, p = self.shape, self.program
        weight = self.weight(name, s.width, columns)
        if s.post_norm:
            p.op(LINEAR, codes, 1, weight, b["zo"])
            p.op(BIAS, b["zo"], self.bias(name + "_bias", s.width), b["fo"])
            p.op(NORM, b["fo"], self.gamma(name + "_norm", s.width), b["fn"], s.norm, *self.eps())
            p.op(ADD, b["fn"], b["x"])
        else:
            p.op(LINEAR_ADD, codes, weight, b["x"])
            if s.bias:
                p.op(BIAS, b["x"], self.bias(name + "_bias", s.width), b["x"])

    def layer(self, b, name, phases, window):
        """One layer."""
        s, p = self.shape, self.program
        head = s.width // s.heads
        kv = head * s.kv_heads
        pairing = s.pairing if phases != w.NONE else 0
        self.norm_quant(name + "attention_norm", b["x"], b["a"])
        if s.parallel:
            self.norm_quant(name + "ff_norm", b["x"], b["a2"])
        pairs = [(self.weight(name + role, rows, s.width), b["z" + role])
                 for role, rows in (("q", s.width), ("k", kv), ("v", kv))]
        p.op(LINEAR, b["a"], 3, *[word for pair in pairs for word in pair])
        keys, values = p.state(s.kv_heads, head), p.state(s.kv_heads, head)
        norms = [(self.gamma(name + role, head), *self.eps()) if s.head_norm else (w.NONE, 0, 0)
                 for role in ("q_norm", "k_norm")]
        q, k = (self.numbers(name + role + "_bias", b["z" + role], b["f" + role], rows)
                for role, rows in (("q", s.width), ("k", kv)))
        v = b["zv"]
        if s.bias:
            v = self.numbers(name + "v_bias", b["zv"], b["fv"], kv)
        p.op(HEAD_QUANT, q, b["q"], phases, pairing, s.hadamard, *norms[0])
        p.op(CACHE_APPEND, k, keys, phases, pairing, s.hadamard, *norms[1])
        p.op(CACHE_APPEND, v, values, w.NONE, 0, 0, w.NONE, 0, 0)
        m, e = self.attend_operand(head)
        p.op(ATTEND, b["q"], keys, values, b["o"], window, m, e, s.spread, s.score_cap,
             *s.attend_code)
        self.add_block(name + "o", b, b["o"], s.width)
        if not s.parallel:
            self.norm_quant(name + "ff_norm", b["x"], b["a2"])
        self.feed_forward(b, name)

    def feed_forward(self, b, name):
        """The second half of a layer, from a2."""
        s, p = self.shape, self.program
        pairs = [self.weight(name + "gate", s.ff, s.width), b["zg"]]
        if s.gate:
            pairs += [self.weight(name + "up", s.ff, s.width), b["zu"]]
        p.op(LINEAR, b["a2"], len(pairs) // 2, *pairs)
        gate = b["zg"]
        if s.bias:
            p.op(BIAS, gate, self.bias(name + "gate_bias", s.ff), b["fg"])
            gate = b["fg"]
        p.op(GATE_QUANT, gate, b["zu"] if s.gate else w.NONE, b["h"], s.activation, s.spread)
        self.add_block(name + "down", b, b["h"], s.ff)

    def outputs_rows(self, b, phases):
        """A norm, a block and a head_quant of one head on rows of outputs, down to last_codes."""
        s, p = self.shape, self.program

        def buffer(kind, width, slot, fraction=0):
            return p.buffer(kind, OUTPUTS, width, slot, fraction=fraction)

        normed, codes = buffer(FIXED, s.width, 4, 12), buffer(CODES8, s.width, 5)
        zg, fg, h = buffer(SCALED, s.ff, 6), buffer(FIXED, s.ff, 7, 9), buffer(CODES8, s.ff, 5)
        zd, back = buffer(SCALED, s.width, 6), buffer(FIXED, s.width, 7, 20)
        p.op(NORM, b["last"], self.gamma("last.norm", s.width), normed, 3 - s.norm, *self.eps())
        self.norm_quant("last.codes", normed, codes)
        p.op(LINEAR, codes, 1, self.weight("last.gate", s.ff, s.width), zg)
        p.op(BIAS, zg, w.NONE, fg)
        p.op(GATE_QUANT, fg, zg, h, s.activation, 0)      # fixed times scaled
        p.op(LINEAR, h, 1, self.weight("last.down", s.width, s.ff), zd)
        p.op(ADD, zd, normed)                              # scaled numbers into a sum
        p.op(BIAS, normed, w.NONE, back)                   # from fraction 12 to 20
        p.op(BIAS, back, self.bias("last.bias", s.width), back)
        p.op(HEAD_QUANT, back, b["last_codes"], phases, s.pairing, s.hadamard,
             self.gamma("last.head_norm", s.width), *self.eps())
