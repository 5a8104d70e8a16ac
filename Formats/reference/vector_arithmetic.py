# SPDX-License-Identifier: Apache-2.0
"""The arithmetic vectors: cases of every primitive and op, from curta_scalar, checked with numpy."""

import numpy as np

import curta_arithmetic as a
import curta_ops as ops
import curta_sampling as sampling
import curta_scalar as s
from vector_writer import Stream

R = Stream(20261123)
I31, I32 = (1 << 31) - 1, 1 << 32


def signed(limit):
    """A number in -limit ... limit whose size is drawn first."""
    size = R.below(limit.bit_length() + 1)
    value = R.below((1 << min(size, 32)) or 1) << max(0, size - 32)
    return min(value, limit) * (1, -1)[R.below(2)]


def row(count, limit):
    """A row of one magnitude."""
    top = max(1, abs(signed(limit)))
    return [R.below(min(2 * top + 1, I32)) - min(top, I31) if top <= I31
            else signed(top) for _ in range(count)]


def scale():
    """A scale."""
    return R.between(32768, 65535), R.between(-40, 70)


def text(values):
    """A list or number as one field."""
    return ",".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)


def table(head, lines):
    """A TSV with a head line."""
    return "# " + "\t".join(head.split()) + "\n" + "".join(
        "\t".join(text(field) for field in line) + "\n" for line in lines)


def same(numpy_values, values):
    """Asserts that numpy gives the same numbers."""
    assert np.array_equal(np.asarray(numpy_values), np.asarray(values)), (numpy_values, values)


def rounding():
    """round.tsv and rescale.tsv."""
    xs = [0, 1, -1, 2, -2, 3, -3, 5, -5, 7, -8, 32767, -32768, I31, -I31 - 1, 1 << 46, -(1 << 46)]
    pairs = [(x, n) for x in xs for n in (0, 1, 2, 14, 31, 47, 62)]
    pairs += [(signed(1 << 61), R.below(63)) for _ in range(120)]
    lines = [(x, n, s.round_(x, n)) for x, n in pairs]
    same([a.round_shift(x, n) for x, n, _ in lines], [y for _, _, y in lines])
    pairs = [(x, n) for x in xs for n in (-(1 << 31), -200, -15, -14, -13, -1, 0, 1, 30, 62, 63, 300)]
    pairs += [(signed(1 << 46), R.between(-20, 70)) for _ in range(120)]
    lines2 = [(x, n, s.rescale(x, n)) for x, n in pairs]
    same([a.rescale(x, n) for x, n, _ in lines2], [y for _, _, y in lines2])
    return {"round": table("x s round", lines), "rescale": table("x s rescale", lines2)}


def scales():
    """norm.tsv and mul.tsv."""
    Ms = [1, 2, 3, 32767, 32768, 65535, 65536, 65537, 131071, (1 << 31) - 1, (1 << 32) - 1,
          (1 << 61) + 12345, (1 << 40) - (1 << 23), (1 << 40) - (1 << 23) - 1]
    pairs = [(M, E) for M in Ms for E in (-70, 0, 99)]
    pairs += [(max(1, abs(signed(1 << 61))), R.between(-100, 100)) for _ in range(120)]
    lines = [(M, E, *s.norm(M, E)) for M, E in pairs]
    same([[int(v) for v in a.norm(M, E)] for M, E, _, _ in lines], [line[2:] for line in lines])
    pairs = [((32768, 0), (32768, 0)), ((65535, -70), (65535, -70)), ((65535, 0), (32768, 5)),
             ((46341, 3), (46341, 4)), ((46340, 3), (46341, 4))]
    pairs += [(scale(), scale()) for _ in range(120)]
    lines2 = [(*x, *y, *s.mul(x, y)) for x, y in pairs]
    same([[int(v) for v in a.mul(line[:2], line[2:4])] for line in lines2],
         [line[4:] for line in lines2])
    return {"norm": table("M E m e", lines), "mul": table("m1 e1 m2 e2 m e", lines2)}


