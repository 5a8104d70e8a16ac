# SPDX-License-Identifier: Apache-2.0
"""Runs the program of a checked file: steps of tokens or images in, int32 logits out."""

import numpy as np

import curta_ops as ops
from curta_errors import need
from curta_file import read_file
from curta_records import (ADD, ADD_POSITION, ATTEND, BIAS, CACHE_APPEND, EMBED, FIXED, GATE_QUANT,
                           HEAD_QUANT, LINEAR, LINEAR_ADD, LOGITS, NONE, NORM, NORM_QUANT, OUTPUTS,
                           PATCHES, PATCHIFY, POOL, PREFIX, QUANTIZE, SELECT, SOFT_CAP, TOKENS,
                           signed)
from curta_resample import resized


class Cache:
    """A state's codes and scales, for every position of a context or of a step's images."""

    def __init__(self, state, rows):
        self.codes = np.zeros((rows, state.heads, state.width), np.int64)
        self.m = np.zeros((rows, state.heads), np.int64)
        self.e = np.zeros((rows, state.heads), np.int64)


class Session:
    """A session of a model: `step` takes tokens and gives logits."""

    def __init__(self, model, context=None):
        self.model, self.program = model, model.program
        need(self.program.image is None, "bad_argument", "a program of images")
        self.context = context or self.program.context
        need(1 <= self.context <= self.program.context, "bad_argument", "context")
        self.past, self.weights = 0, {}
        self.make_caches(self.context)

    def make_caches(self, rows):
        """Empty states of so many positions."""
        self.caches = [Cache(state, rows) for state in self.program.states]

    def weight(self, index):
        """The tensor made ready for products, once."""
        if index not in self.weights:
            self.weights[index] = ops.Weight(self.model.tensors[index])
        return self.weights[index]

    def tensor(self, index):
        """The tensor or None."""
        return None if index == NONE else self.model.tensors[index]

    def step(self, tokens, outputs=1):
        """Runs the program once; gives int32 logits [outputs][vocabulary]."""
        need(len(tokens) >= 1 and 1 <= outputs <= len(tokens), "bad_argument", "outputs")
        need(self.past + len(tokens) <= self.context, "context_full", "step")
        need(all(0 <= token < self.program.vocabulary for token in tokens),
             "bad_argument", "token id")
        self.tokens, self.outputs = np.asarray(tokens, np.int64), outputs
        self.places = np.arange(self.past, self.past + len(tokens))
        self.positions = {TOKENS: self.places, OUTPUTS: self.places[-outputs:]}
        self.past += len(tokens)
        return self.run_all()

    def run_all(self):
        """Every op; gives the output. `places` are the rows of the states that the step writes,
        `positions` those of the rows of each kind."""
        self.buffers = [None] * len(self.program.buffers)
        for op, x in self.program.ops:
            self.run(op, x)
        return self.buffers[self.program.output].astype(np.int32)

    def seen(self, row, window):
        """The places that a row of the step attends to."""
        p = self.places[row]
        return slice(max(0, p - window + 1) if window else 0, p + 1)

    def numbers(self, index):
        """The rows of a fixed or scaled buffer as (z, m, e)."""
        shape, held = self.program.buffers[index], self.buffers[index]
        if shape.type != FIXED:
            return held
        rows = len(held)
        return held, np.full(rows, 32768, np.int64), np.full(rows, shape.fraction + 15, np.int64)

    def run(self, op, x):
        """One op. Buffers hold: fixed an array; scaled (z, m, e); codes8 (q, m, e)."""
        held, shape = self.buffers, self.program.buffers
        if op == EMBED:
            held[x[1]] = ops.embed(self.weight(x[0]), self.tokens, shape[x[1]].fraction,
                                   x[2])
        elif op == NORM_QUANT:
            held[x[2]] = ops.norm_quant(held[x[0]], self.tensor(x[1]), x[3],
                                        x[4] + (x[5] << 32), x[6])
        elif op == LINEAR:
            for i in range(x[1]):
                held[x[3 + 2 * i]] = self.weight(x[2 + 2 * i]).product(*held[x[0]])
        elif op == LINEAR_ADD:
            product = self.weight(x[1]).product(*held[x[0]])
            held[x[2]] = ops.add(held[x[2]], *product, shape[x[2]].fraction)
        elif op == HEAD_QUANT:
            held[x[1]] = self.head_codes(x, shape[x[1]].scales)
        elif op == CACHE_APPEND:
            cache = self.caches[x[1]]
            q, m, e = self.heads(x, cache.codes.shape[1])
            at = self.places
            cache.codes[at], cache.m[at], cache.e[at] = q, m, e
        elif op == ATTEND:
            held[x[3]] = self.attend(x)
        elif op == GATE_QUANT:
            up = None if x[1] == NONE else self.numbers(x[1])
            held[x[2]] = ops.gate_quant(self.numbers(x[0]), up, x[3], x[4])
        elif op == SELECT:
            held[x[1]] = held[x[0]][-self.outputs:]
        elif op == LOGITS:
            held[x[2]] = ops.logits(*self.weight(x[1]).product(*held[x[0]]))
        elif op == BIAS:
            held[x[2]] = ops.bias(*self.numbers(x[0]), self.tensor(x[1]), shape[x[2]].fraction)
        elif op == NORM:
            held[x[2]] = ops.norm_fixed(held[x[0]], self.tensor(x[1]), x[3],
                                        x[4] + (x[5] << 32), shape[x[2]].fraction)
        elif op == ADD:
            held[x[1]] = ops.add(held[x[1]], *self.numbers(x[0]), shape[x[1]].fraction)
        elif op == ADD_POSITION:
            held[x[1]] = ops.add_position(held[x[1]], self.weight(x[0]), self.positions[TOKENS],
                                          shape[x[1]].fraction)
        elif op == SOFT_CAP:
            held[x[0]] = ops.cap(held[x[0]], x[1])
        elif op == QUANTIZE:
            z, m, e = self.numbers(x[0])
            held[x[1]] = ops.spread(z, (m, e), x[2])
        elif op == PATCHIFY:
            held[x[0]] = ops.patchify(self.pixels, self.program.image)
        elif op == PREFIX:
            rows = None if x[1] == NONE else self.weight(x[1])
            held[x[2]] = ops.prefix(*self.numbers(x[0]), rows, self.program.image.patches,
                                    shape[x[2]].fraction)
        elif op == POOL:
            held[x[1]] = ops.pool(held[x[0]], self.program.context, x[2], x[3])

    def heads(self, x, heads):
        """What head_quant and cache_append share: codes and scales by head."""
        positions = self.positions[self.program.buffers[x[0]].rows]
        return ops.head_quant(*self.numbers(x[0]), heads, positions, self.tensor(x[2]), x[3], x[4],
                              self.tensor(x[5]), x[6] + (x[7] << 32))

    def head_codes(self, x, heads):
        """head_quant; codes go flat, scales one a head. A row of one head has plain scales."""
        q, m, e = self.heads(x, heads)
        q = q.reshape(len(q), -1)
        return (q, m[:, 0], e[:, 0]) if heads == 1 else (q, m, e)

    def attend(self, x):
        """attend for each row of tokens."""
        q, m, e = self.buffers[x[0]]
        keys, values = self.caches[x[1]], self.caches[x[2]]
        heads = self.program.buffers[x[0]].scales
        m, e = m.reshape(len(q), heads), e.reshape(len(q), heads)
        rows = []
        for row in range(len(q)):
            seen = self.seen(row, x[4])
            rows.append(ops.attend(q[row].reshape(heads, -1), (m[row], e[row]),
                                   keys.codes[seen], (keys.m[seen], keys.e[seen]),
                                   values.codes[seen], (values.m[seen], values.e[seen]),
                                   (x[5], signed(x[6])), x[7], x[8], x[9:12]))
        return tuple(np.stack([row[i] for row in rows]) for i in range(3))


