# SPDX-License-Identifier: Apache-2.0
"""The program section: every rule of curta-program.md, and the ops as lists of operands."""

from dataclasses import dataclass, field
import struct

from curta_errors import need
from curta_tensors import WIDE, WORDS

FIXED, SCALED, CODES8 = 1, 2, 3
TOKENS, OUTPUTS = 0, 1
EMBED, NORM_QUANT, LINEAR, LINEAR_ADD, HEAD_QUANT = 1, 2, 3, 4, 5
CACHE_APPEND, ATTEND, GATE_QUANT, SELECT, LOGITS = 6, 7, 8, 9, 10
NONE = 0xFFFFFFFF
MAX_BUFFERS, MAX_STATES, MAX_OPS, MAX_SLOTS = 1024, 2048, 65536, 64
MAX_CONTEXT = 1 << 20
MAX_WIDTH = {FIXED: 1 << 24, SCALED: 1 << 24, CODES8: 1 << 17}
MAX_HEAD_WIDTH = 256


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
class Program:
    """A checked program; ops are tuples (number, 15 operands)."""

    context: int
    vocabulary: int
    output: int
    slots: int
    buffers: list = field(default_factory=list)
    states: list = field(default_factory=list)
    ops: list = field(default_factory=list)


def signed(word):
    """A u32 read as i32."""
    return word - (1 << 32) if word >> 31 else word


def read_buffer(raw, slots, where):
    """One buffer record."""
    kind, rows, width, scales, fraction, slot, reserved = struct.unpack("<IIIIiI8s", raw)
    need(kind in MAX_WIDTH, "bad_plan", f"{where}: type")
    need(rows in (TOKENS, OUTPUTS), "bad_plan", f"{where}: rows")
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