def blocks():
    """block.tsv and quantize.tsv."""
    rows = [[0] * 4, [1, 0, -1, 0], [32767, -32767], [32768, -32768], [65535, -65535, 1, -1],
            [I31, -I31, I31, 1], [1 << 46, -(1 << 46), 3], [127, -127, 64], [128, -128, 1], [1]]
    rows += [row(R.between(1, 24), 1 << R.between(1, 46)) for _ in range(80)]
    lines = [(x, *s.block(x)) for x in rows]
    for x, y, shift in lines:
        same(a.block(np.array(x))[0], y)
        same(a.block(np.array(x))[1], shift)
    lines2 = []
    for x in rows:
        m, e = scale()
        q, out = s.quantize(x, (m, e))
        got = a.quantize(np.array(x), (m, e))
        same(got[0], q)
        same(got[1:], out)
        lines2.append((x, m, e, q, *out))
    return {"block": table("x y s", lines), "quantize": table("x m e q m_out e_out", lines2)}


def functions():
    """exp15, exp30, sin_cos, isqrt and the inverse root."""
    ds = [0, 1, 2047, 2048, 65535, 65536, 131071, 14 << 16, 15 << 16, (16 << 16) - 1, 31 << 16,
          32 << 16, 40 << 16, (40 << 16) + 1, 41 << 16, 1 << 30, I31, 1 << 31]
    ds += list(range(0, 65536, 1021)) + [R.below(45 << 16) for _ in range(150)]
    lines = [(d, s.exp15(d), s.exp30(d)) for d in ds]
    same(a.exp15(ds), [line[1] for line in lines])
    same(a.exp30(ds), [line[2] for line in lines])
    ps = [q * (1 << 30) + d & I32 - 1 for q in range(4) for d in (-129, -128, -1, 0, 1, 127, 128, 129)]
    ps += list(range(0, I32, 33333331)) + [R.below(I32) for _ in range(100)]
    turns = [(p, s.sin(p), s.cos(p)) for p in ps]
    same(a.sin(ps), [line[1] for line in turns])
    same(a.cos(ps), [line[2] for line in turns])
    cases = [(0, 1, 0, 0), (0, 1 << 17, 0, 0), (1, 1 << 17, 0, 0), (1, 1, 0, 0), (0, 7, 1 << 40, 0),
             (0, 7, 1 << 40, 20), (0, 7, 1 << 40, 21), ((1 << 30) * (1 << 17), 1 << 17, 1 << 40, 0),
             (32767 * 32767, 1, 0, 16), (4, 4, 0, 0), (5, 5, 0, 3)]
    for _ in range(120):
        K = R.between(1, 1 << R.between(1, 17))
        cases.append((R.below(K) * R.below(1 << 30), K, R.below(1 << R.between(0, 30)), R.below(17)))
    inverse = [(*case, *s.inverse_rms(*case)) for case in cases]
    same([ops.inverse_rms(*case) for case in cases], [line[4:] for line in inverse])
    numbers = [0, 1, 2, 3, 4, (1 << 60), (1 << 62) - 1, (1 << 31) ** 2 - 1, (1518500249) ** 2,
               (1518500249) ** 2 - 1] + [abs(signed(1 << 61)) for _ in range(40)]
    roots = [(x, s.isqrt(x)) for x in numbers]
    return {"exp": table("d exp15 exp30", lines), "sin_cos": table("p sin cos", turns),
            "isqrt": table("x isqrt", roots),
            "inverse_rms": table("sum_of_squares K eps s m e", inverse)}


def activations():
    """lookup, activate and cap."""
    xs = [0, 1, 2047, 2048, 65536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 1 << 30]
    xs += list(range(0, 1 << 20, 16411))
    looked = [(name, x, s.lookup(name, x)) for name in ("SIGMOID", "GELU_TANH", "GELU_ERF",
                                                        "QUICK_GELU", "RELU") for x in xs]
    same([a.lookup(name, x) for name, x, _ in looked], [line[2] for line in looked])
    signed_xs = [x for size in xs for x in (size, -size)] + [signed(1 << 30) for _ in range(40)]
    active = [(n, x, s.activate(n, x)) for n in range(1, 6) for x in signed_xs]
    same([a.activate(n, x) for n, x, _ in active], [line[2] for line in active])
    caps = [1 << 16, (1 << 16) + 1, 94548, 1 << 20, 50 * 94548, 30 << 16, (1 << 26) - 1, 1 << 26]
    pairs = [(x, C) for C in caps for size in (0, 1, 2, 1023, C >> 4, C // 2, C - 1, C, 4 * C, 8 * C,
                                               1 << 30, I31) for x in (size, -size) if size <= I31]
    pairs += [(signed(I31), R.between(1 << 16, 1 << 26)) for _ in range(150)]
    capped = [(x, C, s.cap(x, C)) for x, C in pairs]
    same([a.cap(x, C) for x, C, _ in capped], [line[2] for line in capped])
    return {"lookup": table("table a lookup", looked),
            "activate": table("activation g activate", active), "cap": table("x C cap", capped)}


