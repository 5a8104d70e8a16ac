# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of bias, norm, add, add_position, soft_cap, head norms, caps and the gate without
up, on a small decoder that has them all."""

import struct

import vector_decoder as d
from vector_invalid import both, case, put, replace
from vector_model import Coding
import vector_writer as w

PROGRAM = 2
NONE = w.NONE
SHAPE = d.DecoderShape(seed=51, vocabulary=4, width=16, heads=2, kv_heads=1, ff=12, context=8,
                       phases=2, norm=2, positions=0, bias=True, post_norm=True, head_norm=True,
                       activation=2, score_cap=1 << 17, logit_cap=1 << 17, row_fraction=14,
                       codings={"*": Coding(2), "positions": Coding(0)})


class Sharing:
    """Of a maker: roles of one shape share a tensor, so that the files are small."""

    made = None

    def shared(self, kind, make, rows, columns):
        """The tensor of this kind and shape, made once."""
        key = kind, rows, columns
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def weight(self, name, rows, columns, gain=4):
        """One weight of a shape; positions and prefix by themselves."""
        kind = name if name in ("positions", "prefix") else "weight"
        return self.shared(kind, lambda: super(Sharing, self).weight(name, rows, columns, gain),
                           rows, columns)

    def gamma(self, name, width):
        """One gamma of a width."""
        return self.shared("gamma", lambda: super(Sharing, self).gamma(name, width), 1, width)

    def bias(self, name, width):
        """One bias of a width."""
        return self.shared("bias", lambda: super(Sharing, self).bias(name, width), 1, width)

    def build(self):
        """The File."""
        self.made = {}
        return super().build()


class SmallMaker(Sharing, d.DecoderMaker):
    """A small decoder with two buffers that no op uses."""

    def plan(self):
        """The buffers by name, with two spare ones."""
        self.b = super().plan()
        self.b["spare"] = self.program.buffer(d.FIXED, d.OUTPUTS, self.shape.vocabulary, 9,
                                              fraction=16)
        self.b["spare_codes"] = self.program.buffer(d.CODES8, d.TOKENS, self.shape.width, 10, scales=8)
        return self.b


def small():
    """A File with one layer."""
    return SmallMaker(SHAPE).build()


MAKER = SmallMaker(SHAPE)
MAKER.build()
B = MAKER.b                                              # buffers by name
T = {"phases": 1, "embed": MAKER.made["weight", 4, 16], "gamma": MAKER.made["gamma", 1, 16],
     "head_gamma": MAKER.made["gamma", 1, 8], "positions": MAKER.made["positions", 8, 16],
     "bias": MAKER.made["bias", 1, 16], "bias4": MAKER.made["bias", 1, 4],
     "bias12": MAKER.made["bias", 1, 12], "square": MAKER.made["weight", 16, 16]}
BUFFERS = 32
STATES = BUFFERS + 32 * len(MAKER.program.buffers)
OPS = STATES + 32 * len(MAKER.program.states)


def find(number, after=0):
    """Where the op of a number is, the first at or behind another."""
    return next(i for i, op in enumerate(MAKER.program.ops) if i >= after and op[0] == number)


POSITION, HEAD, KEYS, ATTEND = (find(n) for n in (d.ADD_POSITION, d.HEAD_QUANT, d.CACHE_APPEND,
                                                  d.ATTEND))
BIAS_Q = find(d.BIAS)
BIAS_O = find(d.BIAS, ATTEND)
NORM, ADD, GATE, LOGITS = (find(n) for n in (d.NORM, d.ADD, d.GATE_QUANT, d.LOGITS))
BIAS_OUT, SOFT_CAP = LOGITS + 1, LOGITS + 2
VALUES = KEYS + 1


def program(name, status, text, change):
    """A case on `small`."""
    case(name, status, text, change, small)


def bad(name, text, change):
    """A case of bad_program."""
    program(name, "bad_program", text, change)


def operand(op, index, *values):
    """A change of words of an op; index 0 is the op's number."""
    return put(PROGRAM, OPS + 64 * op + 4 * index, f"{len(values)}I", *values)


def buffer(name, at, *values):
    """A change of words of a buffer."""
    return put(PROGRAM, BUFFERS + 32 * B[name] + at, f"{len(values)}I", *values)


