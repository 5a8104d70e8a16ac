# SPDX-License-Identifier: Apache-2.0
"""Invalid vectors of the program section: operands, buffers, slots, states."""

import struct

from vector_invalid import both, case, put, replace
from vector_model import Coding, Maker, Shape

PROGRAM = 2
X, A, ZQ, ZK, ZV, Q, O, ZG, ZU, H, LAST, LAST_CODES, OUT = range(13)
(EMBED, NORM, QKV, HEAD, KEYS, VALUES, ATTEND, ADD_O, NORM2, GATE_UP, GATE, ADD_DOWN, SELECT,
 NORM3, LOGITS) = range(15)
BUFFERS, STATES, OPS = 32, 32 + 32 * 13, 32 + 32 * 15
T_EMBED, T_PHASES, T_GAMMA, T_Q, T_K, T_GATE, T_DOWN = range(7)  # one tensor in many ops
NONE = 0xFFFFFFFF
SHAPE = Shape(seed=50, vocabulary=4, width=16, heads=2, kv_heads=1, ff=12, context=8, phases=2,
              codings={"*": Coding(2)})
SHARED = {"v": "k", "o": "q", "up": "gate", "head": "embed"}


class SmallMaker(Maker):
    """A maker whose roles share tensors, so that the files are small."""

    def weight(self, name, rows, columns, gain=4):
        """The tensor of the role's shape."""
        role = name.split(".")[-1]
        role = SHARED.get(role, role)
        names = [record[0].decode() for record in self.tensors.records]
        return names.index(role) if role in names else super().weight(role, rows, columns, gain)

    def gamma(self, name, width):
        """One gamma for all norms."""
        return T_GAMMA if len(self.tensors.records) > T_GAMMA else super().gamma("gamma", width)


def small():
    """A File with one Llama layer."""
    return SmallMaker(SHAPE).build()


def program(name, status, text, change):
    """A case on `small`."""
    case(name, status, text, change, small)


def count(at, *values):
    """A change of a word of the program's header."""
    return put(PROGRAM, at, f"{len(values)}I", *values)


def buffer(index, at, *values):
    """A change of words of a buffer."""
    return put(PROGRAM, BUFFERS + 32 * index + at, f"{len(values)}I", *values)


def state(index, at, value):
    """A change of a word of a state."""
    return put(PROGRAM, STATES + 32 * index + at, "I", value)


def operand(op, index, *values):
    """A change of words of an op; index 0 is the op's number."""
    return put(PROGRAM, OPS + 64 * op + 4 * index, f"{len(values)}I", *values)


def ops(edit):
    """A change of the list of ops: `edit` gets 64-byte records and gives a new list."""
    def change(f):
        raw = f.sections[PROGRAM]["stored"]
        records = [raw[at:at + 64] for at in range(OPS, len(raw), 64)]
        records = edit(records)
        head = bytearray(raw[:OPS])
        struct.pack_into("<I", head, 8, len(records))
        replace(PROGRAM, bytes(head) + b"".join(records))(f)
    return change


def moved(records, source, target):
    """One record moved."""
    records.insert(target, records.pop(source))
    return records


# Header
program("buffer-count-0", "bad_program", "no buffers", count(0, 0))
program("buffer-count-2e32-1", "over_limit", "the largest count", count(0, 0xFFFFFFFF))
program("buffer-count-1024", "bad_program", "the largest allowed count in a small section",
        count(0, 1024))
program("state-count-2049", "over_limit", "one state above the limit", count(4, 2049))
program("op-count-0", "bad_program", "no ops", count(8, 0))
program("op-count-wraps-2e32", "over_limit", "count times 64 wraps at 2^32",
        count(8, 15 + (1 << 26)))
program("op-count-65536", "bad_program", "the largest allowed count in a small section",
        count(8, 65536))
