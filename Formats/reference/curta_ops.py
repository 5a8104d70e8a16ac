# SPDX-License-Identifier: Apache-2.0
"""The ops of curta-arithmetic.md sections 2 and 4, on rows of tokens (first axis)."""

import math

import numpy as np

from curta_arithmetic import (activate, bits, block, cap, clamp, clamp32, cos, exp15, fits, i64,
                              mul, norm, quantize, rescale, round_shift, sin)
from curta_tensors import GRID


def expanded(t):
    """W / (m * 2^-exponent) as integers [N][K]: s * c + o, or c."""
    w = t.codes
    if t.scales is not None:
        column_group = np.arange(t.columns) // t.group if t.group else np.zeros(t.columns, int)
        w = w * t.scales[:, column_group]
        if t.offsets is not None:
            w = w + t.offsets[:, column_group]
    return w


def shift_of(t):
    """shift(W)."""
    if t.encoding == GRID:
        C = 127 if t.bits == 8 else 1 << (t.bits - 1)
    else:
        C = 32767
    if t.scales is not None:
        C *= 255
    if t.offsets is not None:
        C += 32767
    U = 127 * (t.columns * C + sum(overlay.bound for overlay in t.overlays)) * 65535
    assert U < 1 << 57
    return max(0, U.bit_length() - 30)


class Weight:
    """A tensor ready for products: floats whose products and sums are exact below 2^53."""

    def __init__(self, t):
        self.tensor, self.shift, self.whole = t, shift_of(t), expanded(t)
        self.floats = self.whole.astype(np.float64).T.copy()
        assert 127 * t.columns * int(np.max(np.abs(self.whole))) < 1 << 53
        self.added = None if t.added is None else t.added.astype(np.float64).T.copy()

    def product(self, q, m, e):
        """z [rows][N] and its scale (m, e) [rows]."""
        S = (q.astype(np.float64) @ self.floats).astype(np.int64)
        z = round_shift(fits(S * self.tensor.mantissas, 1 << 56), self.shift)
        if self.added is not None:
            R = (q.astype(np.float64) @ self.added).astype(np.int64)
            z = z + round_shift(fits(R * self.tensor.mantissas, 1 << 56), self.shift)
        return fits(z, 1 << 30), m, e + self.tensor.exponent - self.shift


def hadamard_blocks(x, B):
    """hadamard(x, B) along the last axis."""
    if B == 0:
        return x
    return (x.reshape(*x.shape[:-1], -1, B) @ hadamard(B)).reshape(x.shape)


def spread(x, scale, B):
    """quantize after a Hadamard of blocks of B."""
    if B == 0:
        return quantize(x, scale)
    y, s = block(x)
    return quantize(fits(hadamard_blocks(y, B), 1 << 23), (scale[0], scale[1] - s))


def looked_up(weight, rows, fraction, B=0):
    """Rows of a weight as fixed numbers, not clamped."""
    t = weight.tensor
    w = weight.whole[rows] * t.mantissas[rows][:, None]
    return rescale(fits(hadamard_blocks(w, B), 1 << 41), t.exponent - fraction)


def embed(weight, tokens, fraction, B=0):
    """Rows of fixed numbers."""
    return clamp32(looked_up(weight, tokens, fraction, B))


def add_position(total, weight, positions, fraction):
    """The sum with the rows of the positions."""
    return clamp32(total + looked_up(weight, positions, fraction))


