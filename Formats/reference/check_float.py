#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the ops with float64 on random rows, and the logits of the valid vectors with those of
curta_float: not that two integer forms agree, but that they are right. Prints the largest errors
and exits with 1 when one is above its bound."""

import math
from pathlib import Path
import sys

import numpy as np

import curta_arithmetic as a
from curta_errors import CurtaError
from curta_file import read_file
import curta_float
from curta_float import ACTIVATIONS
from curta_interpreter import ImageSession, Session
import curta_ops as ops
from curta_resample import pixels_of, resample_lines, resized
import vector_valid
import vector_vision

R = np.random.default_rng(20261123)
NAMES = {1: "silu", 2: "gelu_tanh", 3: "gelu_erf", 4: "quick_gelu", 5: "relu"}
WIDTHS = (8, 64, 768, 4096)
FAILED = []


class Row:
    """A wide tensor of one row, near the reals that are asked for."""

    def __init__(self, values):
        self.exponent = 15 + 14 - math.frexp(float(np.max(np.abs(values))))[1]
        self.codes = np.round(values * 2.0 ** self.exponent / 32768).astype(np.int64)[None]
        self.codes = np.clip(self.codes, -32767, 32767)
        self.mantissas = np.array([32768])
        self.values = self.codes[0] * 32768 * 2.0 ** -self.exponent


def report(name, error, bound, unit):
    """One line; remembers what is above its bound."""
    good = error <= bound
    print(f"{'ok  ' if good else 'OVER'} {name:42} {error:10.3g} of {bound:g} {unit}")
    if not good:
        FAILED.append(name)


def fixed(values, fraction):
    """Reals as fixed numbers."""
    return a.clamp32(np.round(values * 2.0 ** fraction).astype(np.int64))


def real(q, m, e):
    """Codes on scales as reals, scales along the first axes."""
    return q * (m * 2.0 ** -e.astype(float))[..., None]


def code_error(out, want):
    """The largest abs(out - want) in codes of the row: 0.5 is what rounding to int8 costs."""
    q, m, e = out
    return float(np.max(np.abs(q - want / (m * 2.0 ** -e.astype(float))[..., None])))


def scaled(values):
    """Reals as a scaled row of 23 bits: (z, m, e), and the reals that it holds."""
    top = np.max(np.abs(values), axis=-1)
    e = 22 + 15 - np.frexp(top)[1].astype(np.int64)
    z = np.round(values / (32768 * 2.0 ** -e.astype(float))[:, None]).astype(np.int64)
    m = np.full(len(z), 32768, np.int64)
    return (z, m, e), real(z, m, e)


def rows(width, count=64, mean=0.0, outliers=False):
    """Rows of a normal distribution, each of its own size, some with outliers."""
    x = (R.normal(size=(count, width)) + mean) * 2.0 ** R.uniform(-4, 4, (count, 1))
    if outliers:
        x[:, R.integers(width, size=max(1, width // 100))] *= 50
    return x


def norms():
    """norm_quant, norm, head_quant with a norm."""
    for kind, name in ((1, "rms"), (2, "layer")):
        for mean, outliers in ((0, False), (30, False), (0.5, True)):
            codes, relative = 0.0, 0.0
            for width in WIDTHS:
                gamma = Row(R.uniform(0.2, 2, width))
                x = fixed(rows(width, mean=mean, outliers=outliers), 16)
                want = curta_float.norm(x / 65536, gamma.values, kind, 1e-5)
                codes = max(codes, code_error(ops.norm_quant(x, gamma, kind, 42950), want))
                got = ops.norm_fixed(x, gamma, kind, 42950, 16) / 65536
                relative = max(relative, float(np.max(np.abs(got - want)
                                                      / np.max(np.abs(want), -1, keepdims=True))))
            text = f"{name}, mean {mean}{', outliers' if outliers else ''}"
            report("norm_quant " + text, codes, 0.52, "codes")
            report("norm " + text, relative, 1.5e-4, "of the row's largest")
    worst = 0.0
    for width in (16, 64, 128):
        gamma, heads = Row(R.uniform(0.2, 2, width)), 4
        x = rows(width * heads).reshape(64, heads, width) * 2.0 ** R.uniform(-6, 6, (64, heads, 1))
        x = fixed(x, 16)
        want = curta_float.norm(x / 65536, gamma.values, 1, 1e-6)
        got = ops.head_quant(x.reshape(64, -1), None, None, heads, np.arange(64), None, 0, 0, gamma,
                             4295)
        worst = max(worst, code_error(got, want))
    report("head norm, heads of sizes 2^-6 ... 2^6", worst, 0.52, "codes")


def massive():
    """Norms of rows with channels of 50 to 3000 times the rest, which gamma brings back to size:
    the usual shape of a trained model's residual."""
    for kind, name in ((1, "rms"), (2, "layer")):
        codes, relative = 0.0, 0.0
        for width in WIDTHS[1:]:
            for factor in (50, 200, 1000, 3000):
                for count in (1, 4):
                    x = R.normal(size=(64, width)) * 2.0 ** R.uniform(-2, 1, (64, 1))  # below 2^15
                    gains = R.uniform(0.2, 2, width)
                    channels = R.choice(width, count, replace=False)
                    x[:, channels] *= factor
                    gains[channels] /= factor
                    gamma, x = Row(gains), fixed(x, 16)
                    want = curta_float.norm(x / 65536, gamma.values, kind, 1e-5)
                    codes = max(codes, code_error(ops.norm_quant(x, gamma, kind, 42950), want))
                    got = ops.norm_fixed(x, gamma, kind, 42950, 24) / 2.0 ** 24
                    relative = max(relative, float(np.max(np.abs(got - want)
                                                          / np.max(np.abs(want), -1, keepdims=True))))
        report(f"norm_quant {name}, channels 50 ... 3000 times", codes, 0.53, "codes")
        report(f"norm {name}, channels 50 ... 3000 times", relative, 1.5e-4, "of the row's largest")
    worst = 0.0
    for factor in (50, 1000, 3000):
        x, gains = rows(256).reshape(64, 4, 64), R.uniform(0.2, 2, 64)
        x[..., 7] *= factor
        gains[7] /= factor
        gamma, x = Row(gains), fixed(x, 16)
        want = curta_float.norm(x / 65536, gamma.values, 1, 1e-6)
        got = ops.head_quant(x.reshape(64, -1), None, None, 4, np.arange(64), None, 0, 0, gamma, 4295)
        worst = max(worst, code_error(got, want))
    report("head norm, a channel of 50 ... 3000 times", worst, 0.53, "codes")