program("op-count-14", "bad_program", "one op left after the last", count(8, 14))
program("slot-count-0", "bad_program", "no slots", count(12, 0))
program("slot-count-65", "over_limit", "one slot above the limit", count(12, 65))
program("context-0", "bad_program", "a context of 0", count(16, 0))
program("context-2e20-plus-1", "over_limit", "a context above the limit",
        count(16, (1 << 20) + 1))
program("vocabulary-0", "bad_program", "no token ids", count(20, 0))
program("vocabulary-2e31", "bad_program", "more ids than the embed tensor has rows",
        count(20, 1 << 31))
program("vocabulary-plus-1", "bad_program", "one id more than the embed tensor has rows",
        count(20, 5))
program("output-index", "bad_program", "an output buffer that does not exist", count(24, 13))
program("output-not-logits", "bad_program", "the output is the selected row", count(24, LAST))
program("input-2", "unknown", "an unknown kind of input", count(28, 2))
program("input-2e32-1", "unknown", "the largest kind of input", count(28, NONE))
program("input-images-without-record", "bad_program", "images, but no image record", count(28, 1))
program("program-31-bytes", "bad_program", "shorter than the program header",
        replace(PROGRAM, bytes(31)))
program("program-trailing", "bad_program", "a byte after the last op",
        lambda f: replace(PROGRAM, f.sections[PROGRAM]["stored"] + b"\0")(f))

# Buffers and states
program("buffer-type-0", "bad_plan", "type 0", buffer(A, 0, 0))
program("buffer-type-4", "bad_plan", "an unknown type", buffer(A, 0, 4))
program("buffer-rows-2", "bad_plan", "unknown rows", buffer(A, 4, 2))
program("buffer-width-0", "bad_plan", "a width of 0", buffer(A, 8, 0))
program("buffer-width-2e17-plus-1", "bad_plan", "codes above their largest width",
        buffer(A, 8, (1 << 17) + 1))
program("buffer-width-2e32-1", "bad_plan", "4 * width wraps", buffer(X, 8, 0xFFFFFFFF))
program("codes-scales-0", "bad_plan", "codes without a scale", buffer(A, 12, 0))
program("codes-scales-1025", "bad_plan", "too many scales", buffer(A, 12, 1025))
program("codes-scales-3", "bad_plan", "scales that do not divide the width", buffer(Q, 12, 3))
program("fixed-scales-1", "bad_plan", "a fixed buffer with a scale", buffer(X, 12, 1))
program("scaled-scales-2", "bad_plan", "a scaled buffer with two scales", buffer(ZQ, 12, 2))
program("fraction-31", "bad_plan", "a fraction above its range", buffer(X, 16, 31))
program("fraction-minus-1", "bad_plan", "a negative fraction", buffer(X, 16, 0xFFFFFFFF))
program("codes-fraction", "bad_plan", "codes with a fraction", buffer(A, 16, 4))
program("slot-index", "bad_plan", "a slot that does not exist", buffer(A, 20, 5))
program("buffer-reserved", "bad_padding", "a reserved byte of a buffer", buffer(A, 28, 1 << 24))
program("state-type-0", "bad_plan", "type 0", state(0, 0, 0))
program("heads-0", "bad_plan", "a state without heads", state(0, 4, 0))
program("heads-1025", "bad_plan", "too many heads", state(0, 4, 1025))
program("head-width-0", "bad_plan", "a head width of 0", state(0, 8, 0))
program("head-width-257", "bad_plan", "a head width above the limit", state(0, 8, 257))
program("state-reserved", "bad_padding", "a reserved byte of a state", state(1, 28, 1))

def other_heads(f):
    """A query of two heads on keys and values of three: k has 24 rows instead of 8."""
    for index in (0, 1):
        state(index, 4, 3)(f)
    for index in (ZK, ZV):
        buffer(index, 8, 24)(f)
    put(1, 16 + 64 * T_K + 8, "I", 24)(f)
    for section in (10, 11):  # the streams of k
        replace(section, f.sections[section]["stored"] * 3)(f)


