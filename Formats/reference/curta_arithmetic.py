# SPDX-License-Identifier: Apache-2.0
"""The integer primitives and tables of curta-arithmetic.md sections 1 to 3, on int64 arrays.

Functions work on numpy int64 arrays of any shape; `block` and `quantize` take rows along the last
axis. Scales are pairs of arrays (m, e). Asserts state the widths that the page promises."""

import numpy as np

from curta_tables import ACTIVATIONS, make_tables

I32 = (1 << 31) - 1


def i64(x):
    """x as an int64 array."""
    return np.asarray(x, np.int64)


def fits(x, limit, inclusive=True):
    """Asserts abs(x) <= limit, a bound that the page states; gives x."""
    largest = int(np.max(np.abs(x), initial=0))
    assert largest <= limit if inclusive else largest < limit, (largest, limit)
    return x


def bits(x):
    """The number of binary digits of each x >= 0."""
    x = i64(x)
    if x.size == 1:  # the usual case of one row, without numpy's overhead
        return np.full(x.shape, x.item().bit_length(), np.int64)
    high = x >> 31
    exponent = np.frexp(np.where(high > 0, high, x).astype(np.float64))[1]
    return np.where(high > 0, exponent + 31, exponent).astype(np.int64)


def round_shift(x, s):
    """round(x, s): x / 2^s with halves up, s >= 0."""
    x, s = i64(x), i64(s)
    return (x + ((np.int64(1) << s) >> 1)) >> s


def rescale(x, s):
    """x * 2^-s: rounds for s >= 0 (at most 62), shifts left by at most 14 for s < 0."""
    x, s = i64(x), i64(s)
    right = round_shift(x, np.clip(s, 0, 62))
    left = np.clip(-s, 0, 14)
    assert not np.any(np.abs(np.where(s < 0, x, 0)) >> (62 - left)), "left shift wraps"
    return np.where(s < 0, x << left, right)


def clamp(x, b):
    """min(max(x, -b), b)."""
    return np.minimum(np.maximum(x, -b), b)


def clamp32(x):
    """clamp(x, 2^31 - 1)."""
    return clamp(x, I32)


def maxabs(x):
    """The largest abs(x) along the last axis."""
    return np.max(np.abs(x), axis=-1)


def _norm_one(M, E, shape):
    assert M >= 1
    n = M.bit_length() - 16
    m = M << -n if n <= 0 else (M + (1 << (n - 1))) >> n
    m, e = (1 << 15, E - n - 1) if m == 1 << 16 else (m, E - n)
    return np.full(shape, m, np.int64), np.full(shape, e, np.int64)


def norm(M, E):
    """The scale of M * 2^-E, M >= 1."""
    M, E = i64(M), i64(E)
    if M.size == E.size == 1:
        return _norm_one(M.item(), E.item(), np.broadcast_shapes(M.shape, E.shape))
    assert np.all(M >= 1)
    n = bits(M) - 16
    m = round_shift(M << np.maximum(-n, 0), np.maximum(n, 0))
    full = m == 65536
    m, e = np.where(full, 32768, m), E - n - full
    assert np.all((m >= 32768) & (m < 65536))
    return m, e


def mul(a, b):
    """The product of two scales."""
    return norm(i64(a[0]) * b[0], i64(a[1]) + b[1])


def block(x):
    """Rows of x as int16 y and shifts s with x ~ y * 2^s."""
    x = i64(x)
    s = np.maximum(0, bits(maxabs(x)) - 15)
    return clamp(round_shift(x, s[..., None]), 32767), s


def quantize(x, scale):
    """Rows of x on a scale as codes -127 ... 127 and their scale: (q, m, e)."""
    y, s = block(x)
    A = np.maximum(1, maxabs(y))
    P = 8 + bits(A)
    R = ((127 << P) + A // 2) // A
    assert np.all(R < 65536)
    q = clamp(round_shift(fits(y * R[..., None], I32), P[..., None]), 127)
    unit = mul(norm(A, np.zeros_like(A)), (np.int64(33026), np.int64(22)))
    return (q, *mul(unit, (i64(scale[0]), i64(scale[1]) - s)))


TABLES = {name: i64(values) for name, values in make_tables().items()}


def _exp(table, d, most):
    d = i64(d)
    n, f = d >> 16, d & 0xFFFF
    i, r = f >> 11, f & 0x7FF
    line = table[i] - round_shift((table[i] - table[i + 1]) * r, 11)
    return round_shift(line, np.minimum(n, most))


def exp15(d):
    """2^15 * 2^-(d / 2^16), d >= 0."""
    return _exp(TABLES["EXP15"], d, 31)


def exp30(d):
    """2^30 * 2^-(d / 2^16), d >= 0."""
    return _exp(TABLES["EXP30"], d, 40)


def lookup(name, a):
    """The table of 514 entries at a, a >= 0 in units of 2^-16."""
    a = np.minimum(i64(a), 1 << 20)
    i, r = a >> 11, a & 0x7FF
    table = TABLES[name]
    return table[i] + round_shift((table[i + 1] - table[i]) * r, 11)


def activate(number, g):
    """The activation of that number of each g, in units of 2^-16."""
    g = i64(g)
    f = lookup(ACTIVATIONS[number], np.abs(g))
    return round_shift(g * np.where(g < 0, 32768 - f, f), 15)


def cap(x, C):
    """C * tanh(x / C), both in units of 2^-16."""
    x = fits(i64(x), I32)
    assert 1 << 16 <= C <= 1 << 26
    R = (1 << 47) // C
    a = np.minimum(round_shift(np.abs(x) * R, 30), 1 << 20)
    i, table = a >> 11, TABLES["SIGMOID"]
    v = (table[i] << 11) + (table[i + 1] - table[i]) * (a & 0x7FF)
    y = round_shift((2 * v - (1 << 26)) * C, 26)
    return np.where(x < 0, -y, y)


def sin(p):
    """2^15 * sin of p * 2^-32 turns."""
    p = i64(p)
    quadrant, x = p >> 30, p & ((1 << 30) - 1)
    x = np.where(quadrant & 1, (1 << 30) - x, x)
    i, r = x >> 22, (x & ((1 << 22) - 1)) >> 7
    table = TABLES["SINE"]
    y = table[i] + round_shift((table[i + 1] - table[i]) * r, 15)
    return np.where(quadrant >= 2, -y, y)


def cos(p):
    """2^15 * cos of p * 2^-32 turns."""
    return sin((i64(p) + (1 << 30)) & 0xFFFFFFFF)
