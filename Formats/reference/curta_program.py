# SPDX-License-Identifier: Apache-2.0
"""The program section: every rule of curta-program.md, and the ops as lists of operands."""

import struct

from curta_errors import need
from curta_op_checks import CHECKS, OpChecker
from curta_records import (BIAS, FIXED, LOGITS, MAX_BUFFERS, MAX_CONTEXT, MAX_OPS, MAX_SLOTS,
                           MAX_STATES, NORM, OUTPUTS, Program, SOFT_CAP, read_buffer, read_image,
                           read_state)


class Plan:
    """Follows which buffer holds each slot and which states were appended."""

    def __init__(self, program):
        self.program, self.holder, self.writer, self.appended = program, {}, {}, set()

    def step(self, number, op, where):
        """The rules on slots and states for one checked op."""
        slot = [buffer.slot for buffer in self.program.buffers]
        for index in op.reads + op.sums:
            need(self.holder.get(slot[index]) == index, "bad_plan",
                 f"{where}: reads buffer {index}, which does not hold its slot")
        for i, index in enumerate(op.writes + op.sums):
            others = op.reads + (op.writes + op.sums)[:i]
            need(slot[index] not in [slot[other] for other in others], "bad_plan",
                 f"{where}: writes buffer {index} over another operand")
        for index in op.state_reads:
            need(index in self.appended, "bad_plan", f"{where}: state {index} not yet appended")
        for index in op.state_writes:
            need(index not in self.appended, "bad_plan", f"{where}: state {index} appended twice")
            self.appended.add(index)
        for index in op.writes:
            self.holder[slot[index]] = index
        for index in op.writes + (op.sums if number not in (BIAS, SOFT_CAP) else []):
            self.writer[index] = number  # a bias or soft_cap in place does not count


def read_program(data, tensors):
    """The checked program."""
    need(len(data) >= 32, "bad_program", "program header")
    buffers, states, ops, slots, context, vocabulary, output, kind = \
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
    need(kind in (0, 1), "unknown", "input")
    at = 64 if kind else 32
    need(len(data) == at + 32 * buffers + 32 * states + 64 * ops, "bad_program",
         "size of the program section")
    image = read_image(data[32:64], context) if kind else None
    program = Program(context, vocabulary, output, slots, image)
    for number in range(buffers):
        program.buffers.append(read_buffer(data[at:at + 32], slots, image, f"buffer {number}"))
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
    last = program.buffers[output]
    need((last.type, last.rows, last.fraction, last.width) == (FIXED, OUTPUTS, 16, vocabulary),
         "bad_program", "shape of the output")
    need(plan.writer.get(output) in ((LOGITS, NORM) if image else (LOGITS,)), "bad_program",
         "what writes the output")
    need(plan.holder.get(last.slot) == output, "bad_plan",
         "output does not hold its slot at the end")
    need(len(plan.appended) == states, "bad_plan", "a state that no op appends")
    return program