def one_state_heads(f):
    """Values of two heads of four elements, keys of one head of eight."""
    state(1, 4, 2)(f)
    state(1, 8, 4)(f)


def power_of_two(f):
    """A head of 12 elements, and a Hadamard of 8."""
    operand(GATE, 0, 5, ZG, H, NONE, 0, 8, NONE)(f)


# Operands
program("unknown-op", "unknown", "op 20", operand(SELECT, 0, 20))
program("op-0", "unknown", "op 0", operand(SELECT, 0, 0))
program("op-2e32-1", "unknown", "op 2^32 - 1", operand(SELECT, 0, 0xFFFFFFFF))
program("unused-operand", "bad_program", "a 15th operand of select", operand(SELECT, 15, 1))
program("buffer-index", "bad_program", "a buffer that does not exist", operand(SELECT, 1, 13))
program("tensor-index", "bad_program", "a tensor that does not exist", operand(LOGITS, 2, 7))
program("tensor-none", "bad_program", "NONE where a tensor is needed", operand(LOGITS, 2, NONE))
program("cache-heads", "bad_program", "a state of more heads than the row", state(1, 4, 2))
program("state-index", "bad_program", "a state that does not exist", operand(KEYS, 2, 2))
program("embed-words", "bad_program", "words as the embed tensor", operand(EMBED, 1, T_PHASES))
program("embed-columns", "bad_program", "an embed tensor of other columns", operand(EMBED, 1, T_DOWN))
program("embed-rows", "bad_program", "an embed tensor of other rows", operand(EMBED, 1, T_Q))
program("gamma-grid", "bad_program", "a grid tensor as gamma", operand(NORM, 2, T_EMBED))
program("norm-kind-0", "bad_program", "norm 0", operand(NORM, 4, 0))
program("norm-kind-3", "bad_program", "an unknown norm", operand(NORM, 4, 3))
program("eps-2e40-plus-1", "bad_program", "an eps above its range", operand(NORM, 5, 1, 256))
program("norm-out-heads", "bad_program", "norm_quant into two scales", operand(NORM, 3, Q))
program("linear-count-0", "bad_program", "no pairs", operand(QKV, 2, 0, 0, 0, 0, 0, 0, 0))
program("linear-count-7", "bad_program", "seven pairs", operand(QKV, 2, 7))
program("linear-count-2e31", "bad_program", "2^31 pairs", operand(QKV, 2, 1 << 31))
program("linear-words", "bad_program", "words as a weight", operand(QKV, 3, T_PHASES))
program("linear-columns", "bad_program", "a weight of other columns", operand(QKV, 3, T_DOWN))
program("linear-width", "bad_program", "an output of another width", operand(QKV, 3, T_K))
program("linear-in-type", "bad_program", "a fixed buffer as input", operand(QKV, 1, X))
program("linear-add-width", "bad_program", "a sum of another width", operand(ADD_O, 2, T_GATE))
program("head-quant-width", "bad_program", "out of 16 elements, in of 12", operand(HEAD, 1, ZG))
program("phases-grid", "bad_program", "a grid tensor as phases", operand(HEAD, 3, T_EMBED))
program("pairing-without-phases", "bad_program", "pairing 2, phases NONE", operand(HEAD, 3, NONE))
program("phases-without-pairing", "bad_program", "phases, pairing 0", operand(HEAD, 4, 0))
program("pairing-3", "bad_program", "an unknown pairing", operand(HEAD, 4, 3))
program("hadamard-1", "bad_program", "blocks of one element", operand(HEAD, 5, 1))
program("hadamard-3", "bad_program", "blocks of three elements", operand(HEAD, 5, 3))
program("hadamard-512", "bad_program", "blocks above the largest", operand(NORM, 7, 512))
program("embed-hadamard", "bad_program", "blocks that do not divide the width", operand(EMBED, 3, 128))
program("gate-hadamard", "bad_program", "blocks that do not divide the width", operand(GATE, 5, 128))
program("attend-hadamard", "bad_program", "blocks of 2^31 elements", operand(ATTEND, 8, 1 << 31))
program("cache-width", "bad_program", "a state of another width", operand(KEYS, 1, ZQ))
program("attend-heads", "bad_program", "keys and values of other heads",
        one_state_heads)