class FakeTensor:
    """The fields of a tensor that an op looks at."""

    def __init__(self, codes, mantissa=32768, exponent=0):
        self.codes, self.mantissas, self.exponent = np.array([codes]), np.array([mantissa]), exponent


def dividing(width, number):
    """A Hadamard block that divides a width: none, the smallest or the largest in turn."""
    largest = width & -width
    return (0, 2 if largest > 1 else 0, largest if largest > 1 else 0)[number % 3]


def norm_cases():
    """Rows of fixed numbers with a norm: (x, codes, m, exponent, kind, eps)."""
    for number in range(80, 92):  # channels that tower above the rest, which gamma brings to size
        factor, width = (50, 200, 1000, 3000)[number % 4], R.between(8, 24)
        x, c = row(width, 1 << 19), [R.between(12000, 32767) for _ in range(width)]
        for at in (R.below(width), R.below(width)):
            x[at], c[at] = s.clamp32(x[at] * factor + R.below(factor)), c[at] // factor
        yield x, c, 43690, 30, 1 + number // 4 % 2, 42950
    for number in range(80):
        width = R.between(1, 20) if number % 8 else 1
        kind = 1 + number // 2 % 2
        x = [s.clamp32(v) for v in row(width, 1 << R.between(1, 31))]
        if number % 4 == 3:  # a large mean
            mean = R.between(-(1 << 28), 1 << 28)
            x = [mean + s.clamp(v, 1 << 20) for v in x]
        x = {0: [0] * width, 1: [I31] * width, 2: [I31] * width, 3: [-I31] * width,
             4: [I31, -I31, -I31], 6: [-I31, I31, I31, I31], 7: [I31, I31 - 1],
             10: [1, 0], 11: [-1, 0], 14: [-3, -2, -2, -2], 15: [I31, -I31] * 8}.get(number, x)
        c = [R.between(-32767, 32767) for _ in x]
        m, e, eps = R.between(1, 65535), R.between(-64, 64), R.below(1 << R.between(0, 30))
        if number % 16 > 13:
            eps = (0, 1 << 40)[number % 2]
        yield x, c, m, e, kind, eps


