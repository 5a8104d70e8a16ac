# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of image programs: the image record, rows of patches, quantize, patchify, prefix,
pool, and what may write the output."""

import struct

import vector_decoder as d
import vector_image as i
from vector_invalid import both, case, put
import vector_invalid_ops as token
from vector_invalid_ops import Sharing
from vector_model import Coding

PROGRAM, NONE = 2, token.NONE
RECORD, BUFFERS = 32, 64
SHAPE = dict(vocabulary=5, width=16, heads=2, kv_heads=1, ff=12, pairing=0, positions=0, bias=True,
             gate=False, activation=3, codings={"*": Coding(2)})


class SmallMaker(Sharing, i.ImageMaker):
    """A small image model with buffers that no op uses."""

    def plan(self):
        """The buffers by name, with spare ones."""
        b, p, s = super().plan(), self.program, self.shape
        elements = s.patch[0] * s.patch[1] * s.size[2]
        b["fixed_out"] = p.buffer(d.FIXED, d.OUTPUTS, s.width, 10, fraction=s.fraction)
        b["token_pixels"] = p.buffer(d.CODES8, d.TOKENS, elements, 10)
        b["split_pixels"] = p.buffer(d.CODES8, i.PATCHES, elements, 10,
                                     scales=next((k for k in (2, 3) if elements % k == 0), 1))
        b["patch_heads"] = p.buffer(d.CODES8, i.PATCHES, s.width, 10, scales=s.heads)
        b["patch_keys"] = p.buffer(d.SCALED, i.PATCHES, s.width // s.heads * s.kv_heads, 10)
        b["coarse_out"] = p.buffer(d.FIXED, d.OUTPUTS, s.width, 10, fraction=3)
        b["odd_out"] = p.buffer(d.FIXED, d.OUTPUTS, s.vocabulary, 10, fraction=16)
        b["token_heads"] = p.buffer(d.CODES8, d.TOKENS, s.width, 10, scales=s.width // 2)
        return b


def maker(**more):
    """A maker of the usual shape with changes."""
    return SmallMaker(i.ImageShape(**{**SHAPE, **more}))


SMALL = dict(seed=71, size=(4, 6, 3), patch=(2, 3), resize=(i.CROP, 7, i.BICUBIC), prefix=2,
             end="norm-pool")
FEATURES = dict(seed=72, size=(4, 4, 1), patch=(2, 2), end="features", vocabulary=16)
MAKER, FEATURE_MAKER = maker(**SMALL), maker(**FEATURES)
MAKER.build()
FEATURE_MAKER.build()
B, FB = MAKER.b, FEATURE_MAKER.b
STATES = BUFFERS + 32 * len(MAKER.program.buffers)
OPS = STATES + 32 * len(MAKER.program.states)
FEATURE_OPS = BUFFERS + 32 * (len(FEATURE_MAKER.program.buffers) + len(FEATURE_MAKER.program.states))
T = {"grid": MAKER.made["weight", 5, 16], "prefix": MAKER.made["prefix", 2, 16],
     "positions": MAKER.made["positions", 6, 16], "square": MAKER.made["weight", 16, 16],
     "gamma": MAKER.made["gamma", 1, 16], "narrow": MAKER.made["weight", 16, 12]}


def find(number, after=0):
    """Where the op of a number is, the first at or behind another."""
    return next(at for at, op in enumerate(MAKER.program.ops) if at >= after and op[0] == number)


PATCHIFY, PATCH, PREFIX, POSITION, KEYS, ATTEND = (
    find(n) for n in (i.PATCHIFY, d.LINEAR, i.PREFIX, d.ADD_POSITION, d.CACHE_APPEND, d.ATTEND))
NORM, POOL, QUANTIZE, LOGITS = (find(n) for n in (d.NORM, i.POOL, d.QUANTIZE, d.LOGITS))


def program(name, status, text, change):
    """A case on the small model."""
    case("image-" + name, status, text, change, lambda: maker(**SMALL).build())


def bad(name, text, change):
    """A case of bad_program."""
    program(name, "bad_program", text, change)


def record(index, *values):
    """A change of words of the image record."""
    return put(PROGRAM, RECORD + 4 * index, f"{len(values)}I", *values)


def operand(op, index, *values):
    """A change of words of an op; index 0 is the op's number."""
    return put(PROGRAM, OPS + 64 * op + 4 * index, f"{len(values)}I", *values)


def buffer(name, at, *values):
    """A change of words of a buffer."""
    return put(PROGRAM, BUFFERS + 32 * B[name] + at, f"{len(values)}I", *values)


