# SPDX-License-Identifier: Apache-2.0
"""Makes small image models: vision transformers with norms before or behind the blocks, class and
register tokens, and rows of patches that go through ops of their own."""

from dataclasses import dataclass

import vector_decoder as d
from vector_decoder import (CODES8, DecoderMaker, DecoderShape, FIXED, OUTPUTS, QUANTIZE, SCALED,
                            TOKENS)
import vector_writer as w

PATCHIFY, PREFIX, POOL = 17, 18, 19
PATCHES = 2
ROW, MEAN = 1, 2
NONE, STRETCH, CROP = 0, 1, 2
BOX, BILINEAR, BICUBIC = 1, 2, 3


@dataclass
class ImageShape(DecoderShape):
    """An image model. `end` tells how rows of tokens become the output: "pool-norm", "norm-pool",
    "pool", "outputs-rows" (with a head), or "features" (without)."""

    size: tuple = (16, 16, 3)  # height, width, channels
    patch: tuple = (8, 8)
    resize: tuple = (NONE, 0, 0)  # resize, edge, filter
    prefix: int = 0
    pool: tuple = (MEAN, 0)
    behind: bool = False       # norms behind the sums, rows quantised without a norm
    end: str = "pool-norm"
    patch_rows: bool = False

    def __post_init__(self):
        (height, width, _), (down, across) = self.size, self.patch
        self.context = height // down * (width // across) + self.prefix


class ImageMaker(DecoderMaker):
    """Builds one image model."""

    def __init__(self, shape):
        super().__init__(shape)
        self.program.image = (*shape.size, *shape.patch, *shape.resize)

    def plan(self):
        """The buffers by name."""
        s, p, b = self.shape, self.program, super().plan()
        elements = s.patch[0] * s.patch[1] * s.size[2]
        b["y"] = p.buffer(FIXED, TOKENS, s.width, 9, fraction=s.fraction)
        b["pixels"] = p.buffer(CODES8, PATCHES, elements, 1)
        b["zp"] = p.buffer(SCALED, PATCHES, s.width, 2)
        b["fp"] = p.buffer(FIXED, PATCHES, s.width, 3, fraction=s.row_fraction)
        b["pc"] = p.buffer(CODES8, PATCHES, s.width, 1)
        b["last_row"] = p.buffer(FIXED, OUTPUTS, s.width, 1, fraction=s.row_fraction)
        return b

    def build(self):
        """The tensors and the program; gives the File."""
        s = self.shape
        head = s.width // s.heads
        r = (head // 2 if s.phases is None else s.phases) if s.pairing else 0
        turns = [self.phases_table(f"phases.{base}", r, base) for base in s.bases] if r else [w.NONE]
        b = self.b = self.plan()
        self.start(b, turns[0])
        for layer in range(s.layers):
            self.layer(b, f"layer.{layer}.", turns[layer % len(turns)], 0)
        self.finish(b, turns[0])
        return self.file()

    def start(self, b, phases):
        """From pixels to rows of tokens in x."""
        s, p = self.shape, self.program
        p.op(PATCHIFY, b["pixels"])
        elements = s.patch[0] * s.patch[1] * s.size[2]
        p.op(d.LINEAR, b["pixels"], 1, self.weight("patch", s.width, elements, gain=-9), b["zp"])
        patches = b["zp"]
        if s.bias or s.patch_rows:
            p.op(d.BIAS, b["zp"], self.bias("patch_bias", s.width), b["fp"])
            patches = b["fp"]
        if s.patch_rows:
            patches = self.patch_rows(b, phases)
        rows = self.weight("prefix", s.prefix, s.width, gain=0) if s.prefix else w.NONE
        p.op(PREFIX, patches, rows, b["x"])
        if s.positions is not None:
            p.op(d.ADD_POSITION, self.weight("positions", s.context + s.positions, s.width, gain=0),
                 b["x"])

    def patch_rows(self, b, phases):
        """A block and a head_quant on rows of patches, fp to zp."""
        s, p = self.shape, self.program
        self.norm_quant("patch_norm", b["fp"], b["pc"])
        square = self.weight("patch_gate", s.width, s.width)
        p.op(d.LINEAR, b["pc"], 1, square, b["zp"])
        p.op(d.GATE_QUANT, b["zp"], w.NONE, b["pc"], s.activation, s.spread)
        p.op(d.LINEAR_ADD, b["pc"], square, b["fp"])
        p.op(d.HEAD_QUANT, b["fp"], b["pc"], phases, s.pairing, 0,
             self.gamma("patch_head", s.width), *self.eps())
        p.op(d.LINEAR, b["pc"], 1, square, b["zp"])
        return b["zp"]

    def norm_quant(self, name, source, out):
        """norm_quant, or quantize where the norms are behind."""
        if self.shape.behind:
            self.program.op(QUANTIZE, source, out, self.shape.spread)
        else:
            super().norm_quant(name, source, out)

    def add_block(self, name, b, codes, columns):
        """Back to the residual, which changes its buffer when a norm is behind it."""
        s, p = self.shape, self.program
        if not s.behind:
            super().add_block(name, b, codes, columns)
            return
        p.op(d.LINEAR, codes, 1, self.weight(name, s.width, columns), b["zo"])
        more = b["zo"]
        if s.bias:
            p.op(d.BIAS, b["zo"], self.bias(name + "_bias", s.width), b["fo"])
            more = b["fo"]
        p.op(d.ADD, more, b["x"])
        p.op(d.NORM, b["x"], self.gamma(name + "_norm", s.width), b["y"], s.norm, *self.eps())
        b["x"], b["y"] = b["y"], b["x"]

    def finish(self, b, phases):
        """From rows of tokens to the output."""
        s, p = self.shape, self.program
        if s.end == "norm-pool":
            p.op(d.NORM, b["x"], self.gamma("norm", s.width), b["fn"], s.norm, *self.eps())
            p.op(POOL, b["fn"], b["last_row"], *s.pool)
            p.op(QUANTIZE, b["last_row"], b["last_codes"], s.spread)
        else:
            p.op(POOL, b["x"], b["last"], *s.pool)
        if s.end == "outputs-rows":
            self.outputs_rows(b, phases)
        if s.end == "pool":
            p.op(QUANTIZE, b["last"], b["last_codes"], s.spread)
        if s.end == "pool-norm":
            DecoderMaker.norm_quant(self, "norm", b["last"], b["last_codes"])
        if s.end == "features":
            p.op(d.NORM, b["last"], self.gamma("norm", s.width), b["out"], s.norm, *self.eps())
        else:
            p.op(d.LOGITS, b["last_codes"], self.weight("head", s.vocabulary, s.width), b["out"])
        if s.bias:
            p.op(d.BIAS, b["out"], self.bias("head_bias", s.vocabulary), b["out"])
        if s.logit_cap:
            p.op(d.SOFT_CAP, b["out"], s.logit_cap)
