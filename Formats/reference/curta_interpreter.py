# SPDX-License-Identifier: Apache-2.0
"""Runs the program of a checked file: steps of tokens in, int32 logits out."""

import numpy as np

import curta_ops as ops
from curta_errors import need
from curta_file import read_file
from curta_program import (ATTEND, CACHE_APPEND, EMBED, GATE_QUANT, HEAD_QUANT, LINEAR,
                           LINEAR_ADD, LOGITS, NONE, NORM_QUANT, SELECT, signed)


class Cache:
    """A state's codes and scales, for every position of the context."""

    def __init__(self, state, context):
        self.codes = np.zeros((context, state.heads, state.width), np.int64)
        self.m = np.zeros((context, state.heads), np.int64)
        self.e = np.zeros((context, state.heads), np.int64)


class Session:
    """A session of a model: `step` takes tokens and gives logits."""

    def __init__(self, model, context=None):
        self.model, self.program = model, model.program
        self.context = context or self.program.context
        need(1 <= self.context <= self.program.context, "bad_argument", "context")
        self.past = 0
        self.caches = [Cache(state, self.context) for state in self.program.states]
        self.weights = {}
        self.buffers = [None] * len(self.program.buffers)

    def weight(self, index):
        """The tensor made ready for products, once."""
        if index not in self.weights:
            self.weights[index] = ops.Weight(self.model.tensors[index])
        return self.weights[index]

    def phases(self, index):
        """The phases tensor or None."""
        return None if index == NONE else self.model.tensors[index]

    def step(self, tokens, outputs=1):
        """Runs the program once; gives int32 logits [outputs][vocabulary]."""
        need(len(tokens) >= 1 and 1 <= outputs <= len(tokens), "bad_argument", "outputs")
        need(self.past + len(tokens) <= self.context, "context_full", "step")
        need(all(0 <= token < self.program.vocabulary for token in tokens),
             "bad_argument", "token id")
        self.tokens, self.outputs = np.asarray(tokens, np.int64), outputs
        positions = np.arange(self.past, self.past + len(tokens))
        for op, x in self.program.ops:
            self.run(op, x, positions)
        self.past += len(tokens)
        result = self.buffers[self.program.output]
        return result.astype(np.int32)

    def rows_positions(self, buffer, positions):
        """The positions of a buffer's rows."""
        return positions if self.program.buffers[buffer].rows == 0 else positions[-self.outputs:]

    def run(self, op, x, positions):
        """One op. Buffers hold: fixed an array; scaled (z, m, e); codes8 (q, m, e)."""
        held, shape = self.buffers, self.program.buffers
        if op == EMBED:
            held[x[1]] = ops.embed(self.weight(x[0]), self.tokens, shape[x[1]].fraction,
                                   x[2])
        elif op == NORM_QUANT:
            held[x[2]] = ops.norm_quant(held[x[0]], self.model.tensors[x[1]], x[4] + (x[5] << 32),
                                        x[6])
        elif op == LINEAR:
            for i in range(x[1]):
                held[x[3 + 2 * i]] = self.weight(x[2 + 2 * i]).product(*held[x[0]])
        elif op == LINEAR_ADD:
            product = self.weight(x[1]).product(*held[x[0]])
            held[x[2]] = ops.linear_add(held[x[2]], *product, shape[x[2]].fraction)
        elif op == HEAD_QUANT:
            held[x[1]] = self.head_codes(x, shape[x[1]].scales, positions)
        elif op == CACHE_APPEND:
            cache = self.caches[x[1]]
            q, m, e = ops.head_quant(*held[x[0]], cache.codes.shape[1], positions,
                                     self.phases(x[2]), x[3], x[4])
            cache.codes[positions], cache.m[positions], cache.e[positions] = q, m, e
        elif op == ATTEND:
            held[x[3]] = self.attend(x, positions)
        elif op == GATE_QUANT:
            held[x[2]] = ops.gate_quant(*held[x[0]], *held[x[1]], x[4])
        elif op == SELECT:
            held[x[1]] = held[x[0]][-self.outputs:]
        elif op == LOGITS:
            held[x[2]] = ops.logits(*self.weight(x[1]).product(*held[x[0]]))

    def head_codes(self, x, heads, positions):
        """head_quant; codes go flat, scales one a head. A row of one head has plain scales."""
        z, m, e = self.buffers[x[0]]
        q, m, e = ops.head_quant(z, m, e, heads, self.rows_positions(x[0], positions),
                                 self.phases(x[2]), x[3], x[4])
        q = q.reshape(len(q), -1)
        return (q, m[:, 0], e[:, 0]) if heads == 1 else (q, m, e)

    def attend(self, x, positions):
        """attend for each token of the step."""
        q, m, e = self.buffers[x[0]]
        keys, values = self.caches[x[1]], self.caches[x[2]]
        heads = self.program.buffers[x[0]].scales
        m, e = m.reshape(len(q), heads), e.reshape(len(q), heads)
        rows = []
        for row, p in enumerate(positions):
            seen = slice(max(0, p - x[4] + 1) if x[4] else 0, p + 1)
            rows.append(ops.attend(q[row].reshape(heads, -1), (m[row], e[row]),
                                   keys.codes[seen], (keys.m[seen], keys.e[seen]),
                                   values.codes[seen], (values.m[seen], values.e[seen]),
                                   (x[5], signed(x[6])), x[7]))
        return tuple(np.stack([row[i] for row in rows]) for i in range(3))


def load(path):
    """Reads and checks the file at `path`."""
    with open(path, "rb") as file:
        return read_file(file.read())