def ops(edit, first=OPS):
    """A change of the list of ops: `edit` gets 64-byte records and gives a new list."""
    def change(f):
        raw = f.sections[PROGRAM]["stored"]
        records = edit([raw[at:at + 64] for at in range(first, len(raw), 64)])
        head = bytearray(raw[:first])
        struct.pack_into("<I", head, 8, len(records))
        replace(PROGRAM, bytes(head) + b"".join(records))(f)
    return change


def moved(source, target):
    """A change that moves one op."""
    def edit(records):
        records.insert(target, records.pop(source))
        return records
    return ops(edit)


def appended(*records):
    """A change that adds ops to the end."""
    more = [struct.pack("<16I", *record, *[0] * (16 - len(record))) for record in records]
    return ops(lambda old: old + more)


TO_SPARE = (d.BIAS, B["out"], NONE, B["spare"])
TO_CODES = (d.HEAD_QUANT, B["x"], B["spare_codes"], NONE, 0, 0, NONE, 0, 0)

# Head norms
for op, name, columns in ((HEAD, "head", "gamma"), (KEYS, "cache", "gamma")):
    source = B["zq"] if op == HEAD else B["zk"]
    bad(f"{name}-norm-scaled", "a norm of a scaled row", operand(op, 1, source))
    bad(f"{name}-norm-columns", "a norm of the row's width", operand(op, 6, T[columns]))
    bad(f"{name}-norm-grid", "a grid tensor as norm", operand(op, 6, T["embed"]))
    bad(f"{name}-norm-words", "words as norm", operand(op, 6, T["phases"]))
    bad(f"{name}-norm-index", "a tensor that does not exist",
        operand(op, 6, len(MAKER.tensors.records)))
    bad(f"{name}-norm-absent-0", "0 instead of NONE", operand(op, 6, 0, 0, 0))
    bad(f"{name}-norm-eps-2e40-plus-1", "an eps above its range", operand(op, 7, 1, 256))
    bad(f"{name}-eps-without-norm", "eps, norm NONE", operand(op, 6, NONE, 1, 0))
    bad(f"{name}-eps-high-without-norm", "the high half of eps, norm NONE",
        operand(op, 6, NONE, 0, 1))
    bad(f"{name}-operand-9", "an operand that it does not use", operand(op, 9, 1))
    bad(f"{name}-in-codes", "codes as input", operand(op, 1, B["a"]))

# Caps and gate
bad("attend-cap-65535", "a cap below its range", operand(ATTEND, 9, 65535))
bad("attend-cap-1", "a cap of 1", operand(ATTEND, 9, 1))
bad("attend-cap-2e26-plus-1", "a cap above its range", operand(ATTEND, 9, (1 << 26) + 1))
bad("attend-cap-2e32-1", "the largest cap", operand(ATTEND, 9, NONE))
bad("attend-operand-13", "an operand that it does not use", operand(ATTEND, 13, 1))
bad("attend-code-1-bit", "a code of 1 bit", operand(ATTEND, 10, 1, 1))
bad("attend-code-5-bits", "a code of 5 bits", operand(ATTEND, 10, 5, 1))
bad("attend-code-2e32-1-bits", "a code of 2^32 - 1 bits", operand(ATTEND, 10, NONE, 1))
bad("attend-code-step-0", "a code without step", operand(ATTEND, 10, 4))
bad("attend-code-step-5", "a step above its range", operand(ATTEND, 10, 4, 5))
bad("attend-code-shift-32768", "a shift of 1", operand(ATTEND, 10, 4, 1, 32768))
bad("attend-code-shift-2e32-1", "the largest shift", operand(ATTEND, 10, 4, 1, NONE))
bad("attend-step-without-code", "a step without a code", operand(ATTEND, 11, 1))
bad("attend-shift-without-code", "a shift without a code", operand(ATTEND, 12, 1))
bad("soft-cap-0", "a cap of 0", operand(SOFT_CAP, 2, 0))
bad("soft-cap-65535", "a cap below its range", operand(SOFT_CAP, 2, 65535))
bad("soft-cap-2e26-plus-1", "a cap above its range", operand(SOFT_CAP, 2, (1 << 26) + 1))
bad("soft-cap-fraction", "a sum with another fraction", operand(SOFT_CAP, 1, B["fo"]))
bad("soft-cap-scaled", "a scaled buffer as sum", operand(SOFT_CAP, 1, B["zo"]))
bad("soft-cap-index", "a buffer that does not exist", operand(SOFT_CAP, 1, len(B)))
bad("soft-cap-operand-3", "an operand that it does not use", operand(SOFT_CAP, 3, 1))
program("soft-cap-before-logits", "bad_plan", "a sum that no op has written",
        moved(SOFT_CAP, LOGITS))
