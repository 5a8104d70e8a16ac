# SPDX-License-Identifier: Apache-2.0
"""The valid vectors: small models that together use every part of the format."""

import hashlib

from curta_file import read_file
from curta_interpreter import Session
from vector_decoder import DecoderMaker, DecoderShape
from vector_model import Coding, Maker, Shape
from vector_writer import Stream, zstd_frame, zstd_package

MIXED = {"*": Coding(8), "embed": Coding(0), "q": Coding(3), "k": Coding(5), "v": Coding(6),
         "o": Coding(7), "gate": Coding(2), "up": Coding(4, 32, 3), "down": Coding(4, 32, 1),
         "head": Coding(8, 32, 1)}
GROUPED = {"*": Coding(4, 32, 3), "embed": Coding(4, 32, 3), "k": Coding(2, 32, 1),
           "v": Coding(3, 64, 3), "o": Coding(8, 32, 3), "gate": Coding(5, 0, 1),
           "down": Coding(6, 96, 3), "head": Coding(0)}
EXTREME = {"*": Coding(8, 32, 3, extreme=True), "embed": Coding(0, extreme=True, exponent=-64),
           "q": Coding(8, extreme=True, exponent=64), "k": Coding(8, extreme=True, exponent=-64),
           "gate": Coding(2, extreme=True, exponent=-64), "up": Coding(7, extreme=True, exponent=64),
           "o": Coding(8, 32, 3, True, -64), "down": Coding(0, extreme=True, exponent=-64),
           "head": Coding(8, 32, 3, True, -64)}
TEXTS = {"name": "Curta \u00e9 \u20ac \U0001d11e \x1b[31m %n", "empty": "", "k" * 255: 7,
         "largest": (1 << 64) - 1, "zero": 0, "0._-": "x" * 300, "architecture": "llama",
         "sampling.top_k": 40, "sampling.temperature.q16": 65536}

MASKED = {"*": Coding(4, mask=(1, 50, 0)), "embed": Coding(8), "q": Coding(4, 32, 1, mask=(1, 50, 0)),
          "k": Coding(8, mask=(2, 2, 4)), "v": Coding(4, 64, 1, mask=(3, 50, 0)),
          "o": Coding(8, 32, 3, mask=(1, 40, 0)), "gate": Coding(3, mask=(1, 30, 0)),
          "up": Coding(6, 32, 3, mask=(1, 60, 0)), "down": Coding(5, 32, 1, mask=(2, 5, 8)),
          "head": Coding(8, mask=(1, 50, 0))}
MASKED_EDGES = {"*": Coding(7, mask=(2, 1, 2)), "embed": Coding(4),
                "k": Coding(2, 0, 1, mask=(3, 2, 0)), "v": Coding(4, mask=(2, 3, 4)),
                "o": Coding(8, 32, 3, mask=(1, 60, 0)), "gate": Coding(4, 32, 3, mask=(1, 50, 0)),
                "up": Coding(5, 96, mask=(1, 50, 0)), "down": Coding(4, 32, 3, mask=(1, 70, 0)),
                "head": Coding(8, 32, 1, mask=(1, 1, 0))}

OVERLAID = {"*": Coding(4), "embed": Coding(8), "q": Coding(4, 32, 1, overlays=((2, 3, 3, False),)),
            "k": Coding(3, 32, 1, overlays=((3, 4, 9, False),)),
            "v": Coding(4, 64, 1, mask=(3, 50, 0), overlays=((2, 5, 1, False), (3, 4, 4, False))),
            "o": Coding(8, 32, 3, mask=(1, 40, 0), overlays=((3, 8, 2, False),)),
            "gate": Coding(2, 0, 1, overlays=((2, 0, 96, False), (3, 0, 100, False))),
            "up": Coding(6, 32, 3, mask=(1, 60, 0), overlays=((2, 7, 17, False),)),
            "down": Coding(3, 32, 1, overlays=((3, 4, 1, False),)),
            "head": Coding(8, overlays=((2, 0, 5, False), (3, 1, 3, False)))}