def norm_rows():
    """norm_quant.tsv and norm_op.tsv."""
    lines, lines2 = [], []
    for number, (x, c, m, e, kind, eps) in enumerate(norm_cases()):
        B, F = dividing(len(x), number // 4), (0, 30, 16, R.below(31))[number % 4]
        q, out = s.norm_quant(x, c, m, e, kind, eps, B)
        got = ops.norm_quant(np.array([x]), FakeTensor(c, m, e), kind, eps, B)
        same(got[0][0], q)
        same([got[1][0], got[2][0]], out)
        lines.append((x, c, m, e, kind, eps, B, q, *out))
        e += (0, 20, -20)[number % 3]
        fixed = s.norm_fixed(x, c, m, e, kind, eps, F)
        same(ops.norm_fixed(np.array([x]), FakeTensor(c, m, e), kind, eps, F)[0], fixed)
        lines2.append((x, c, m, e, kind, eps, F, fixed))
    head = "x gamma_codes gamma_m gamma_exponent kind eps "
    return {"norm_quant": table(head + "hadamard q m_out e_out", lines),
            "norm_op": table(head + "fraction out", lines2)}


def sums():
    """bias.tsv and add.tsv."""
    lines, lines2 = [], []
    for number in range(80):
        width = R.between(1, 12)
        z, F = [s.clamp32(v) for v in row(width, 1 << R.between(1, 31))], R.below(31)
        if number % 8 == 0:
            z = [(I31, -I31)[R.below(2)] for _ in z]
        m, e = scale()
        if number % 3 == 0:  # a fixed row
            m, e = 32768, 15 + R.below(31)
        if number == 7:
            m, e = 32768, -(1 << 20)
        one = np.array([z]), np.array([m]), np.array([e])
        c = [R.between(-32767, 32767) for _ in z] if number % 4 else None
        bm, be = (R.between(1, 65535), R.between(-64, 64)) if c else (0, 0)
        if number % 5 == 1 and c:
            be = 31 - R.below(8)
        out = s.bias(z, (m, e), c, bm, be, F)
        same(ops.bias(*one, FakeTensor(c, bm, be) if c else None, F)[0], out)
        lines.append((z, m, e, c or [], bm, be, F, out))
        total = [s.clamp32(v) for v in row(width, 1 << R.between(1, 31))]
        if number % 9 == 0:
            total = [(I31, -I31)[R.below(2)] for _ in z]
        out = s.add(total, z, (m, e), F)
        same(ops.add(np.array([total]), *one, F)[0], out)
        lines2.append((total, z, m, e, F, out))
    return {"bias": table("z m e bias_codes bias_m bias_exponent fraction out", lines),
            "add": table("sum z m e fraction out", lines2)}


def head_rows():
    """head_quant.tsv; with norm codes z is a fixed row."""
    lines = []
    for number in range(96):
        heads, width = R.between(1, 3), (4, 8, 16, 6)[number % 4]
        pairing, B = number % 3, dividing(width, number // 4)
        z, (m, e) = row(heads * width, 1 << R.between(1, 30)), scale()
        f = [R.below(I32) for _ in range(R.between(1, width // 2))] if pairing else []
        p = (0, 1, R.below(1 << 20))[number % 3]
        c, gm, ge, eps = [], 0, 0, 0
        if number >= 48:
            m, e = 32768, 15 + R.below(31)
            z = [s.clamp32(v) for v in row(heads * width, 1 << R.between(1, 31))]
            z[:width] = ([0] * width if number % 12 == 0 else [I31] * width if number % 12 == 5
                         else z[:width])
            c, gm, ge = [R.between(-32767, 32767) for _ in range(width)], R.between(1, 65535), 30
            ge, eps = (ge, R.between(-64, 64))[number % 2], R.below(1 << R.between(0, 40))
        norm = (c, gm, ge) if c else None
        result = s.head_quant(z, (m, e), heads, p, f or None, pairing, B, norm, eps)
        got = ops.head_quant(np.array([z]), np.array([m]), np.array([e]), heads, [p],
                             FakeTensor(f) if f else None, pairing, B,
                             FakeTensor(*norm) if norm else None, eps)
        codes = [q for head in result for q in head[0]]
        same(got[0].ravel(), codes)
        ms, es = [head[1][0] for head in result], [head[1][1] for head in result]
        same(got[1][0], ms)
        same(got[2][0], es)
        lines.append((z, m, e, heads, p, f, pairing, B, c, gm, ge, eps, codes, ms, es))
    return table("z m e heads position phases pairing hadamard norm_codes norm_m norm_exponent eps "
                 "q m_out[head] e_out[head]", lines)


def attend_rows():
    """attend.tsv; the rows with a code have numbers of their own."""
    global R
    lines, before = [], R
    for number in range(140):
        if number == 80:
            R = Stream(20261129)
        kv, share, width, seen = R.between(1, 2), R.between(1, 3), R.between(1, 8), R.between(1, 9)
        limit = 127 if number % 4 else R.below(2)
        def codes(n, top=limit):
            return [R.between(-top, top) for _ in range(n)]
        spread = (0, 3, 40, 100)[number % 4]
        def some(count, low):
            return [(R.between(32768, 65535), R.between(low, low + spread)) for _ in range(count)]
        q, sq = [codes(width) for _ in range(kv * share)], some(kv * share, 18)
        k = [[codes(width) for _ in range(kv)] for _ in range(seen)]
        v = [[codes(width) for _ in range(kv)] for _ in range(seen)]
        sk, sv = [some(kv, 18) for _ in k], [some(kv, (20, -50)[number % 2]) for _ in v]
        operand = (R.between(32768, 65535), R.between(10, 20) if number % 5 else -64)
        if number == 0:  # weights 32768 and 32767: 1 / D has the mantissa 2^15
            kv, share, width, seen, operand = 1, 1, 1, 2, (32768, 15)
            q, sq, k, sk = [[1]], [(32768, 15)], [[[1]], [[0]]], [[(32768, 30)]] * 2
            v, sv = [[[127]], [[-3]]], [[(40000, 20)]] * 2
        B = dividing(kv * share * width, number)
        C = R.between(1 << 16, 1 << R.between(17, 26)) if 40 <= number < 80 else 0
        code = (0, 0, 0)
        if number >= 80:
            H = (0, R.below(1 << R.between(1, 15)), 32767 if number % 2 else R.below(1000))[number % 3]
            code = (2 + number % 3, R.between(1, 4), H)
            operand = (operand[0], R.between(14, 24))
            C = R.between(1 << 16, 1 << 22) if number >= 130 else 0
        out, (m, e) = s.attend(q, sq, k, sk, v, sv, operand, B, C, code)
        pair = lambda x: (np.array(x)[..., 0], np.array(x)[..., 1])
        got = ops.attend(np.array(q), pair(sq), np.array(k), pair(sk), np.array(v), pair(sv),
                         operand, B, C, code)
        same(got[0], out)
        same(got[1:], (m, e))
        flat = lambda x: [int(n) for n in np.array(x).ravel()]
        lines.append((kv * share, kv, width, seen, *operand, B, C, *code, flat(q), flat(sq), flat(k), flat(sk),
                      flat(v), flat(sv), out, m, e))
    R = before
    return table("heads kv_heads width positions m e hadamard cap code_bits step shift q[h][w] scales_q[h]:m,e "
                 "k[j][g][w] scales_k[j][g]:m,e v[j][g][w] scales_v[j][g]:m,e out m_out e_out", lines)


def gate_rows():
    """gate_quant.tsv; zu is empty without up."""
    lines = []
    for number in range(120):
        width = R.between(1, 16)
        zg, zu = row(width, 1 << R.between(1, 30)), row(width, 1 << R.between(1, 30))
        gate, up = scale(), scale()
        if number >= 48:
            zg = [s.clamp32(v) for v in row(width, 1 << R.between(1, 31))]
            gate = (32768, 15 + R.below(31)) if number % 2 else (R.between(32768, 65535), 31)
            zg = [(I31, -I31)[R.below(2)] for _ in zg] if number % 10 == 9 else zg
        if number == 0:
            zg = [0] * width
        if number == 1:
            zg, zu = [1 << 30, -(1 << 30)], [1 << 30, 1 << 30]
        activation, B = 1 + number % 5, dividing(len(zg), number)
        if number % 3 == 2:
            zu, up = [], (0, 0)
        q, out = s.gate_quant(zg, gate, zu or None, up, activation, B)
        one = lambda z, x: (np.array([z]), np.array([x[0]]), np.array([x[1]])) if z else None
        got = ops.gate_quant(one(zg, gate), one(zu, up), activation, B)
        same(got[0][0], q)
        same([got[1][0], got[2][0]], out)
        lines.append((zg, *gate, zu, *up, activation, B, q, *out))
    return table("zg mg eg zu mu eu activation hadamard q m_out e_out", lines)


def random_numbers():
    """xorshift.tsv."""
    seeds = [0, 1, 2, 42, (1 << 64) - 1, (1 << 64) - 0x9E3779B97F4A7C15, 1 << 63]
    lines = []
    for seed in seeds:
        random = sampling.Random(seed)
        start = random.state
        lines.append((seed, start, [random.next() for _ in range(6)]))
    return table("seed state numbers", lines)


def samples():
    """sampling.tsv."""
    lines = []
    for number in range(120):
        count = R.between(1, 12)
        logits = [s.clamp32(v) for v in row(count, 1 << R.between(1, 22))]
        if number % 7 == 0:
            logits = [logits[0]] * count
        if number % 11 == 0:
            logits = [(I31, -I31)[R.below(2)] for _ in range(count)]
        recent = [R.below(count) for _ in range(R.below(5))]
        rules = {"temperature": (0, 1, 13107, 65536, 65536, 200000, I31)[number % 7],
                 "top_k": (0, 0, 1, 3, 99)[number % 5],
                 "top_p": (0, 65536, 1, 30000, 62259)[number // 2 % 5],
                 "min_p": (0, 0, 3277, 65536)[number // 3 % 4],
                 "penalty": (0, 16384, 19661, 8192, 1)[number // 4 % 5]}
        number_drawn = (0, (1 << 64) - 1, R.below(I32) << 32 | R.below(I32))[number % 3]
        token = sampling.sample(logits, recent, lambda value=number_drawn: value, **rules)
        lines.append((logits, recent, *rules.values(), number_drawn, token))
    return table("logits recent temperature top_k top_p min_p penalty random token", lines)


def tables():
    """Every file of vectors/arithmetic by name."""
    global R
    R = Stream(20261123)
    out = {}
    for part in (rounding, scales, blocks, functions, activations, norm_rows, sums):
        out.update(part())
    out.update(head_quant=head_rows(), attend=attend_rows(), gate_quant=gate_rows(),
               xorshift=random_numbers(), sampling=samples())
    out["tables"] = table("name values", list(s.TABLES.items()))
    return out