def ops(edit):
    """A change of the list of ops."""
    return token.ops(edit, OPS)


def appended(*records):
    """A change that adds ops to the end."""
    more = [struct.pack("<16I", *record, *[0] * (16 - len(record))) for record in records]
    return ops(lambda old: old + more)


def moved(source, target):
    """A change that moves one op."""
    def edit(records):
        records.insert(target, records.pop(source))
        return records
    return ops(edit)


def whole(name, status, text, change=lambda f: None, **more):
    """A case of a model whose shape is at fault as a whole: nothing else disagrees."""
    shape = {"seed": 73, "layers": 0, "width": 4, "heads": 1, "kv_heads": 1, "ff": 4, "bias": False,
             "vocabulary": 2, "positions": None, **more}
    case("image-" + name, status, text, change, lambda: maker(**shape).build())


# Header and image record
program("input-2", "unknown", "an unknown kind of input", put(PROGRAM, 28, "I", 2))
bad("input-tokens", "an image record where input says tokens", put(PROGRAM, 28, "I", 0))
program("context-2e20-plus-1", "over_limit", "a context above the limit",
        put(PROGRAM, 16, "I", (1 << 20) + 1))
bad("context-0", "a context of 0", put(PROGRAM, 16, "I", 0))
bad("context-below-patches", "fewer rows than patches", put(PROGRAM, 16, "I", 3))
whole("prefix-65", "bad_program", "65 rows before the patches", size=(4, 4, 1), patch=(4, 4), prefix=65)
bad("record-cut", "a section that ends inside the image record",
    lambda f: token.replace(PROGRAM, f.sections[PROGRAM]["stored"][:60])(f))
bad("height-0", "no rows of pixels", record(0, 0))
bad("width-0", "no columns of pixels", record(1, 0))
bad("height-2e32-2", "a height that wraps with others", record(0, NONE - 1))
whole("height-4097", "bad_program", "a height above its limit", size=(4097, 1, 1), patch=(4097, 1))
whole("width-4097", "bad_program", "a width above its limit", size=(1, 4097, 1), patch=(1, 4097))
whole("channels-2", "bad_program", "two channels", size=(4, 4, 2), patch=(2, 2))
whole("channels-4", "bad_program", "four channels", size=(4, 4, 4), patch=(2, 2))
bad("channels-0", "no channels", record(2, 0))
bad("patch-height-0", "a patch of no rows", record(3, 0))
bad("patch-width-0", "a patch of no columns", record(4, 0))
whole("patch-height-3", "bad_program", "a patch height that does not divide", size=(4, 4, 1),
      patch=(3, 4))
whole("patch-width-3", "bad_program", "a patch width that does not divide", size=(4, 4, 1),
      patch=(4, 3))
bad("patch-height-above", "a patch that is higher than the image", record(3, 8))
bad("patches-2e24", "2^24 patches of one pixel", both(record(0, 4096, 4096, 1, 1, 1, 0, 0, 0),
                                                       put(PROGRAM, 16, "I", 1 << 20)))
bad("resize-3", "an unknown resize", record(5, 3))
bad("resize-2e32-1", "the largest resize", record(5, NONE))
bad("edge-below", "an edge below the larger of height and width", record(6, 5))
bad("edge-0", "a crop without an edge", record(6, 0))
bad("edge-8193", "an edge above its limit", record(6, 8193))
bad("edge-2e32-1", "the largest edge", record(6, NONE))
bad("edge-with-stretch", "an edge where images are stretched", record(5, i.STRETCH, 7))
bad("edge-with-none", "an edge where images are not resized", record(5, i.NONE, 7, 0))
bad("filter-0", "a crop without a filter", record(7, 0))
bad("filter-0-stretch", "a stretch without a filter", record(5, i.STRETCH, 0, 0))
bad("filter-4", "an unknown filter", record(7, 4))
bad("filter-with-none", "a filter where images are not resized", record(5, i.NONE, 0, 1))

# Rows
program("buffer-rows-3", "bad_plan", "unknown rows", buffer("pixels", 4, 3))
bad("embed", "an op of token programs", appended((d.EMBED, T["grid"], B["x"], 0)))
bad("select", "an op of token programs", appended((d.SELECT, B["x"], B["last"])))
token.bad("token-pool", "an op of image programs",
          token.appended((i.POOL, token.B["x"], token.B["last"], 1, 0)))
token.bad("token-patchify", "an op of image programs", token.appended((i.PATCHIFY, token.B["a"])))
token.bad("token-prefix", "an op of image programs",
          token.appended((i.PREFIX, token.B["fo"], NONE, token.B["x"])))