class OpChecker:
    """Checks one op's operands; collects the buffers and states that it reads and writes."""

    def __init__(self, program, tensors, operands, where):
        self.program, self.tensors, self.x, self.where = program, tensors, operands, where
        self.used, self.reads, self.writes = 0, [], []
        self.state_reads, self.state_writes = [], []

    def ok(self, condition, what):
        """The rule `what` (bad_program)."""
        need(condition, "bad_program", f"{self.where}: {what}")

    def word(self):
        """The next operand."""
        self.used += 1
        return self.x[self.used - 1]

    def item(self, items, what):
        """The next operand as an index."""
        index = self.word()
        self.ok(index < len(items), f"{what} index")
        return index, items[index]

    def buffer(self, kind, read=False, write=False):
        """The next operand as a buffer of a type."""
        index, buffer = self.item(self.program.buffers, "buffer")
        self.ok(buffer.type == kind, "buffer type")
        self.reads += [index] if read else []
        self.writes += [index] if write else []
        return buffer

    def state(self, write=False):
        """The next operand as a state."""
        index, state = self.item(self.program.states, "state")
        (self.state_writes if write else self.state_reads).append(index)
        return state

    def weight(self, columns):
        """The next operand as a grid or wide tensor."""
        tensor = self.item(self.tensors, "tensor")[1]
        self.ok(tensor.encoding != WORDS, "weight is words")
        self.ok(tensor.columns == columns, "columns of the weight")
        return tensor

    def same(self, a, b):
        """Same rows and width."""
        self.ok(a.rows == b.rows, "rows differ")
        self.ok(a.width == b.width, "width differs")

    def turn(self, head_width):
        """The operands phases, pairing, hadamard."""
        if self.x[self.used] == NONE:
            self.used += 1
            self.ok(self.word() == 0, "pairing without phases")
        else:
            phases = self.item(self.tensors, "tensor")[1]
            self.ok(phases.encoding == WORDS and phases.rows == 1, "phases")
            self.ok(2 * phases.columns <= head_width, "too many phases")
            self.ok(self.word() in (1, 2), "pairing")
        self.hadamard(head_width)

    def hadamard(self, width):
        """The next operand as the size of a Hadamard block."""
        block = self.word()
        self.ok(block == 0 or 2 <= block <= 256 and block & (block - 1) == 0, "hadamard")
        self.ok(block == 0 or width % block == 0, "hadamard does not divide the width")

    def embed(self):
        """T weight, B out, hadamard."""
        tensor = self.item(self.tensors, "tensor")[1]
        out = self.buffer(FIXED, write=True)
        self.ok(tensor.encoding != WORDS, "weight is words")
        self.ok(out.rows == TOKENS, "rows")
        self.ok(tensor.columns == out.width, "columns of the weight")
        self.ok(tensor.rows == self.program.vocabulary, "rows of the weight")
        self.hadamard(out.width)

    def norm_quant(self):
        """B in, T gamma, B out, kind, eps, hadamard."""
        source = self.buffer(FIXED, read=True)
        gamma = self.item(self.tensors, "tensor")[1]
        self.ok(gamma.encoding == WIDE and gamma.rows == 1, "gamma")
        self.ok(gamma.columns == source.width, "columns of gamma")
        out = self.buffer(CODES8, write=True)
        self.ok(out.scales == 1, "scales")
        self.same(source, out)
        self.ok(self.word() == 1, "kind of norm")
        low, high = self.word(), self.word()
        self.ok(low + (high << 32) <= 1 << 40, "eps")
        self.hadamard(out.width)

    def linear(self):
        """B in, count, pairs of T weight and B out."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1, "scales")
        count = self.word()
        self.ok(1 <= count <= 6, "count")
        for _ in range(count):
            tensor = self.weight(source.width)
            out = self.buffer(SCALED, write=True)
            self.ok(out.width == tensor.rows, "width of out")
            self.ok(out.rows == source.rows, "rows")

    def linear_add(self):
        """B in, T weight, B sum."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1, "scales")
        tensor = self.weight(source.width)
        total = self.buffer(FIXED, read=True)
        self.ok(total.width == tensor.rows, "width of sum")
        self.ok(total.rows == source.rows, "rows")

    def head_quant(self):
        """B in, B out, phases, pairing, hadamard."""
        source = self.buffer(SCALED, read=True)
        out = self.buffer(CODES8, write=True)
        self.same(source, out)
        self.ok(out.width // out.scales <= MAX_HEAD_WIDTH, "head width")
        self.turn(out.width // out.scales)

    def cache_append(self):
        """B in, S state, phases, pairing, hadamard."""
        source = self.buffer(SCALED, read=True)
        state = self.state(write=True)
        self.ok(source.rows == TOKENS, "rows")
        self.ok(source.width == state.heads * state.width, "width")
        self.turn(state.width)

    def attend(self):
        """B query, S keys, S values, B out, window, m, e, hadamard."""
        query = self.buffer(CODES8, read=True)
        keys, values = self.state(), self.state()
        out = self.buffer(CODES8, write=True)
        self.ok(query.rows == TOKENS, "rows")
        self.ok(keys == values, "keys and values differ")
        self.ok(query.width // query.scales == keys.width, "head width")
        self.ok(query.scales % keys.heads == 0, "heads not a multiple")
        self.ok(out.scales == 1, "scales")
        self.same(query, out)
        self.ok(self.word() <= MAX_CONTEXT, "window")
        self.ok(32768 <= self.word() <= 65535, "m")
        self.ok(-64 <= signed(self.word()) <= 64, "e")
        self.hadamard(out.width)

    def gate_quant(self):
        """B gate, B up, B out, activation, hadamard."""
        gate, up = self.buffer(SCALED, read=True), self.buffer(SCALED, read=True)
        out = self.buffer(CODES8, write=True)
        self.same(gate, up)
        self.ok(out.scales == 1, "scales")
        self.same(gate, out)
        self.ok(self.word() == 1, "activation")
        self.hadamard(out.width)

    def select(self):
        """B in, B out."""
        source, out = self.buffer(FIXED, read=True), self.buffer(FIXED, write=True)
        self.ok(source.rows == TOKENS and out.rows == OUTPUTS, "rows")
        self.ok(source.width == out.width, "width differs")
        self.ok(source.fraction == out.fraction, "fraction differs")

    def logits(self):
        """B in, T weight, B out."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1 and source.rows == OUTPUTS, "in")
        tensor = self.weight(source.width)
        out = self.buffer(FIXED, write=True)
        self.ok(out.rows == OUTPUTS and out.fraction == 16, "out")
        self.ok(out.width == tensor.rows == self.program.vocabulary, "width of out")


CHECKS = {EMBED: OpChecker.embed, NORM_QUANT: OpChecker.norm_quant, LINEAR: OpChecker.linear,
          LINEAR_ADD: OpChecker.linear_add, HEAD_QUANT: OpChecker.head_quant,
          CACHE_APPEND: OpChecker.cache_append, ATTEND: OpChecker.attend,
          GATE_QUANT: OpChecker.gate_quant, SELECT: OpChecker.select, LOGITS: OpChecker.logits}


class Plan:
    """Follows which buffer holds each slot and which states were appended."""

    def __init__(self, program):
        self.program, self.holder, self.writer, self.appended = program, {}, {}, set()

    def step(self, number, op, where):
        """The rules on slots and states for one checked op."""
        slot = [buffer.slot for buffer in self.program.buffers]
        for index in op.reads:
            need(self.holder.get(slot[index]) == index, "bad_plan",
                 f"{where}: reads buffer {index}, which does not hold its slot")
        for i, index in enumerate(op.writes):
            others = op.reads + op.writes[:i]
            need(slot[index] not in [slot[other] for other in others], "bad_plan",
                 f"{where}: writes buffer {index} over another operand")
        for index in op.state_reads:
            need(index in self.appended, "bad_plan", f"{where}: state {index} not yet appended")
        for index in op.state_writes:
            need(index not in self.appended, "bad_plan", f"{where}: state {index} appended twice")
            self.appended.add(index)
        for index in op.writes:
            self.holder[slot[index]] = index
            self.writer[index] = number


def read_program(data, tensors):
    """The checked program."""
    need(len(data) >= 32, "bad_program", "program header")
    buffers, states, ops, slots, context, vocabulary, output, zero = \
        struct.unpack_from("<8I", data)
    for value, least, most, what in ((buffers, 1, MAX_BUFFERS, "buffer count"),
                                     (states, 0, MAX_STATES, "state count"),
                                     (ops, 1, MAX_OPS, "op count"),
                                     (slots, 1, MAX_SLOTS, "slot count"),
                                     (context, 1, MAX_CONTEXT, "context")):
        need(value >= least, "bad_program", what)
        need(value <= most, "over_limit", what)
    need(vocabulary >= 1, "bad_program", "vocabulary")
    need(output < buffers, "bad_program", "output")
    need(zero == 0, "bad_padding", "program header")
    need(len(data) == 32 + 32 * buffers + 32 * states + 64 * ops, "bad_program",
         "size of the program section")
    program, at = Program(context, vocabulary, output, slots), 32
    for number in range(buffers):
        program.buffers.append(read_buffer(data[at:at + 32], slots, f"buffer {number}"))
        at += 32
    for number in range(states):
        program.states.append(read_state(data[at:at + 32], f"state {number}"))
        at += 32
    plan = Plan(program)
    for number in range(ops):
        op, *operands = struct.unpack_from("<16I", data, at)
        at += 64
        where = f"op {number}"
        need(op in CHECKS, "unknown", where)
        checker = OpChecker(program, tensors, operands, where)
        CHECKS[op](checker)
        checker.ok(not any(operands[checker.used:]), "unused operand is not 0")
        plan.step(op, checker, where)
        program.ops.append((op, operands))
    need(plan.writer.get(output) == LOGITS, "bad_program", "output is not written by logits")
    need(plan.holder.get(program.buffers[output].slot) == output, "bad_plan",
         "output does not hold its slot at the end")
    need(len(plan.appended) == states, "bad_plan", "a state that no op appends")
    return program