def inverse_rms(square_sum, width, eps, s):
    """The scale 1 / sqrt(T / K) from the sum of squares of a row of block codes."""
    T = max(1, square_sum + width * (eps >> min(2 * s, 62)))
    a = 61 - T.bit_length()
    v = (T << a) // width if a >= 0 else (T >> -a) // width
    assert a >= 0
    b = 61 - v.bit_length()
    b += (a + b) & 1
    r = math.isqrt(v << b)
    assert 1 << 30 <= r < 1 << 31
    m, e = norm((1 << 62) // r, 62 - (a + b) // 2)
    return int(m), int(e)


def centered(x):
    """Rows without their mean."""
    K = x.shape[-1]
    u = (2 * np.sum(x, axis=-1, keepdims=True) + K) // (2 * K)
    return clamp32(x - u)


def normed(x, gamma, kind, eps):
    """t and its scale S, for rows along the last axis; kind 1 is RMS, 2 layer."""
    x = centered(x) if kind == 2 else i64(x)
    y, s = block(x)
    sums = np.sum(y * y, axis=-1)
    scales = [inverse_rms(int(total), x.shape[-1], eps, int(shift))
              for total, shift in zip(sums.ravel(), s.ravel())]
    inv = tuple(i64([scale[i] for scale in scales]).reshape(s.shape) for i in (0, 1))
    t = fits(x * gamma.codes[0], 1 << 46, inclusive=False)
    m, e = mul(inv, norm(gamma.mantissas[0], gamma.exponent))
    return t, (m, e + s)


def norm_quant(x, gamma, kind, eps, B=0):
    """The norm as codes and scales."""
    return spread(*normed(x, gamma, kind, eps), B)


def norm_fixed(x, gamma, kind, eps, fraction):
    """The norm as fixed numbers."""
    t, (m, e) = normed(x, gamma, kind, eps)
    return fixed(t, m, e, fraction)


def fixed(z, m, e, fraction):
    """Numbers on a scale a row as fixed ones."""
    x, s = fits(z * m[:, None], 1 << 62, inclusive=False), (e - fraction)[:, None]
    return clamp32(rescale(np.where(s < 0, clamp32(x), x), s))  # x << 14 may need 77 bits


def bias(z, m, e, tensor, fraction):
    """Fixed numbers with the row of a tensor added, which may be None."""
    out = rescale(z * m[:, None], (e - fraction)[:, None])
    if tensor is not None:
        out = out + rescale(tensor.codes[0] * tensor.mantissas[0], tensor.exponent - fraction)
    return clamp32(out)


def add(total, z, m, e, fraction):
    """The sum with numbers, as of linear_add and add."""
    return clamp32(total + rescale(z * m[:, None], (e - fraction)[:, None]))


def hadamard(width):
    """The Sylvester-Hadamard matrix."""
    H = np.ones((1, 1), np.int64)
    while H.shape[0] < width:
        H = np.block([[H, H], [H, -H]])
    return H


def turn(y, positions, phases, pairing, B):
    """Heads y [rows][heads][w] turned by their positions, then hadamard(y, B)."""
    if phases is not None:
        f = phases.codes[0]
        r = len(f)
        h = (i64(positions)[:, None] * f & 0xFFFFFFFF)[:, None, :]
        c, s = cos(h), sin(h)
        first = slice(0, 2 * r, 2) if pairing == 1 else slice(0, r)
        second = slice(1, 2 * r, 2) if pairing == 1 else slice(r, 2 * r)
        a, b = y[..., first], y[..., second]
        y = y.copy()
        y[..., first], y[..., second] = (round_shift(a * c - b * s, 15),
                                         round_shift(a * s + b * c, 15))
    return hadamard_blocks(y, B)


def head_quant(z, m, e, heads, positions, phases, pairing, B, gamma=None, eps=0):
    """Codes [rows][heads][w] and scales [rows][heads]."""
    if gamma is None:
        y, s = block(z)
        m, e, s = m[:, None], e[:, None], s[:, None]
        y = y.reshape(len(y), heads, -1)
    else:
        t, (m, e) = normed(z.reshape(len(z), heads, -1), gamma, 1, eps)
        y, s = block(t)
    y = turn(y, positions, phases, pairing, B)
    return quantize(y, (np.broadcast_to(m, y.shape[:2]), np.broadcast_to(e - s, y.shape[:2])))


def inverse_exp15(x):
    """The least d with exp15(d) <= x, for each x >= 0."""
    low, high = np.zeros_like(x), np.full_like(x, 17 << 16)
    while np.any(low < high):
        middle = (low + high) // 2
        reached = exp15(middle) <= x
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low


def coded(d, code):
    """coded(d) with a code (b, S, H)."""
    b, step, shift = code
    c = np.arange(2 ** b, dtype=np.int64)
    level = inverse_exp15(np.maximum(0, exp15(c * step << 15) - shift))
    edge = inverse_exp15(np.maximum(0, exp15((2 * c[:-1] + 1) * step << 14) - shift))
    return level[np.searchsorted(edge, d, side="right")]


def attend(q, sq, keys, ks, values, vs, operand, B=0, C=0, code=(0, 0, 0)):
    """One token's row: q [heads][w]; keys, values [positions][kv heads][w] with scales
    (m, e) [positions][kv heads]; C is the cap or 0, code is (b, S, H). Gives codes [heads * w] and
    one scale."""
    heads = len(q)
    share = heads // keys.shape[1]
    kv = np.arange(heads) // share
    mq, eq = mul(sq, operand)
    K, V = keys[:, kv], values[:, kv]
    A = np.einsum("hw,jhw->hj", q, K)
    mk, ek = ks[0][:, kv].T, ks[1][:, kv].T
    t = clamp(rescale(round_shift(A * mk, 14) * mq[:, None], ek + eq[:, None] - 30), 1 << 30)
    t = cap(t, C) if C else t
    d = np.max(t, axis=1, keepdims=True) - t
    w = exp15(coded(d, code) if code[0] else d)
    D = np.sum(w, axis=1)
    mv, ev = vs[0][:, kv].T, vs[1][:, kv].T
    e0 = np.min(ev, axis=1, keepdims=True)
    u = w * mv
    s = np.maximum(0, bits(np.max(u >> np.minimum(ev - e0, 31), axis=1)) - 15)
    c = np.minimum(32767, round_shift(u, np.minimum(ev - e0 + s[:, None], 62)))
    O = np.einsum("hj,jhw->hw", c, V)
    R = (np.int64(1) << (15 + bits(D))) // D
    assert np.all((R >= 1 << 15) & (R <= 1 << 16))
    y, s2 = block(O)
    x = 15 + bits(D) + e0[:, 0] - s - s2
    x0 = np.min(x)
    o = round_shift(y * R[:, None], np.minimum(x - x0, 62)[:, None])
    return spread(o.reshape(-1), (np.int64(32768), x0 + 15), B)


def gate_quant(gate, up, activation=1, B=0):
    """activation(gate) * up as codes and scales; gate and up are (z, m, e), up may be None."""
    zg, mg, eg = gate
    a = activate(activation, clamp(rescale(zg * mg[:, None], (eg - 16)[:, None]), 1 << 30))
    if up is None:
        return spread(a, (np.full(len(a), 32768, np.int64), np.full(len(a), 31, np.int64)), B)
    zu, mu, eu = up
    (y, s), (y2, s2) = block(a), block(zu)
    return spread(y * y2, (mu, eu + 16 - s - s2), B)


def logits(z, m, e):
    """Fixed numbers with fraction 16."""
    return fixed(z, m, e, 16)


def patchify(pixels, image):
    """Rows of patches [b * P] as codes and scales, from pixels [b][height][width][channels]."""
    down, across = image.height // image.patch_height, image.width // image.patch_width
    q = i64(pixels).reshape(len(pixels), down, image.patch_height, across, image.patch_width,
                            image.channels).transpose(0, 1, 3, 2, 4, 5)
    q = np.maximum(q.reshape(len(pixels) * down * across, -1) - 128, -127)
    return q, np.full(len(q), 32768, np.int64), np.full(len(q), 15, np.int64)


def prefix(z, m, e, weight, patches, fraction):
    """Rows of tokens: those of the weight, which may be None, then the patches, for each image."""
    rows = fixed(z, m, e, fraction)
    rows = rows.reshape(-1, patches, rows.shape[-1])
    if weight is not None:
        first = clamp32(looked_up(weight, np.arange(weight.tensor.rows), fraction))
        rows = np.concatenate([np.broadcast_to(first, (len(rows), *first.shape)), rows], axis=1)
    return rows.reshape(-1, rows.shape[-1])


def pool(x, rows, kind, first):
    """One row an image of `rows` rows: kind 1 row `first`, 2 the mean from row `first` on."""
    x = x.reshape(-1, rows, x.shape[-1])
    if kind == 1:
        return x[:, first]
    n = rows - first
    return (2 * np.sum(x[:, first:], axis=1) + n) // (2 * n)