OVERLAID_EDGES = {"*": Coding(8, 32, 3, True, overlays=((2, 15, 40, True), (3, 15, 100, True))),
                  "embed": Coding(4), "o": Coding(7, overlays=((3, 15, 0, True),)),
                  "down": Coding(2, overlays=((2, 15, 1, True), (3, 0, 0, True))),
                  "head": Coding(5, mask=(2, 3, 4), overlays=((2, 3, 39, True),))}

TINY = Shape(seed=1, codings={"*": Coding(4), "embed": Coding(8)})
SHAPES = {
    "tiny": TINY,
    "bits": Shape(seed=2, codings=MIXED, pairing=1, hadamard=16),
    "groups": Shape(seed=3, codings=GROUPED, width=64, ff=96, heads=4, kv_heads=2),
    "padded": Shape(seed=4, codings={**MIXED, "up": Coding(4, 32, 3), "v": Coding(8)}, width=40,
                    ff=36, heads=2, kv_heads=2, vocabulary=19, pairing=1, phases=7),
    "no-phases": Shape(seed=5, pairing=0, hadamard=8, heads=4, kv_heads=4, vocabulary=5),
    "window": Shape(seed=6, window=4, layers=2, heads=4, kv_heads=1, phases=2, context=24,
                    codings={"*": Coding(5)}),
    "extreme": Shape(seed=7, codings=EXTREME, eps=1 << 40, fraction=30),
    "fraction-0": Shape(seed=8, fraction=0, eps=0, codings={"*": Coding(6)}),
    "one-head": Shape(seed=9, heads=1, kv_heads=1, vocabulary=3, slots_shared=False,
                      codings={"*": Coding(7)}),
    "sharp": Shape(seed=10, attend_scale=(65535, 9), codings={"*": Coding(8)}, context=32),
    "coded": Shape(seed=33, attend_code=(3, 2, 300), window=7, layers=2, context=24,
                   codings={"*": Coding(4)}),
    "lz4": Shape(seed=11, codecs=(2, 0), codings={"*": Coding(2)}, ff=64, eps=0),
    "zstd-blocks": Shape(seed=12, codecs=(1, 2, 0), codings={"*": Coding(3)}),
    "zstd": Shape(seed=13, codings={"*": Coding(2), "embed": Coding(8, extreme=True)}, ff=64),
    "minor-7": Shape(seed=14, codings={"*": Coding(4)}),
    "metadata": Shape(seed=15, codings={"*": Coding(4)}),
    "spread": Shape(seed=16, hadamard=4, spread=32, width=64, ff=96, heads=8, kv_heads=2,
                    codings={"*": Coding(4, 32, 1), "embed": Coding(4, 32, 3), "head": Coding(8)}),
}

SHAPES.update({
    "masked": Shape(seed=31, codings=MASKED, width=128, ff=96, heads=4, kv_heads=2, vocabulary=50,
                    codecs=(0, 2, 0)),
    "masked-edges": Shape(seed=32, codings=MASKED_EDGES, width=40, ff=116, heads=2, kv_heads=2,
                          vocabulary=19, codecs=(2, 0)),
})

SHAPES.update({
    "overlaid": Shape(seed=34, codings=OVERLAID, width=96, ff=520, heads=4, kv_heads=2, vocabulary=50,
                      codecs=(0, 2, 0), context=40),
    "overlaid-edges": Shape(seed=35, codings=OVERLAID_EDGES, width=40, ff=44, heads=2, kv_heads=2,
                            vocabulary=19, codecs=(2, 0)),
})