bad("linear-rows", "rows of patches into rows of tokens", operand(PATCH, 4, B["zo"]))
bad("bias-rows", "rows of patches into rows of tokens",
    appended((d.BIAS, B["fp"], NONE, B["fo"])))
bad("bias-patches-to-outputs", "rows of patches into rows of outputs",
    appended((d.BIAS, B["fp"], NONE, B["fixed_out"])))
bad("norm-rows", "rows of patches into rows of tokens",
    appended((d.NORM, B["fp"], T["gamma"], B["fn"], 2, 0, 0)))
bad("add-rows", "rows of patches into rows of tokens", appended((d.ADD, B["fp"], B["x"])))
bad("position-rows", "positions into rows of patches", operand(POSITION, 2, B["fp"]))
bad("cache-rows", "rows of patches into a state", operand(KEYS, 1, B["patch_keys"]))
bad("attend-rows", "rows of patches as query",
    both(operand(ATTEND, 1, B["patch_heads"]), operand(ATTEND, 4, B["pc"])))
bad("attend-window-1", "a window", operand(ATTEND, 5, 1))
bad("attend-window-6", "a window of all rows", operand(ATTEND, 5, 6))
bad("logits-patches", "rows of patches as input", operand(LOGITS, 1, B["pc"]))

# quantize
bad("quantize-in-codes", "codes as input", operand(QUANTIZE, 1, B["last_codes"]))
bad("quantize-out-fixed", "a fixed buffer as output", operand(QUANTIZE, 2, B["fixed_out"]))
bad("quantize-out-heads", "eight scales", appended((d.QUANTIZE, B["x"], B["token_heads"], 0)))
bad("quantize-rows", "rows of outputs into rows of tokens", operand(QUANTIZE, 2, B["a"]))
bad("quantize-width", "an output of another width", appended((d.QUANTIZE, B["x"], B["h"], 0)))
bad("quantize-index", "a buffer that does not exist", operand(QUANTIZE, 1, len(B)))
bad("quantize-hadamard-1", "a block of 1", operand(QUANTIZE, 3, 1))
bad("quantize-hadamard-3", "a block of 3", operand(QUANTIZE, 3, 3))
bad("quantize-hadamard-32", "a block that does not divide the width", operand(QUANTIZE, 3, 32))
bad("quantize-operand-4", "an operand that it does not use", operand(QUANTIZE, 4, 1))
program("quantize-unwritten", "bad_plan", "an input that no op has written",
        operand(QUANTIZE, 1, B["fixed_out"]))
program("quantize-slot-clash", "bad_plan", "the output in the slot of the input",
        buffer("last_codes", 20, 1))
token.bad("token-quantize-rows", "quantize from rows of tokens to rows of outputs",
          token.appended((d.QUANTIZE, token.B["x"], token.B["last_codes"], 0)))

# patchify
bad("patchify-out-fixed", "a fixed buffer as output", operand(PATCHIFY, 1, B["fp"]))
bad("patchify-out-scaled", "a scaled buffer as output", operand(PATCHIFY, 1, B["zp"]))
bad("patchify-out-tokens", "rows of tokens", operand(PATCHIFY, 1, B["token_pixels"]))
bad("patchify-out-scales", "two scales", operand(PATCHIFY, 1, B["split_pixels"]))
bad("patchify-width", "another width", operand(PATCHIFY, 1, B["pc"]))
bad("patchify-index", "a buffer that does not exist", operand(PATCHIFY, 1, len(B)))
bad("patchify-operand-2", "an operand that it does not use", operand(PATCHIFY, 2, 1))
program("patchify-absent", "bad_plan", "pixels that no op has written", ops(lambda r: r[1:]))
program("patchify-late", "bad_plan", "patchify behind what reads the pixels", moved(PATCHIFY, PATCH))

