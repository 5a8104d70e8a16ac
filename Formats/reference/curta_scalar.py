# SPDX-License-Identifier: Apache-2.0
"""curta-arithmetic.md once more, word for word, in Python's unbounded integers and plain lists.

It makes the arithmetic vectors and shows that the numpy form never wraps; it shares only the
tables with it."""

from math import isqrt

from curta_arithmetic import make_tables

TABLES = make_tables()


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


def exp30(d):
    """exp30(d)."""
    return _exp(TABLES["EXP30"], d, 40)


def sigmoid(a):
    """sigmoid(a)."""
    a = min(a, 2 ** 20)
    i, r = a >> 11, a % 2048
    table = TABLES["SIGMOID"]
    return table[i] + round_((table[i + 1] - table[i]) * r, 11)


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


def norm_quant(x, c, m, exponent, eps, B=0):
    """norm_quant of one row: (q, scale)."""
    y, s = block(x)
    inv = inverse_rms(sum(v * v for v in y), len(x), eps, s)
    return spread([v * g for v, g in zip(y, c)], mul(inv, norm(m, exponent)), B)


def head_quant(z, scale, heads, p, f, pairing, B):
    """head_quant of one row: a list of (q, scale), one a head; f is None without phases."""
    y, s = block(z)
    width, out = len(z) // heads, []
    for head in range(heads):
        v = y[head * width:(head + 1) * width]
        for i, phase in enumerate(f or []):
            j, k = (2 * i, 2 * i + 1) if pairing == 1 else (i, i + len(f))
            h = p * phase % 2 ** 32
            a, b = v[j], v[k]
            v[j] = round_(a * cos(h) - b * sin(h), 15)
            v[k] = round_(a * sin(h) + b * cos(h), 15)
        out.append(quantize(hadamard(v, B), (scale[0], scale[1] - s)))
    return out


def attend(q, sq, k, sk, v, sv, operand, B=0):
    """attend of one row: q[h], sq[h]; k[j][g], sk[j][g]; v, sv alike. Gives (q, scale)."""
    share, rows, exponents = len(q) // len(k[0]), [], []
    for h, row in enumerate(q):
        g = h // share
        mq, eq = mul(sq[h], operand)
        t = []
        for kj, sj in zip(k, sk):
            A = sum(a * b for a, b in zip(row, kj[g]))
            mk, ek = sj[g]
            t.append(clamp(rescale(round_(A * mk, 14) * mq, ek + eq - 30), 2 ** 30))
        w = [exp15(max(t) - x) for x in t]
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


def gate_quant(zg, gate, zu, up, B=0):
    """gate_quant of one row: (q, scale)."""
    a = []
    for z in zg:
        g = clamp(rescale(z * gate[0], gate[1] - 16), 2 ** 30)
        f = sigmoid(abs(g))
        a.append(round_(g * (2 ** 15 - f if g < 0 else f), 15))
    (y, s), (y2, s2) = block(a), block(zu)
    return spread([i * j for i, j in zip(y, y2)], (up[0], up[1] + 16 - s - s2), B)