def activations():
    """activate and gate_quant."""
    g = np.unique(np.concatenate([np.arange(-1 << 20, 1 << 20, 7), R.integers(-1 << 24, 1 << 24, 99999)]))
    for number, name in NAMES.items():
        x = g / 65536
        error = np.abs(a.activate(number, g) / 65536 - ACTIVATIONS[number](x))
        report(f"activate {name}, abs(x) <= 1", float(np.max(error[abs(x) <= 1])), 8e-5, "absolute")
        report(f"activate {name}", float(np.max(error)), 4e-4, "absolute")
        codes = [0.0, 0.0]
        for width in WIDTHS:
            gate, zg = scaled(rows(width))
            up, zu = scaled(rows(width))
            want = ACTIVATIONS[number](zg)
            codes[0] = max(codes[0], code_error(ops.gate_quant(gate, up, number), want * zu))
            codes[1] = max(codes[1], code_error(ops.gate_quant(gate, None, number), want))
        report(f"gate_quant {name}", codes[0], 0.6, "codes")
        report(f"gate_quant {name}, no up", codes[1], 0.6, "codes")


def caps():
    """cap."""
    worst, small = 0.0, 0.0
    for C in (1 << 16, 94548, 1 << 20, 30 << 16, 50 * 94548, 1 << 26):
        x = np.concatenate([R.integers(-8 * C, 8 * C, 50000).clip(-a.I32, a.I32),
                            np.array([0, 1, -1, C, -C, a.I32, -a.I32])])
        error = np.abs(a.cap(x, C) - C * np.tanh(x / C)) / C
        worst = max(worst, float(np.max(error)))
        near = abs(x) <= C // 16
        small = max(small, float(np.max(error[near])))
    report("cap", worst, 9e-5, "of the cap")
    report("cap, abs(x) <= C / 16", small, 9e-5, "of the cap")


def sums():
    """bias, add, add_position."""
    worst = [0.0, 0.0, 0.0]
    for width in WIDTHS:
        tensor = Row(R.normal(size=width))
        z, values = scaled(rows(width))
        old = fixed(rows(width), 16)
        biased = ops.bias(*z, tensor, 16) / 65536
        worst[0] = max(worst[0], float(np.max(np.abs(biased - values - tensor.values))))
        total = ops.add(old, *z, 16) / 65536
        worst[1] = max(worst[1], float(np.max(np.abs(total - values - old / 65536))))
        moved = ops.bias(old, np.full(64, 32768), np.full(64, 31), None, 20) / 2.0 ** 20
        worst[2] = max(worst[2], float(np.max(np.abs(moved - old / 65536))))
    report("bias, fraction 16", worst[0], 2.0 ** -16, "absolute")
    report("add, fraction 16", worst[1], 2.0 ** -17, "absolute")
    report("bias without one, fraction 16 to 20", worst[2], 0, "absolute")