# prefix
bad("prefix-in-tokens", "rows of tokens as input", operand(PREFIX, 1, B["fo"]))
bad("prefix-in-outputs", "rows of outputs as input", operand(PREFIX, 1, B["fixed_out"]))
bad("prefix-in-codes", "codes as input", operand(PREFIX, 1, B["pc"]))
bad("prefix-none", "NONE where there is a prefix", operand(PREFIX, 2, NONE))
bad("prefix-rows-6", "more rows than the prefix", operand(PREFIX, 2, T["positions"]))
bad("prefix-rows-1", "fewer rows than the prefix", operand(PREFIX, 2, T["gamma"]))
bad("prefix-index", "a tensor that does not exist", operand(PREFIX, 2, len(MAKER.tensors.records)))
bad("prefix-out-patches", "rows of patches as output", operand(PREFIX, 3, B["fp"]))
bad("prefix-out-outputs", "rows of outputs as output", operand(PREFIX, 3, B["fixed_out"]))
bad("prefix-out-scaled", "a scaled buffer as output", operand(PREFIX, 3, B["zq"]))
bad("prefix-out-width", "an output of another width", operand(PREFIX, 3, B["fg"]))
bad("prefix-operand-4", "an operand that it does not use", operand(PREFIX, 4, 1))
program("prefix-unwritten", "bad_plan", "patches that no op has written", moved(PREFIX, 0))
program("prefix-slot-clash", "bad_plan", "the output in the slot of the input", buffer("x", 20, 3))
whole("prefix-columns", "bad_program", "rows of another width than the patches",
      put(PROGRAM, 64 + 32 * len(B) + 64 * 2 + 8, "I", 0), size=(4, 4, 1), patch=(2, 2), prefix=8,
      width=8)
whole("prefix-not-none", "bad_program", "rows where there is no prefix",
      put(PROGRAM, 64 + 32 * len(B) + 64 * 2 + 8, "I", 0), size=(2, 2, 1), patch=(1, 2))

# pool
bad("pool-in-patches", "rows of patches as input", operand(POOL, 1, B["fp"]))
bad("pool-in-outputs", "rows of outputs as input", operand(POOL, 1, B["fixed_out"]))
bad("pool-in-scaled", "a scaled buffer as input", operand(POOL, 1, B["zq"]))
bad("pool-in-codes", "codes as input", operand(POOL, 1, B["a"]))
bad("pool-out-tokens", "rows of tokens as output", operand(POOL, 2, B["fn"]))
bad("pool-out-codes", "codes as output", operand(POOL, 2, B["last_codes"]))
bad("pool-width", "an output of another width", operand(POOL, 2, B["odd_out"]))
bad("pool-fraction", "an output of another fraction", operand(POOL, 2, B["coarse_out"]))
bad("pool-kind-0", "no kind", operand(POOL, 3, 0))
bad("pool-kind-3", "an unknown kind", operand(POOL, 3, 3))
bad("pool-first-6", "a first row past the last", operand(POOL, 4, 6))
bad("pool-first-2e32-1", "the largest first row", operand(POOL, 4, NONE))
bad("pool-operand-5", "an operand that it does not use", operand(POOL, 5, 1))
program("pool-unwritten", "bad_plan", "rows that no op has written", moved(POOL, 0))
program("pool-slot-clash", "bad_plan", "the output in the slot of the input",
        buffer("last_row", 20, 6))


# The output
def feature(name, status, text, change):
    """A case on the model without a head."""
    case("features-" + name, status, text, change, lambda: maker(**FEATURES).build())


def feature_buffer(name, at, value):
    """A change of a word of a buffer of the model without a head."""
    return put(PROGRAM, BUFFERS + 32 * FB[name] + at, "I", value)


def more(*records):
    """A change that adds ops to the model without a head."""
    packed = [struct.pack("<16I", *record, *[0] * (16 - len(record))) for record in records]
    return token.ops(lambda old: old + packed, FEATURE_OPS)


feature("vocabulary-15", "bad_program", "an output of 16 numbers, a vocabulary of 15",
        put(PROGRAM, 20, "I", 15))
feature("vocabulary-0", "bad_program", "a vocabulary of 0", put(PROGRAM, 20, "I", 0))
feature("fraction-15", "bad_program", "an output of fraction 15", feature_buffer("out", 16, 15))
feature("output-by-pool", "bad_program", "the output is the pooled row",
        put(PROGRAM, 24, "I", FB["last"]))
feature("output-tokens", "bad_program", "the output is a norm of rows of tokens",
        both(more((d.NORM, FB["x"], FEATURE_MAKER.made["gamma", 1, 16], FB["fn"], 2, 0, 0)),
             put(PROGRAM, 24, "I", FB["fn"])))
feature("output-by-add", "bad_program", "an add behind the norm",
        more((d.ADD, FB["last"], FB["out"])))
feature("output-by-bias", "bad_program", "a bias from another buffer behind the norm",
        more((d.BIAS, FB["last"], NONE, FB["out"])))
feature("output-unwritten", "bad_program", "an output that no op writes",
        put(PROGRAM, 24, "I", FB["fixed_out"]))
feature("output-overwritten", "bad_plan", "the slot of the output is taken at the end",
        both(feature_buffer("y", 20, 3), more((d.BIAS, FB["x"], NONE, FB["y"]))))
feature("output-index", "bad_program", "an output buffer that does not exist",
        put(PROGRAM, 24, "I", len(FB)))
