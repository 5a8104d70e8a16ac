# SPDX-License-Identifier: Apache-2.0
"""curta-arithmetic.md once more, word for word, in Python's unbounded integers and plain lists.

It makes the arithmetic vectors and shows that the numpy form never wraps; it shares only the
tables with it."""

from fractions import Fraction
from math import floor, isqrt

from curta_tables import ACTIVATIONS, make_tables

TABLES = make_tables()
HALF = Fraction(1, 2)


def round_(x, s):
    """round(x, s)."""
    return (x + (1 << (s - 1))) >> s if s > 0 else x


def rescale(x, s):
    """rescale(x, s)."""
    return round_(x, min(s, 62)) if s >= 0 else x * 2 ** min(-s, 14)


def clamp(x, b):
    """clamp(x, b)."""
    return min(max(x, -b), b)


def clamp32(x):
    """clamp32(x)."""
    return clamp(x, 2 ** 31 - 1)


def bits(x):
    """bits(x)."""
    return x.bit_length()


def maxabs(x):
    """maxabs(x[])."""
    return max(abs(v) for v in x)


def norm(M, E):
    """norm(M, E)."""
    n = bits(M) - 16
    if n <= 0:
        return M << -n, E - n
    m = round_(M, n)
    return (1 << 15, E - n - 1) if m == 1 << 16 else (m, E - n)


def mul(a, b):
    """mul of two scales."""
    return norm(a[0] * b[0], a[1] + b[1])


def block(x):
    """block(x[]): (y, s)."""
    s = max(0, bits(maxabs(x)) - 15)
    return [clamp(round_(v, s), 32767) for v in x], s