def scores():
    """attend with and without a cap: scores of up to twice the cap."""
    width, seen, worst = 32, 24, {0: 0.0, 50: 0.0}
    operand = (round(math.log2(math.e) / math.sqrt(width) * 2 ** 17), 17)
    for cap in list(worst) * 200:
        z, m, e = scaled(R.normal(size=(1 + 2 * seen, width)) * 4)[0]
        codes, m, e = a.quantize(z, (m, e))
        held = real(codes, m, e)
        t = held[1:1 + seen] @ held[0] / math.sqrt(width)
        t = curta_float.cap(t, cap) if cap else t
        weights = np.exp(t - t.max())
        want = weights @ held[1 + seen:] / weights.sum()
        k, v = slice(1, 1 + seen), slice(1 + seen, None)
        got = ops.attend(codes[:1], (m[:1], e[:1]), codes[k, None], (m[k, None], e[k, None]),
                         codes[v, None], (m[v, None], e[v, None]), operand, 0,
                         round(cap * math.log2(math.e) * 65536))
        worst[cap] = max(worst[cap], code_error(got, want))
    for cap, error in worst.items():
        report(f"attend, cap {cap}", error, 0.8, "codes")


def codes_of_weights():
    """coded() against shift-uniform-log2 as published, at any weight: off by a unit of exp15 at a
    weight that is off by one; and no more levels than 2^bits."""
    d = np.arange(0, 18 << 16, 11)
    p, worst = 2.0 ** (-d / 65536), 0.0
    for bits in (2, 3, 4):
        for step in (1, 2, 3, 4):
            for shift in (0, 1, 37, 128, 1000, 4096, 16384, 32767):
                got = a.exp15(ops.coded(d, (bits, step, shift)))
                assert len(np.unique(got)) <= 2 ** bits
                near = [np.clip(p * (1 + sign * 2.0 ** -12) + sign * 2.0 ** -15, 0, None)
                        for sign in (-1, 0, 1)]
                # Below half a unit a weight is 0, whose code is the last.
                want = np.stack([np.where(x < 2.0 ** -15, np.maximum(
                    0, 2.0 ** (-(2 ** bits - 1) * step / 2) - shift / 2 ** 15),
                    curta_float.coded(x, bits, step, shift)) for x in near])
                worst = max(worst, np.max(np.min(np.abs(got / 2 ** 15 - want), axis=0)))
    report("coded", worst, 2.0 ** -14, "of the largest weight")


def models():
    """The logits of whole models, but for those that clamp or that round to integers."""
    for name in vector_valid.SHAPES:
        if name in ("extreme", "decoder-extreme", "clamps", "fraction-0", "overlaid-edges"):
            continue
        path = Path(__file__).resolve().parent.parent / "vectors" / "valid" / f"{name}.curta"
        try:
            model = read_file(path.read_bytes())
        except CurtaError as error:
            print(f"     {name}: skipped, {error.status}")
            continue
        tokens = vector_valid.tokens_for(name)
        got = Session(model).step(tokens, len(tokens)) / 65536
        want = curta_float.Float(model).run(tokens)
        error = math.sqrt(np.mean((got - want) ** 2) / np.mean(want ** 2))
        report(f"logits of {name}", error, 0.06 if name == "spread" else 0.03, "of their size")


def image_models():
    """The rows of output of whole image models; only the resampling is the integer one."""
    for name, shape in vector_vision.SHAPES.items():
        if name == "vit-extreme":
            continue
        model = read_file(vector_vision.build(name))
        images = [pixels_of(seed, *shape.size) for seed in range(8)]
        got = ImageSession(model).step(images) / 65536
        want = np.array([curta_float.Float(model).run_image(resized(pixels, model.program.image))
                         for pixels in images])
        error = math.sqrt(np.mean((got - want) ** 2) / np.mean(want ** 2))
        report(f"output of {name}", error, 0.03, "of its size")


def resampling():
    """Images against the filters in float64: pixels that differ, and by how much."""
    for kind, name in ((1, "box"), (2, "bilinear"), (3, "bicubic")):
        unequal, most, count = 0, 0, 0
        for _ in range(40):
            n, N = (int(2 ** x) for x in R.uniform(0, 9, 2))
            pixels = R.integers(0, 256, (n, 64))
            r, x = max(1, n / N), (np.arange(N)[:, None] + 0.5) * n / N
            w = curta_float.FILTERS[kind]((np.arange(n) + 0.5 - x) / r - 1e-9)
            w /= w.sum(axis=1, keepdims=True)
            want = np.clip(np.floor(w @ pixels + 0.5), 0, 255)
            off = np.abs(resample_lines(pixels, N, kind) - want)
            unequal, most, count = unequal + np.sum(off > 0), max(most, off.max()), count + off.size
        report(f"resampling, {name}: largest difference", float(most), 1, "of 255")
        report(f"resampling, {name}: share of unequal pixels", unequal / count, 0.005, "of all")


def main():
    """Every check; gives how many are above their bounds."""
    for part in (norms, massive, activations, caps, sums, scores, codes_of_weights, resampling,
                 models, image_models):
        part()
    return len(FAILED)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