program("attend-head-width", "bad_program", "a query of other head width", buffer(Q, 12, 4))
program("attend-window", "bad_program", "a window above the largest context",
        operand(ATTEND, 5, (1 << 20) + 1))
program("attend-m-32767", "bad_program", "m below its range", operand(ATTEND, 6, 32767))
program("attend-m-65536", "bad_program", "m above its range", operand(ATTEND, 6, 65536))
program("attend-m-0", "bad_program", "m of 0", operand(ATTEND, 6, 0))
program("attend-e-65", "bad_program", "e above its range", operand(ATTEND, 7, 65))
program("attend-e-min", "bad_program", "e of -2^31", operand(ATTEND, 7, 1 << 31))
program("attend-out-heads", "bad_program", "attend into two scales", buffer(O, 12, 2))
program("gate-width", "bad_program", "gate and up of other widths", operand(GATE, 2, ZK))
program("activation-0", "bad_program", "activation 0", operand(GATE, 4, 0))
program("activation-6", "bad_program", "an unknown activation", operand(GATE, 4, 6))
program("select-fraction", "bad_program", "select changes the fraction", buffer(LAST, 16, 15))
program("select-rows", "bad_program", "select into rows of tokens", buffer(LAST, 4, 0))
program("logits-fraction", "bad_program", "logits with another fraction", buffer(OUT, 16, 15))
program("logits-rows", "bad_program", "a weight of other rows", operand(LOGITS, 2, T_Q))


program("heads-not-multiple", "bad_program", "two query heads on three key heads", other_heads)
program("hadamard-width-12", "bad_program", "blocks of 8 in heads of 12 elements", power_of_two)
program("phases-too-many", "bad_program", "2r above the head width",
        buffer(Q, 12, 8))

# Slots and states
program("op-input-never", "bad_plan", "a buffer that no op writes", ops(lambda r: r[1:]))
program("op-input-future", "bad_plan", "norm_quant before embed", ops(lambda r: moved(r, 0, 1)))
program("slot-taken", "bad_plan", "a buffer read after another took its slot",
        ops(lambda r: moved(r, ADD_O, GATE_UP)))
program("slot-clash-read-write", "bad_plan", "norm_quant writes the slot that it reads",
        buffer(A, 20, 0))
program("slot-clash-two-writes", "bad_plan", "linear writes two buffers of one slot",
        buffer(ZV, 20, 3))
program("linear-same-out-twice", "bad_plan", "linear writes one buffer twice",
        operand(QKV, 8, ZK))
program("residual-overwritten", "bad_plan", "a buffer takes the slot of the residual",
        buffer(Q, 20, 0))
program("output-overwritten", "bad_plan", "an op after logits takes the output's slot",
        both(buffer(OUT, 20, 0), ops(lambda r: r + [r[EMBED]])))
program("state-append-twice", "bad_plan", "keys are appended twice", operand(VALUES, 2, 0))
program("state-read-before-append", "bad_plan", "attend before keys are appended",
        ops(lambda r: moved(r, ATTEND, KEYS)))
program("state-never-appended", "bad_plan", "values are read and never appended",
        ops(lambda r: r[:VALUES] + r[VALUES + 1:]))


def spare_state(f):
    """A third state that no op uses."""
    raw = f.sections[PROGRAM]["stored"]
    head = bytearray(raw[:OPS] + raw[STATES:STATES + 32])
    struct.pack_into("<I", head, 4, 3)
    replace(PROGRAM, bytes(head) + raw[OPS:])(f)


program("state-unused", "bad_plan", "a state that no op appends", spare_state)