def quantize(x, scale):
    """quantize(x[], scale): (q, scale of q)."""
    y, s = block(x)
    A = max(1, maxabs(y))
    P = 8 + bits(A)
    R = (127 * 2 ** P + A // 2) // A
    q = [clamp(round_(v * R, P), 127) for v in y]
    return q, mul(mul(norm(A, 0), (33026, 22)), (scale[0], scale[1] - s))


def _exp(table, d, most):
    n, f = d >> 16, d % 65536
    i, r = f >> 11, f % 2048
    return round_(table[i] - round_((table[i] - table[i + 1]) * r, 11), min(n, most))


def exp15(d):
    """exp15(d)."""
    return _exp(TABLES["EXP15"], d, 31)


def inverse(x):
    """inverse(x): a step of half an octave, then halves of it."""
    d, part = 0, 1 << 15
    while exp15(d) > x:
        d += part
    while part:
        if d >= part and exp15(d - part) <= x:
            d -= part
        else:
            part >>= 1
    return d


def coded(d, b, step, shift):
    """coded(d)."""
    edges = [inverse(max(0, exp15((2 * c + 1) * step * 2 ** 14) - shift)) for c in range(2 ** b - 1)]
    n = sum(edge <= d for edge in edges)
    return inverse(max(0, exp15(n * step * 2 ** 15) - shift))


def exp30(d):
    """exp30(d)."""
    return _exp(TABLES["EXP30"], d, 40)


def lookup(name, a):
    """lookup(F, a), F by its name."""
    a, F = min(a, 2 ** 20), TABLES[name]
    i, r = a >> 11, a % 2048
    return F[i] + round_((F[i + 1] - F[i]) * r, 11)


def activate(number, g):
    """activate(F, g), F by the activation's number."""
    F = ACTIVATIONS[number]
    return round_(g * (lookup(F, g) if g >= 0 else 2 ** 15 - lookup(F, -g)), 15)


def cap(x, C):
    """cap(x, C)."""
    R = 2 ** 47 // C
    a = min(round_(abs(x) * R, 30), 2 ** 20)
    i, F = a >> 11, TABLES["SIGMOID"]
    v = F[i] * 2 ** 11 + (F[i + 1] - F[i]) * (a % 2 ** 11)
    y = round_((2 * v - 2 ** 26) * C, 26)
    return y if x >= 0 else -y


def sin(p):
    """sin(p)."""
    quadrant, x = p >> 30, p % 2 ** 30
    if quadrant % 2:
        x = 2 ** 30 - x
    i, r = x >> 22, (x % 2 ** 22) >> 7
    table = TABLES["SINE"]
    y = table[i] + round_((table[i + 1] - table[i]) * r, 15)
    return -y if quadrant >= 2 else y


def cos(p):
    """cos(p)."""
    return sin((p + 2 ** 30) % 2 ** 32)


def inverse_rms(total, K, eps, s):
    """The scale inv of norm_quant, from the sum of y[k]^2."""
    T = max(1, total + K * (eps >> min(2 * s, 62)))
    a = 61 - bits(T)
    v = T * 2 ** a // K
    b = 61 - bits(v)
    b += (a + b) % 2
    r = isqrt(v * 2 ** b)
    return norm(2 ** 62 // r, 62 - (a + b) // 2)


def hadamard(x, B):
    """hadamard(x, B), term by term."""
    if B == 0:
        return x
    return [sum(-x[start + j] if bin(i & j).count("1") % 2 else x[start + j] for j in range(B))
            for start in range(0, len(x), B) for i in range(B)]


def spread(x, scale, B):
    """quantize after a Hadamard of blocks of B: (q, scale)."""
    if B == 0:
        return quantize(x, scale)
    y, s = block(x)
    return quantize(hadamard(y, B), (scale[0], scale[1] - s))


def normed(x, c, m, exponent, kind, eps):
    """t and its scale S of norm_quant; kind 1 is RMS, 2 layer."""
    K = len(x)
    if kind == 2:
        u = (2 * sum(x) + K) // (2 * K)
        x = [clamp32(v - u) for v in x]
    y, s = block(x)
    inv = inverse_rms(sum(v * v for v in y), K, eps, s)
    M, E = mul(inv, norm(m, exponent))
    return [v * g for v, g in zip(x, c)], (M, E + s)


def norm_quant(x, c, m, exponent, kind, eps, B=0):
    """norm_quant of one row: (q, scale)."""
    return spread(*normed(x, c, m, exponent, kind, eps), B)


def norm_fixed(x, c, m, exponent, kind, eps, F):
    """The op norm of one row."""
    t, (m, e) = normed(x, c, m, exponent, kind, eps)
    return [clamp32(rescale(v * m, e - F)) for v in t]


def bias(z, scale, c, m, exponent, F):
    """bias of one row; c is None without a bias."""
    out = [rescale(v * scale[0], scale[1] - F) for v in z]
    if c is not None:
        out = [v + rescale(b * m, exponent - F) for v, b in zip(out, c)]
    return [clamp32(v) for v in out]


def add(total, z, scale, F):
    """add of one row: the new sum."""
    return [clamp32(old + rescale(v * scale[0], scale[1] - F)) for old, v in zip(total, z)]


def head_quant(z, scale, heads, p, f, pairing, B, gamma=None, eps=0):
    """head_quant of one row: a list of (q, scale), one a head; f is None without phases; gamma is
    None or (codes, mantissa, exponent)."""
    width, out = len(z) // heads, []
    whole, shift = block(z)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        v, m, e = whole[part], scale[0], scale[1] - shift
        if gamma is not None:
            t, (m, e) = normed(z[part], *gamma, 1, eps)
            v, s = block(t)
            e -= s
        for i, phase in enumerate(f or []):
            j, k = (2 * i, 2 * i + 1) if pairing == 1 else (i, i + len(f))
            h = p * phase % 2 ** 32
            a, b = v[j], v[k]
            v[j] = round_(a * cos(h) - b * sin(h), 15)
            v[k] = round_(a * sin(h) + b * cos(h), 15)
        out.append(quantize(hadamard(v, B), (m, e)))
    return out


def attend(q, sq, k, sk, v, sv, operand, B=0, C=0, code=(0, 0, 0)):
    """attend of one row: q[h], sq[h]; k[j][g], sk[j][g]; v, sv alike; C is the cap or 0, code is
    (b, S, H). Gives (q, scale)."""
    share, rows, exponents = len(q) // len(k[0]), [], []
    for h, row in enumerate(q):
        g = h // share
        mq, eq = mul(sq[h], operand)
        t = []
        for kj, sj in zip(k, sk):
            A = sum(a * b for a, b in zip(row, kj[g]))
            mk, ek = sj[g]
            score = clamp(rescale(round_(A * mk, 14) * mq, ek + eq - 30), 2 ** 30)
            t.append(cap(score, C) if C else score)
        w = [max(t) - x for x in t]
        w = [exp15(coded(x, *code) if code[0] else x) for x in w]
        D = sum(w)
        e0 = min(sj[g][1] for sj in sv)
        u = [x * sj[g][0] for x, sj in zip(w, sv)]
        lag = [sj[g][1] - e0 for sj in sv]
        s = max(0, bits(max(x >> min(d, 31) for x, d in zip(u, lag))) - 15)
        c = [min(32767, round_(x, min(d + s, 62))) for x, d in zip(u, lag)]
        O = [sum(x * vj[g][i] for x, vj in zip(c, v)) for i in range(len(row))]
        R = 2 ** (15 + bits(D)) // D
        y, s2 = block(O)
        exponents.append(15 + bits(D) + e0 - s - s2)
        rows.append([x * R for x in y])
    x0 = min(exponents)
    flat = [round_(x, min(e - x0, 62)) for row, e in zip(rows, exponents) for x in row]
    return spread(flat, (2 ** 15, x0 + 15), B)


def gate_quant(zg, gate, zu, up, activation=1, B=0):
    """gate_quant of one row: (q, scale); zu is None without up."""
    a = [activate(activation, clamp(rescale(z * gate[0], gate[1] - 16), 2 ** 30)) for z in zg]
    if zu is None:
        return spread(a, (2 ** 15, 31), B)
    (y, s), (y2, s2) = block(a), block(zu)
    return spread([i * j for i, j in zip(y, y2)], (up[0], up[1] + 16 - s - s2), B)


def patchify(pixels, patch_height, patch_width):
    """patchify of one image: pixels[y][x] are lists of channels; one list of codes a patch."""
    out = []
    for top in range(0, len(pixels), patch_height):
        for left in range(0, len(pixels[0]), patch_width):
            out.append([max(v - 128, -127) for row in pixels[top:top + patch_height]
                        for pixel in row[left:left + patch_width] for v in pixel])
    return out


def prefix_row(v, exponent, F):
    """Row j < S - P of prefix."""
    return [clamp32(rescale(x, exponent - F)) for x in v]


def pool(x, kind, first):
    """pool of the rows of one image."""
    if kind == 1:
        return x[first]
    n = len(x) - first
    return [(2 * sum(row[k] for row in x[first:]) + n) // (2 * n) for k in range(len(x[0]))]


def filter_weight(d, name):
    """The weight of a pixel at the signed distance d = (j + 1/2 - x) / r, a Fraction."""
    if name == 1:
        return int(-HALF < d <= HALF)
    T, U = floor(2 ** 16 * abs(d) + HALF), 2 ** 16
    if name == 2:
        return max(0, U - T)
    if T < U:
        return 3 * T ** 3 - 5 * T ** 2 * U + 2 * U ** 3
    return -T ** 3 + 5 * T ** 2 * U - 8 * T * U ** 2 + 4 * U ** 3 if T < 2 * U else 0


def resample_line(p, N, name):
    """A line of pixels to one of N, by the number of the filter."""
    n, out = len(p), []
    for i in range(N):
        r, x = max(Fraction(1), Fraction(n, N)), (i + HALF) * Fraction(n, N)
        support = r * (HALF, 1, 2)[name - 1]
        js = range(max(0, floor(x - support + HALF)), min(n, floor(x + support + HALF)))
        w = [filter_weight((j + HALF - x) / r, name) for j in js]
        s = sum(w)
        c = [(2 * 2 ** 22 * v + s) // (2 * s) for v in w]
        out.append(min(max((2 ** 21 + sum(a * p[j] for a, j in zip(c, js))) >> 22, 0), 255))
    return out


def resample(pixels, H, W, name):
    """Pixels [y][x] of one channel to H by W: rows first."""
    rows = [resample_line(row, W, name) for row in pixels]
    columns = [resample_line(list(column), H, name) for column in zip(*rows)]
    return [list(row) for row in zip(*columns)]


def crop(pixels, height, width, edge, name):
    """resize 2 of one channel."""
    h, w = len(pixels), len(pixels[0])
    a = min(h, w)
    H, W = (2 * h * edge + a) // (2 * a), (2 * w * edge + a) // (2 * a)
    top, left = (H - height) // 2, (W - width) // 2
    return [row[left:left + width] for row in resample(pixels, H, W, name)[top:top + height]]
