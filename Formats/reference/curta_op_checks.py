# SPDX-License-Identifier: Apache-2.0
"""The operands of every op, as the table of curta-program.md has them."""

from curta_errors import need
from curta_records import (ADD, ADD_POSITION, ATTEND, BIAS, CACHE_APPEND, CODES8, EMBED, FIXED,
                           GATE_QUANT, HEAD_QUANT, LINEAR, LINEAR_ADD, LOGITS, MAX_CONTEXT,
                           MAX_HEAD_WIDTH, MEAN, NONE, NORM, NORM_QUANT, NUMBERS, OUTPUTS, PATCHES,
                           PATCHIFY, POOL, PREFIX, QUANTIZE, ROW, SCALED, SELECT, SOFT_CAP, TOKENS,
                           signed)
from curta_tensors import WIDE, WORDS


class OpChecker:
    """Checks one op's operands; collects the buffers and states that it reads and writes. A sum is
    in `sums` only."""

    def __init__(self, program, tensors, operands, where):
        self.program, self.tensors, self.x, self.where = program, tensors, operands, where
        self.used, self.reads, self.writes, self.sums = 0, [], [], []
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

    def buffer(self, *types, read=False, write=False):
        """The next operand as a buffer of a type; read and written is a sum."""
        index, buffer = self.item(self.program.buffers, "buffer")
        self.ok(buffer.type in types, "buffer type")
        (self.sums if read and write else self.reads if read else self.writes).append(index)
        return buffer

    def state(self, write=False):
        """The next operand as a state."""
        index, state = self.item(self.program.states, "state")
        (self.state_writes if write else self.state_reads).append(index)
        return state

    def weight(self, columns=None, modified=False):
        """The next operand as a grid or wide tensor, perhaps with modifiers."""
        tensor = self.item(self.tensors, "tensor")[1]
        self.ok(tensor.encoding != WORDS, "weight is words")
        self.ok(modified or not (tensor.mask or tensor.overlays), "weight has modifiers")
        self.ok(columns in (None, tensor.columns), "columns of the weight")
        return tensor

    def none(self):
        """Whether the next operand is NONE, which is then used up."""
        found = self.x[self.used] == NONE
        self.used += found
        return found

    def row(self, columns):
        """The next operand as a wide tensor of one row."""
        tensor = self.item(self.tensors, "tensor")[1]
        self.ok(tensor.encoding == WIDE and tensor.rows == 1, "not a wide row")
        self.ok(tensor.columns == columns, "columns of the row")

    def eps(self, largest=1 << 40):
        """The next two operands as eps."""
        low, high = self.word(), self.word()
        self.ok(low + (high << 32) <= largest, "eps")

    def cap(self):
        """The next operand as a cap."""
        self.ok(1 << 16 <= self.word() <= 1 << 26, "cap")

    def same(self, a, b):
        """Same rows and width."""
        self.ok(a.rows == b.rows, "rows differ")
        self.ok(a.width == b.width, "width differs")

    def turn(self, head_width):
        """The operands phases, pairing, hadamard."""
        if self.none():
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

    def of_tokens(self):
        """An op of token programs."""
        self.ok(self.program.image is None, "an op of token programs")

    def of_images(self):
        """An op of image programs; gives the image record."""
        self.ok(self.program.image is not None, "an op of image programs")
        return self.program.image

    def embed(self):
        """T weight, B out, hadamard."""
        self.of_tokens()
        tensor = self.weight()
        out = self.buffer(FIXED, write=True)
        self.ok(out.rows == TOKENS, "rows")
        self.ok(tensor.columns == out.width, "columns of the weight")
        self.ok(tensor.rows == self.program.vocabulary, "rows of the weight")
        self.hadamard(out.width)

    def norm_of(self, kind):
        """B in, T gamma, B out of a type, kind, eps."""
        source = self.buffer(FIXED, read=True)
        self.row(source.width)
        out = self.buffer(kind, write=True)
        self.same(source, out)
        self.ok(self.word() in (1, 2), "kind of norm")
        self.eps()
        return out

    def norm_quant(self):
        """B in, T gamma, B out, kind, eps, hadamard."""
        out = self.norm_of(CODES8)
        self.ok(out.scales == 1, "scales")
        self.hadamard(out.width)

    def linear(self):
        """B in, count, pairs of T weight and B out."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1, "scales")
        count = self.word()
        self.ok(1 <= count <= 6, "count")
        for _ in range(count):
            tensor = self.weight(source.width, modified=True)
            out = self.buffer(SCALED, write=True)
            self.ok(out.width == tensor.rows, "width of out")
            self.ok(out.rows == source.rows, "rows")

    def linear_add(self):
        """B in, T weight, B sum."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1, "scales")
        tensor = self.weight(source.width, modified=True)
        total = self.buffer(FIXED, read=True, write=True)
        self.ok(total.width == tensor.rows, "width of sum")
        self.ok(total.rows == source.rows, "rows")

    def head_norm(self, source, head_width):
        """T norm or NONE, eps."""
        if self.none():
            self.eps(0)
        else:
            self.ok(source.type == FIXED, "a norm of a scaled row")
            self.row(head_width)
            self.eps()

    def head_quant(self):
        """B in, B out, phases, pairing, hadamard, norm, eps."""
        source = self.buffer(*NUMBERS, read=True)
        out = self.buffer(CODES8, write=True)
        self.same(source, out)
        width = out.width // out.scales
        self.ok(width <= MAX_HEAD_WIDTH, "head width")
        self.turn(width)
        self.head_norm(source, width)

    def cache_append(self):
        """B in, S state, phases, pairing, hadamard, norm, eps."""
        source = self.buffer(*NUMBERS, read=True)
        state = self.state(write=True)
        self.ok(source.rows == TOKENS, "rows")
        self.ok(source.width == state.heads * state.width, "width")
        self.turn(state.width)
        self.head_norm(source, state.width)

    def attend(self):
        """B query, S keys, S values, B out, window, m, e, hadamard, cap, code_bits, step, shift."""
        query = self.buffer(CODES8, read=True)
        keys, values = self.state(), self.state()
        out = self.buffer(CODES8, write=True)
        self.ok(query.rows == TOKENS, "rows")
        self.ok(keys == values, "keys and values differ")
        self.ok(query.width // query.scales == keys.width, "head width")
        self.ok(query.scales % keys.heads == 0, "heads not a multiple")
        self.ok(out.scales == 1, "scales")
        self.same(query, out)
        self.ok(self.word() <= (0 if self.program.image else MAX_CONTEXT), "window")
        self.ok(32768 <= self.word() <= 65535, "m")
        self.ok(-64 <= signed(self.word()) <= 64, "e")
        self.hadamard(out.width)
        if self.x[self.used] == 0:
            self.used += 1
        else:
            self.cap()
        bits, step, shift = self.word(), self.word(), self.word()
        self.ok(bits == 0 or 2 <= bits <= 4, "bits of a code")
        self.ok((1 <= step <= 4) if bits else step == 0, "step of a code")
        self.ok(shift < (1 << 15 if bits else 1), "shift of a code")

    def gate_quant(self):
        """B gate, B up or NONE, B out, activation, hadamard."""
        gate = self.buffer(*NUMBERS, read=True)
        if not self.none():
            self.same(gate, self.buffer(*NUMBERS, read=True))
        out = self.buffer(CODES8, write=True)
        self.ok(out.scales == 1, "scales")
        self.same(gate, out)
        self.ok(1 <= self.word() <= 5, "activation")
        self.hadamard(out.width)

    def select(self):
        """B in, B out."""
        self.of_tokens()
        source, out = self.buffer(FIXED, read=True), self.buffer(FIXED, write=True)
        self.ok(source.rows == TOKENS and out.rows == OUTPUTS, "rows")
        self.ok(source.width == out.width, "width differs")
        self.ok(source.fraction == out.fraction, "fraction differs")

    def logits(self):
        """B in, T weight, B out."""
        source = self.buffer(CODES8, read=True)
        self.ok(source.scales == 1 and source.rows == OUTPUTS, "in")
        tensor = self.weight(source.width, modified=True)
        out = self.buffer(FIXED, write=True)
        self.ok(out.rows == OUTPUTS and out.fraction == 16, "out")
        self.ok(out.width == tensor.rows == self.program.vocabulary, "width of out")

    def bias(self):
        """B in, T bias or NONE, B out; in may be out."""
        source = self.buffer(*NUMBERS, read=True)
        if not self.none():
            self.row(source.width)
        out = self.buffer(FIXED, write=True)
        self.same(source, out)
        if self.reads == self.writes:
            self.sums, self.reads, self.writes = self.writes, [], []

    def norm(self):
        """B in, T gamma, B out, kind, eps."""
        self.norm_of(FIXED)

    def add(self):
        """B in, B sum."""
        source = self.buffer(*NUMBERS, read=True)
        self.same(source, self.buffer(FIXED, read=True, write=True))

    def add_position(self):
        """T weight, B sum."""
        tensor = self.weight()
        self.ok(tensor.rows >= self.program.context, "fewer rows than positions")
        total = self.buffer(FIXED, read=True, write=True)
        self.ok(total.rows == TOKENS, "rows")
        self.ok(total.width == tensor.columns, "width")

    def soft_cap(self):
        """B sum, cap."""
        self.ok(self.buffer(FIXED, read=True, write=True).fraction == 16, "fraction")
        self.cap()

    def quantize(self):
        """B in, B out, hadamard."""
        source, out = self.buffer(*NUMBERS, read=True), self.buffer(CODES8, write=True)
        self.ok(out.scales == 1, "scales")
        self.same(source, out)
        self.hadamard(out.width)

    def patchify(self):
        """B out."""
        image, out = self.of_images(), self.buffer(CODES8, write=True)
        self.ok(out.scales == 1, "scales")
        self.ok(out.rows == PATCHES, "rows")
        self.ok(out.width == image.patch_height * image.patch_width * image.channels, "width")

    def prefix(self):
        """B in, T rows or NONE, B out."""
        more = self.program.context - self.of_images().patches
        source = self.buffer(*NUMBERS, read=True)
        self.ok(source.rows == PATCHES, "rows of in")
        if more:
            self.ok(self.weight(source.width).rows == more, "rows of the prefix")
        else:
            self.ok(self.none(), "rows where there is no prefix")
        out = self.buffer(FIXED, write=True)
        self.ok(out.rows == TOKENS, "rows of out")
        self.ok(out.width == source.width, "width differs")

    def pool(self):
        """B in, B out, kind, first."""
        self.of_images()
        source, out = self.buffer(FIXED, read=True), self.buffer(FIXED, write=True)
        self.ok(source.rows == TOKENS and out.rows == OUTPUTS, "rows")
        self.ok(source.width == out.width, "width differs")
        self.ok(source.fraction == out.fraction, "fraction differs")
        self.ok(self.word() in (ROW, MEAN), "kind of pool")
        self.ok(self.word() < self.program.context, "first")


CHECKS = {EMBED: OpChecker.embed, NORM_QUANT: OpChecker.norm_quant, LINEAR: OpChecker.linear,
          LINEAR_ADD: OpChecker.linear_add, HEAD_QUANT: OpChecker.head_quant,
          CACHE_APPEND: OpChecker.cache_append, ATTEND: OpChecker.attend,
          GATE_QUANT: OpChecker.gate_quant, SELECT: OpChecker.select, LOGITS: OpChecker.logits,
          BIAS: OpChecker.bias, NORM: OpChecker.norm, ADD: OpChecker.add,
          ADD_POSITION: OpChecker.add_position, SOFT_CAP: OpChecker.soft_cap,
          QUANTIZE: OpChecker.quantize, PATCHIFY: OpChecker.patchify, PREFIX: OpChecker.prefix,
          POOL: OpChecker.pool}
