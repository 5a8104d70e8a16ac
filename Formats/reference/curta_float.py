# SPDX-License-Identifier: Apache-2.0
"""What a program means in real numbers: every op in float64, nothing quantised, nothing clamped.
A whole text is one step that asks for all rows; images come one by one, already resized."""

import math

import numpy as np

import curta_records as p
from curta_ops import expanded, hadamard_blocks


def erf(x):
    """erf of each element."""
    return np.vectorize(math.erf)(x)


def sigmoid(x):
    """1 / (1 + exp(-x)) of each element."""
    return 0.5 * (1 + np.tanh(x / 2))


ACTIVATIONS = {
    1: lambda x: x * sigmoid(x),
    2: lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    3: lambda x: x / 2 * (1 + erf(x / math.sqrt(2))),
    4: lambda x: x * sigmoid(1.702 * x),
    5: lambda x: np.maximum(x, 0)}


def cubic(t):
    """The bicubic filter with a = -1/2."""
    t = np.abs(t)
    near, far = 1.5 * t ** 3 - 2.5 * t ** 2 + 1, -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


FILTERS = {1: lambda t: ((t > -0.5) & (t <= 0.5)) * 1.0,
           2: lambda t: np.maximum(0, 1 - np.abs(t)),
           3: cubic}


def norm(x, gamma, kind, epsilon):
    """RMS or layer norm along the last axis."""
    if kind == 2:
        x = x - np.mean(x, axis=-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * gamma


def cap(x, limit):
    """limit * tanh(x / limit)."""
    return limit * np.tanh(x / limit)


def coded(p, bits, step, shift):
    """Shift-uniform-log2 of I&S-ViT, p relative to the largest of its row; masked p stay 0."""
    step, eta = step / 2, shift / 2 ** 15
    n = np.floor(np.clip(-np.log2(p + eta + (p == 0)) / step + 0.5, 0, 2 ** bits - 1))
    return np.where(p > 0, np.maximum(0, 2.0 ** (-n * step) - eta), 0)


def turned(y, positions, phases, pairing):
    """Heads [rows][heads][w] turned by their positions."""
    r = len(phases)
    angle = (np.asarray(positions)[:, None] * phases * (2 * math.pi / 2 ** 32))[:, None]
    first = slice(0, 2 * r, 2) if pairing == 1 else slice(0, r)
    second = slice(1, 2 * r, 2) if pairing == 1 else slice(r, 2 * r)
    a, b, y = y[..., first], y[..., second], y.copy()
    y[..., first] = a * np.cos(angle) - b * np.sin(angle)
    y[..., second] = a * np.sin(angle) + b * np.cos(angle)
    return y


class Float:
    """One run of a checked model's program."""

    def __init__(self, model):
        self.model, self.shape, self.held, self.states = model, model.program.buffers, {}, {}

    def real(self, index):
        """The tensor as reals."""
        t = self.model.tensors[index]
        whole = expanded(t) if t.added is None else expanded(t) + t.added
        return whole * t.mantissas[:, None] * 2.0 ** -t.exponent

    def run(self, tokens):
        """The logits of all tokens."""
        positions = np.arange(len(tokens))
        return self.all(np.asarray(tokens), {p.TOKENS: positions, p.OUTPUTS: positions})

    def run_image(self, pixels):
        """The row of output of one image, [height][width][channels]."""
        program = self.model.program
        out = self.all(np.asarray(pixels), {p.TOKENS: np.arange(program.context),
                                            p.OUTPUTS: np.arange(1),
                                            p.PATCHES: np.arange(program.image.patches)})
        return out[0]

    def all(self, inputs, positions):
        """Every op; gives the output."""
        self.positions = positions
        for op, x in self.model.program.ops:
            self.step(op, x, inputs)
        return self.held[self.model.program.output]

    def epsilon(self, x, at, source):
        """eps of the operands from `at`, for a buffer's fraction."""
        return (x[at] + (x[at + 1] << 32)) * 4.0 ** -self.shape[source].fraction

    def normed(self, x):
        """What norm_quant and norm share."""
        return norm(self.held[x[0]], self.real(x[1])[0], x[3], self.epsilon(x, 4, x[0]))

    def heads(self, x, count):
        """What head_quant and cache_append share."""
        y = self.held[x[0]]
        y = y.reshape(len(y), count, -1)
        if x[5] != p.NONE:
            y = norm(y, self.real(x[5])[0], 1, self.epsilon(x, 6, x[0]))
        if x[2] != p.NONE:
            positions = self.positions[self.shape[x[0]].rows]
            y = turned(y, positions, self.model.tensors[x[2]].codes[0], x[3])
        return hadamard_blocks(y, x[4])

    def attend(self, x):
        """All rows at once, of a text below a mask."""
        q, k, v = self.held[x[0]], self.states[x[1]], self.states[x[2]]
        heads = self.shape[x[0]].scales
        share = np.arange(heads) // (heads // k.shape[1])
        q = q.reshape(len(q), heads, -1)
        t = np.einsum("phw,jhw->hpj", q, k[:, share]) * x[5] * 2.0 ** -p.signed(x[6])
        t = cap(t, x[8] / 65536) if x[8] else t
        if self.model.program.image is None:
            behind = self.positions[p.TOKENS][:, None] - self.positions[p.TOKENS]
            t[:, (behind < 0) | (x[4] > 0) & (behind >= x[4])] = -math.inf
        w = np.exp2(t - t.max(axis=-1, keepdims=True))
        w = coded(w, *x[9:12]) if x[9] else w
        w /= w.sum(axis=-1, keepdims=True)
        return hadamard_blocks(np.einsum("hpj,jhw->phw", w, v[:, share]).reshape(len(q), -1), x[7])

    def patchify(self, pixels):
        """Rows of patches of v - 128, as a code is on the scale 1."""
        image = self.model.program.image
        down, across = image.patch_height, image.patch_width
        return np.array([np.ravel(pixels[y:y + down, x:x + across]) - 128.0
                         for y in range(0, image.height, down)
                         for x in range(0, image.width, across)])

    def step(self, op, x, inputs):
        """One op on the tokens or on the pixels of one image."""
        held = self.held
        if op == p.EMBED:
            held[x[1]] = hadamard_blocks(self.real(x[0])[inputs], x[2])
        elif op == p.NORM_QUANT:
            held[x[2]] = hadamard_blocks(self.normed(x), x[6])
        elif op == p.LINEAR:
            for i in range(x[1]):
                held[x[3 + 2 * i]] = held[x[0]] @ self.real(x[2 + 2 * i]).T
        elif op == p.LINEAR_ADD:
            held[x[2]] = held[x[2]] + held[x[0]] @ self.real(x[1]).T
        elif op == p.HEAD_QUANT:
            held[x[1]] = self.heads(x, self.shape[x[1]].scales).reshape(len(held[x[0]]), -1)
        elif op == p.CACHE_APPEND:
            self.states[x[1]] = self.heads(x, self.model.program.states[x[1]].heads)
        elif op == p.ATTEND:
            held[x[3]] = self.attend(x)
        elif op == p.GATE_QUANT:
            up = 1 if x[1] == p.NONE else held[x[1]]
            held[x[2]] = hadamard_blocks(ACTIVATIONS[x[3]](held[x[0]]) * up, x[4])
        elif op == p.SELECT:
            held[x[1]] = held[x[0]]
        elif op == p.LOGITS:
            held[x[2]] = held[x[0]] @ self.real(x[1]).T
        elif op == p.BIAS:
            held[x[2]] = held[x[0]] + (0 if x[1] == p.NONE else self.real(x[1])[0])
        elif op == p.NORM:
            held[x[2]] = self.normed(x)
        elif op == p.ADD:
            held[x[1]] = held[x[1]] + held[x[0]]
        elif op == p.ADD_POSITION:
            held[x[1]] = held[x[1]] + self.real(x[0])[self.positions[p.TOKENS]]
        elif op == p.SOFT_CAP:
            held[x[0]] = cap(held[x[0]], x[1] / 65536)
        elif op == p.QUANTIZE:
            held[x[1]] = hadamard_blocks(held[x[0]], x[2])
        elif op == p.PATCHIFY:
            held[x[0]] = self.patchify(inputs)
        elif op == p.PREFIX:
            rows = [] if x[1] == p.NONE else [self.real(x[1])]
            held[x[2]] = np.concatenate(rows + [held[x[0]]])
        elif op == p.POOL:
            rows = held[x[0]][x[3]:]
            held[x[1]] = rows[:1] if x[2] == p.ROW else np.mean(rows, axis=0, keepdims=True)