class ImageSession(Session):
    """A session of a model of images: `step` takes images and keeps nothing."""

    def __init__(self, model):
        need(model.program.image is not None, "bad_argument", "a program of tokens")
        self.model, self.program, self.weights = model, model.program, {}

    def step(self, images):
        """int32 rows [images][vocabulary] of images [h][w][channels] of pixels 0 ... 255."""
        image, S = self.program.image, self.program.context
        wanted = (image.height, image.width)
        for pixels in images:
            need(pixels.ndim == 3 and pixels.size and pixels.shape[2] == image.channels,
                 "bad_argument", "shape of an image")
            need(image.resize or pixels.shape[:2] == wanted, "bad_argument", "size of an image")
        need(len(images) >= 1, "bad_argument", "no images")
        self.pixels = np.stack([resized(pixels, image) for pixels in images])
        b = len(images)
        self.make_caches(b * S)
        self.places = np.arange(b * S)
        self.positions = {TOKENS: self.places % S, OUTPUTS: np.zeros(b, np.int64),
                          PATCHES: np.arange(b * image.patches) % image.patches}
        return self.run_all()

    def seen(self, row, window):
        """All rows of the row's image."""
        first = row // self.program.context * self.program.context
        return slice(first, first + self.program.context)


def load(path):
    """Reads and checks the file at `path`."""
    with open(path, "rb") as file:
        return read_file(file.read())