LOG2E = 94548  # log2(e) in units of 2^-16
SHAPES.update({
    "gpt2": DecoderShape(seed=21, layers=2, norm=2, positions=0, bias=True, gate=False, activation=2,
                         pairing=0, heads=4, kv_heads=4, ff=64, codings={"*": Coding(8)}),
    "gemma": DecoderShape(seed=22, layers=3, post_norm=True, head_norm=True, activation=2, heads=4,
                          kv_heads=2, windows=(3, 0), bases=(10000, 1000000), score_cap=2 * LOG2E,
                          logit_cap=3 << 16, row_fraction=14, context=20,
                          codings={"*": Coding(4, 32, 1), "embed": Coding(8)}),
    "pythia": DecoderShape(seed=23, layers=2, norm=2, bias=True, parallel=True, gate=False,
                           activation=3, heads=2, kv_heads=2, phases=2, ff=96,
                           codings={"*": Coding(6)}),
    "relu": DecoderShape(seed=24, norm=2, positions=2, bias=True, gate=False, activation=5, pairing=0,
                         heads=2, kv_heads=2, width=40, ff=100, vocabulary=7, fraction=12,
                         row_fraction=20, codings={"*": Coding(5), "positions": Coding(4, 32, 3)}),
    "quick-gelu": DecoderShape(seed=25, bias=True, head_norm=True, activation=4, pairing=1, heads=4,
                               kv_heads=1, hadamard=8, spread=32, ff=64, fraction=20,
                               row_fraction=10, bias_exponents=(29, 33, 31),
                               codings={"*": Coding(4, 32, 3), "embed": Coding(8)}),
    "gelu-erf-gate": DecoderShape(seed=26, norm=2, post_norm=True, activation=3, phases=3, heads=1,
                                  kv_heads=1, width=18, ff=7, vocabulary=3, eps=0, score_cap=1 << 16,
                                  positions=1, codings={"*": Coding(8), "positions": Coding(0)}),
    "decoder-extreme": DecoderShape(seed=27, norm=2, positions=0, bias=True, head_norm=True,
                                    post_norm=True, activation=5, codings=EXTREME, fraction=30,
                                    row_fraction=0, eps=1 << 40, bias_exponents=(-64, 20, 64),
                                    score_cap=1 << 26, logit_cap=1 << 26,
                                    attend_scale=(65535, -64)),
    "clamps": DecoderShape(seed=29, norm=2, positions=0, bias=True, gate=False, head_norm=True,
                           post_norm=True, fraction=30, row_fraction=30, eps=1 << 40,
                           bias_exponents=(30, 31),
                           codings={"*": Coding(8), "embed": Coding(8, exponent=21),
                                    "positions": Coding(8, exponent=21)}),
    "outputs-rows": DecoderShape(seed=28, bias=True, outputs_rows=True, activation=2, eps=77,
                                 codings={"*": Coding(7)}),
    "plain-end": DecoderShape(seed=30, plain_end=True, spread=8, ff=24, norm=2,
                              codings={"*": Coding(8)}),
})


def finish(name, maker, file):
    """The parts of a file that are not in its shape."""
    if name == "minor-7":
        file = maker.file(7, extra=((6, b"a signature that 1.0 does not know"),
                                    (9, bytes(range(100))), (0xFFFFFFFF, b"\x00")))
    if name == "metadata":
        file = maker.file(0, TEXTS)
    if name == "zstd-blocks":
        frame = file.sections[3]
        frame["stored"] = zstd_frame(maker.tensors.streams[0], window=0x00, checksum=True)
    if name == "zstd":
        for section in file.sections[3:]:
            if len(section["stored"]) > 100:
                section["codec"], section["stored"] = 1, zstd_package(section["stored"])
    return file


def build(name):
    """The bytes of one valid vector."""
    shape = SHAPES[name]
    maker = (DecoderMaker if isinstance(shape, DecoderShape) else Maker)(shape)
    file = maker.build()
    return finish(name, maker, file).build()


def tokens_for(name):
    """A fixed list of token ids that fills the context."""
    shape, random = SHAPES[name], Stream(77 + SHAPES[name].seed)
    ids = [random.below(shape.vocabulary) for _ in range(shape.context - 1)]
    return [shape.vocabulary - 1] + ids


def logits_hash(data, tokens, chunk):
    """(SHA-256 of all rows of logits, identity) of a run in steps of `chunk` tokens."""
    model = read_file(data)
    session, digest = Session(model), hashlib.sha256()
    for at in range(0, len(tokens), chunk):
        part = tokens[at:at + chunk]
        digest.update(session.step(part, len(part)).astype("<i4").tobytes())
    return digest.hexdigest(), f"{model.identity:016x}"