bad("gate-none", "NONE as gate", operand(GATE, 1, NONE))
bad("gate-codes", "codes as gate", operand(GATE, 1, B["a2"]))
bad("up-codes", "codes as up", operand(GATE, 2, B["a2"]))
bad("up-width", "an up of another width", operand(GATE, 2, B["zo"]))
bad("up-index", "a buffer that does not exist", operand(GATE, 2, NONE - 1))
program("gate-out-takes-gate", "bad_plan", "no up, and out in the slot of the gate",
        both(operand(GATE, 2, NONE), buffer("h", 20, 4)))

# bias
bad("bias-grid", "a grid tensor as bias", operand(BIAS_O, 2, T["embed"]))
bad("bias-words", "words as bias", operand(BIAS_O, 2, T["phases"]))
bad("bias-rows-8", "a bias of 8 rows", operand(BIAS_O, 2, T["positions"]))
bad("bias-columns", "a bias of another width", operand(BIAS_O, 2, T["bias12"]))
bad("bias-index", "a tensor that does not exist", operand(BIAS_O, 2, len(MAKER.tensors.records)))
bad("bias-in-codes", "codes as input", operand(BIAS_O, 1, B["o"]))
bad("bias-out-scaled", "a scaled buffer as output", operand(BIAS_O, 3, B["zq"]))
bad("bias-scaled-in-place", "a scaled buffer in place", operand(BIAS_O, 3, B["zo"]))
bad("bias-width", "an output of another width", operand(BIAS_O, 3, B["fg"]))
bad("bias-out-rows", "rows of tokens into rows of outputs", operand(BIAS_O, 3, B["last"]))
bad("bias-operand-4", "an operand that it does not use", operand(BIAS_O, 4, 1))
program("bias-slot-clash", "bad_plan", "another buffer in the slot of the input",
        buffer("fq", 20, 2))
program("bias-in-place-unwritten", "bad_plan", "a sum that no op has written",
        operand(BIAS_O, 1, B["fo"]))
program("bias-in-place-taken", "bad_plan", "a sum whose slot another buffer took",
        appended((d.BIAS, B["fq"], NONE, B["fq"])))

# norm
bad("norm-op-kind-3", "an unknown norm", operand(NORM, 4, 3))
bad("norm-op-eps-2e40-plus-1", "an eps above its range", operand(NORM, 5, 1, 256))
bad("norm-op-hadamard", "the operand that only norm_quant has", operand(NORM, 7, 2))
bad("norm-op-gamma-columns", "a gamma of another width", operand(NORM, 2, T["head_gamma"]))
bad("norm-op-gamma-rows", "a gamma of 8 rows", operand(NORM, 2, T["positions"]))
bad("norm-op-in-scaled", "a scaled buffer as input", operand(NORM, 1, B["zo"]))
bad("norm-op-out-codes", "codes as output", operand(NORM, 3, B["a"]))
bad("norm-op-out-width", "an output of another width", operand(NORM, 3, B["fg"]))
bad("norm-op-out-rows", "rows of tokens into rows of outputs", operand(NORM, 3, B["last"]))
program("norm-op-in-place", "bad_plan", "a norm over its input", operand(NORM, 3, B["fo"]))
program("norm-op-slot-clash", "bad_plan", "the output in the slot of the input",
        buffer("fn", 20, 4))

# add
bad("add-in-codes", "codes as input", operand(ADD, 1, B["o"]))
bad("add-sum-scaled", "a scaled buffer as sum", operand(ADD, 2, B["zo"]))
bad("add-width", "a sum of another width", operand(ADD, 2, B["fg"]))
bad("add-rows", "rows of tokens into rows of outputs", operand(ADD, 2, B["last"]))
bad("add-operand-3", "an operand that it does not use", operand(ADD, 3, 1))
program("add-to-itself", "bad_plan", "the sum is the input", operand(ADD, 1, B["x"]))
program("add-in-taken", "bad_plan", "an input whose slot another buffer took",
        operand(ADD, 1, B["zq"]))
program("add-sum-taken", "bad_plan", "a sum whose slot another buffer took",
        operand(ADD, 2, B["fq"]))

# add_position
bad("position-rows", "one position more than the tensor has rows",
    put(PROGRAM, 16, "I", SHAPE.context + 1))
bad("position-words", "words as positions", operand(POSITION, 1, T["phases"]))
bad("position-none", "NONE as positions", operand(POSITION, 1, NONE))
bad("position-width", "a sum of another width", operand(POSITION, 2, B["fg"]))
bad("position-sum-rows", "a sum of rows of outputs", operand(POSITION, 2, B["last"]))
bad("position-sum-codes", "codes as sum", operand(POSITION, 2, B["a"]))
bad("position-hadamard", "an operand that only embed has", operand(POSITION, 3, 2))
program("position-before-embed", "bad_plan", "a sum that no op has written", moved(POSITION, 0))

# The last writer of the output
bad("output-by-add", "an add to the output behind logits",
    appended(TO_SPARE, (d.ADD, B["spare"], B["out"])))
bad("output-by-linear-add", "a linear_add to the output behind logits",
    appended((d.LINEAR_ADD, B["last_codes"], T["embed"], B["out"])))
bad("output-by-norm", "a norm into the output behind logits",
    appended(TO_SPARE, (d.NORM, B["spare"], T["bias4"], B["out"], 2, 1, 0)))
bad("output-by-bias", "a bias from another buffer into the output",
    appended(TO_SPARE, (d.BIAS, B["spare"], NONE, B["out"])))
bad("output-is-a-copy", "the output is a copy of the logits",
    both(appended(TO_SPARE), put(PROGRAM, 24, "I", B["spare"])))
bad("output-by-add-then-bias", "an add behind logits, then a bias in place",
    appended(TO_SPARE, (d.ADD, B["spare"], B["out"]), (d.BIAS, B["out"], NONE, B["out"])))

# Rules that other rules hide where the op's buffers have other uses
bad("head-width-2-phases-2", "two pairs in heads of two elements",
    appended((d.HEAD_QUANT, B["x"], B["spare_codes"], T["phases"], 2, 0, NONE, 0, 0)))
bad("linear-in-heads", "codes of eight scales as input",
    appended(TO_CODES, (d.LINEAR, B["spare_codes"], 1, T["square"], B["zo"])))
bad("linear-add-in-heads", "codes of eight scales as input",
    appended(TO_CODES, (d.LINEAR_ADD, B["spare_codes"], T["square"], B["x"])))
bad("linear-rows", "rows of outputs into rows of tokens",
    appended((d.LINEAR, B["last_codes"], 1, T["square"], B["zo"])))
bad("linear-add-rows", "rows of outputs into rows of tokens",
    appended((d.LINEAR_ADD, B["last_codes"], T["square"], B["x"])))
bad("gate-out-heads", "gate_quant into eight scales",
    appended((d.GATE_QUANT, B["x"], NONE, B["spare_codes"], 1, 0)))
bad("logits-in-tokens", "rows of tokens as input",
    ops(lambda r: r[:-3] + [struct.pack("<16I", d.LOGITS, B["a2"], T["embed"], B["out"],
                                        *[0] * 12)] + r[-2:]))
bad("embed-out-rows", "embed into rows of outputs", appended((d.EMBED, T["embed"], B["last"])))
bad("select-width", "select into another width", appended((d.SELECT, B["x"], B["spare"])))
program("state-append-again", "bad_plan", "values are appended by two ops",
        ops(lambda r: r[:VALUES + 1] + r[VALUES:]))
bad("logits-into-tokens", "logits into rows of tokens", operand(LOGITS, 3, B["x"]))
