"""Small layers and what textbook solvers make of them in float64 numpy: solved.json for SolverTests.

    python3 solve.py > solved.json

GPTQ here inverts the moments and takes the Cholesky factor of the inverse, as the paper and the
authors' code do; coordinate descent forms every gradient anew; scales come from normal equations;
outliers are those of QuantEase's algorithm 3, with gradient steps and hard thresholds, then in 8 bits.
AdaQuant is Adam through the rounding, step after step. A corrected bias is the least squares of what the
tokens miss over a constant, of inputs moved by `shift`. With prices every code in range is tried for every weight.
"""
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np

SEED = 20260101
# name, rows, columns, bits, group, tokens, offsets, columns without input
CASES = [
    ("groups", 6, 64, 4, 32, 256, False, []),
    ("one row", 1, 40, 3, 0, 128, False, []),
    ("ragged", 5, 70, 2, 32, 256, False, []),
    ("wide group", 4, 20, 3, 64, 64, False, []),
    ("dead columns", 4, 48, 4, 32, 128, False, [0, 7, 40]),
    ("fewer tokens than columns", 9, 48, 3, 32, 16, False, []),
    ("offsets", 5, 64, 2, 32, 256, True, []),
    ("rows", 11, 36, 4, 0, 128, False, []),
]
# name, rows, columns, tokens, error for a bit over the mean moment times the squared step
PRICED = [("cheap", 9, 40, 200, 0.02), ("as planned", 6, 48, 256, 0.115), ("dear", 8, 36, 200, 0.6)]


def steps_of(case):
    """Step and offset of every weight, [rows][columns]."""
    n, k, group = case["rows"], case["columns"], case["group"] or case["columns"]
    unit = np.array(case["mantissas"], float)[:, None] * 2.0 ** -case["exponent"]
    at = np.arange(k) // group
    s = np.ones((n, k)) if case["scales"] is None else np.array(case["scales"], float)[:, at]
    o = np.zeros((n, k)) if case["offsets"] is None else np.array(case["offsets"], float)[:, at]
    return unit * s, unit * o


def nearest(x, step, offset, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return np.clip(np.rint((x - offset) / np.where(step > 0, step, 1)), low, high) * (step > 0)


def error(w, v, h):
    d = w - v
    return float(((d @ h) * d).sum())


def gptq(w, h, step, offset, bits, damping):
    k = len(h)
    h = h + damping * np.mean(np.diag(h)) * np.eye(k)
    order = np.argsort(-np.diag(h), kind="stable")
    u = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w, codes = w[:, order].copy(), np.zeros(w.shape)
    for i, j in enumerate(order):
        codes[:, j] = nearest(w[:, i], step[:, j], offset[:, j], bits)
        wrong = (w[:, i] - codes[:, j] * step[:, j] - offset[:, j]) / u[i, i]
        w[:, i:] -= np.outer(wrong, u[i, i:])
    return codes


def cheapest(x, step, weight, bits, error_per_bit):
    """Codes -127...127 of least weight * (x - step * code)^2 + error_per_bit * bits, one a row."""
    codes = np.arange(-127, 128)
    cost = weight * (x[:, None] - step[:, None] * codes) ** 2 + error_per_bit[:, None] * bits
    return codes[cost.argmin(1)]


def priced_gptq(w, h, step, bits, error_per_bit, damping):
    h = h + damping * np.mean(np.diag(h)) * np.eye(len(h))
    order = np.argsort(-np.diag(h), kind="stable")
    u = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w, codes = w[:, order].copy(), np.zeros(w.shape)
    for i, j in enumerate(order):
        codes[:, j] = cheapest(w[:, i], step, 1 / u[i, i] ** 2, bits, error_per_bit)
        w[:, i:] -= np.outer((w[:, i] - codes[:, j] * step) / u[i, i], u[i, i:])
    return codes


def priced_descent(w, h, step, bits, error_per_bit, codes, sweeps):
    codes = codes.copy()
    for _ in range(sweeps):
        for j in np.argsort(-np.diag(h), kind="stable"):
            v = codes * step[:, None]
            best = v[:, j] - (v - w) @ h[:, j] / h[j, j]
            codes[:, j] = cheapest(best, step, h[j, j], bits, error_per_bit)
    return codes


def priced_case(random, name, n, k, tokens, price):
    """A layer whose codes have prices: bits grow with the square of the code, rows pay differently."""
    mix = random.integers(-3, 4, (k // 2, k))
    x = random.integers(-2, 3, (tokens, k // 2)) @ mix + random.integers(-6, 7, (tokens, k))
    h = x.T @ x / tokens
    w = np.rint(random.standard_normal((n, k)) * 512) / 8192
    mantissas = np.rint(w.std(1) * random.uniform(0.3, 1.2, n) * 2**19)
    step = mantissas / 2**19
    c = np.arange(-127, 128)
    bits = np.minimum(11, 2 + np.abs(c) * 3 // 2 - (c == 0))
    per_bit = np.float32(price * np.mean(np.diag(h)) * step**2).astype(float)
    codes = priced_gptq(w, h, step, bits, per_bit, 0.01)
    moved = priced_descent(w, h, step, bits, per_bit, codes, 6)
    cost = lambda a: error(w, a * step[:, None], h) + float((per_bit[:, None] * bits[a.astype(int) + 127]).sum())
    return dict(
        name=name, rows=n, columns=k, exponent=19, mantissas=mantissas.astype(int).tolist(),
        weights=w.ravel().tolist(), products=(x.T @ x).ravel().tolist(), tokens=tokens,
        bits=bits.tolist(), error_per_bit=per_bit.tolist(), codes=codes.astype(int).ravel().tolist(),
        cost=cost(codes), descent=cost(moved))


def descend(w, h, step, offset, bits, codes, sweeps):
    codes = codes.copy()
    for _ in range(sweeps):
        for j in np.argsort(-np.diag(h), kind="stable"):
            if h[j, j] > 0:
                v = codes * step + offset
                best = v[:, j] - (v - w) @ h[:, j] / h[j, j]
                codes[:, j] = nearest(best, step[:, j], offset[:, j], bits)
    return codes


def adaquant(w, h, step, offset, bits, codes, spans, iterations, weight_rate=0.006, step_rate=0.002):
    """The least error of each row among all iterations, with the real steps that were learned."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    live = (step > 0) & (np.diag(h) > 0)
    x = np.where(live, np.clip((w - offset) / np.where(live, step, 1), codes - 0.49, codes + 0.49), codes)
    log, least = np.zeros((len(w), len(spans))), np.full(len(w), np.inf)
    moving = [[x, 0.0, 0.0], [log, 0.0, 0.0]]
    for t in range(1, iterations + 1):
        factor = np.zeros(w.shape)
        for g, span in enumerate(spans):
            factor[:, span] = np.exp(log[:, g:g + 1])
        at = x / factor
        code = np.rint(np.clip(at, low, high))
        wrong = code * step * factor + offset - w
        slope = wrong @ h
        least = np.minimum(least, (wrong * slope).sum(1))
        inside = (at >= low - 0.5) & (at <= high + 0.5)
        slope = np.where(step > 0, slope / np.where(step > 0, step, 1), 0)
        by_step = slope * (code - at * inside)
        slopes = [slope * inside, np.stack([by_step[:, span].sum(1) for span in spans], 1)]
        pace = 0.5 * (1 + np.cos(np.pi * (t - 1) / iterations))
        for state, gradient, rate in zip(moving, slopes, [weight_rate, step_rate]):
            state[1] = 0.9 * state[1] + 0.1 * gradient
            state[2] = 0.999 * state[2] + 0.001 * gradient**2
            length = np.sqrt(state[2] / (1 - 0.999**t)) + 1e-18
            state[0] -= rate * pace * state[1] / (1 - 0.9**t) / length
    return float(least.sum())


def best_scales(w, h, case, codes):
    """Error with real-valued scales (and offsets) of least error, row by row."""
    k, group = case["columns"], case["group"] or case["columns"]
    total = 0.0
    for c, row in zip(codes, w):
        spans = [np.arange(k) // group == g for g in range(-(-k // group))]
        basis = [c * s for s in spans] + ([1.0 * s for s in spans] if case["offsets"] else [])
        a = np.array(basis)
        x = np.linalg.lstsq(a @ h @ a.T, a @ h @ row, rcond=None)[0]
        total += error(row[None], (x @ a)[None], h)
    return total


def largest(o, count, by_column):
    """o with only its largest elements, or columns by norm."""
    size = np.tile((o ** 2).sum(0), (len(o), 1)) if by_column else np.abs(o)
    if by_column:
        kept = np.argsort(-size[0], kind="stable")[:count]
        return np.where(np.isin(np.arange(o.shape[1]), kept)[None], o, 0)
    kept = np.argsort(-size.ravel(), kind="stable")[:count]
    return np.where(np.isin(np.arange(o.size), kept).reshape(o.shape), o, 0)


def outlier_quantease(w, h, step, offset, bits, unit, count, by_column, sweeps):
    """Error of Q + O: a sweep over the codes, then O <- largest(O - gradient / (2 lmax)), in turn;
    in the end O in 8 bits, in units of the rows times the least power of two that holds all."""
    o = largest(w, count, by_column)
    codes = nearest(w - o, step, offset, bits)
    most = np.linalg.eigvalsh(h)[-1]
    for _ in range(sweeps):
        codes = descend(w - o, h, step, offset, bits, codes, 1)
        left = w - codes * step - offset - o
        o = largest(o + left @ h / most, count, by_column)
    unit = unit * 2 ** np.ceil(np.log2(max(np.abs(o / unit).max() / 127, 1)))
    return error(w, codes * step + offset + np.rint(o / unit) * unit, h)


def best_added(w, h, values, cells):
    """Error with real numbers of least error added to `cells` of each row."""
    total = 0.0
    for row, value, own in zip(w, values, cells):
        d = row - value
        x = np.linalg.lstsq(h[np.ix_(own, own)], h[own] @ d, rcond=None)[0]
        d[own] -= x
        total += float(d @ h @ d)
    return total


def low_rank(w, h, rank, damping):
    """Least error of a product of that rank: the singular values of W L that are cut off, H = L L'."""
    l = np.linalg.cholesky(h + damping * np.mean(np.diag(h)) * np.eye(len(h)))
    return float((np.linalg.svd(w @ l, compute_uv=False)[rank:] ** 2).sum())


def beside_bias(w, x, step, offset, bits, codes):
    """What a constant has to add to each output for codes, the error beside it, and that of GPTQ's codes
    for such a constant."""
    def left(codes):
        missed = x @ (w - codes * step - offset).T
        bias = np.linalg.lstsq(np.ones((len(x), 1)), missed, rcond=None)[0]
        return bias[0], float(((missed - bias) ** 2).sum() / len(x))
    bias, error = left(codes)
    return bias, error, left(gptq(w, np.cov(x.T, bias=True), step, offset, bits, 0.01))[1]


def main():
    random = np.random.default_rng(SEED)
    cases = []
    for name, n, k, bits, group, tokens, has_offsets, dead in CASES:
        # Whole numbers over powers of two: every value is exact in float32 and in JSON.
        mix = random.integers(-3, 4, (k // 2, k))
        x = random.integers(-2, 3, (tokens, k // 2)) @ mix + random.integers(-6, 7, (tokens, k))
        x[:, dead] = 0
        h = x.T @ x / tokens
        w = np.rint(random.standard_t(4, (n, k)) * 512) / 8192
        w += has_offsets * 0.0625
        groups = 1 if group == 0 else -(-k // group)
        spans = [range(k)] if group == 0 else [range(g * group, min(k, g * group + group)) for g in range(groups)]
        top = np.array([[np.abs(w[r, list(s)]).max() for s in spans] for r in range(n)])
        ideal = top * {2: 0.55, 3: 0.23, 4: 0.12}[bits]
        exponent = 20
        if group == 0:
            mantissas, scales = np.rint(ideal[:, 0] * 2**exponent), None
        else:
            mantissas = np.ceil(ideal.max(1) / 255 * 2**exponent)
            scales = np.rint(ideal / mantissas[:, None] * 2**exponent)
        case = dict(
            name=name, rows=n, columns=k, bits=bits, group=group, exponent=exponent,
            mantissas=mantissas.astype(int).tolist(),
            scales=None if scales is None else scales.astype(int).tolist(),
            offsets=random.integers(0, 128, (n, groups)).tolist() if has_offsets else None,
            weights=w.ravel().tolist(), products=(x.T @ x).ravel().tolist(), tokens=tokens)
        step, offset = steps_of(case)
        target = w * (np.diag(h) > 0)
        plain = nearest(w, step, offset, bits)
        solved = gptq(target, h, step, offset, bits, 0.01)
        moved = descend(target, h, step, offset, bits, solved, 8)
        value = lambda codes: codes * step + offset
        case.update(
            codes=plain.astype(int).ravel().tolist(), error=error(target, value(plain), h),
            gptq=error(target, value(solved), h), gptq_codes=solved.astype(int).ravel().tolist(),
            descent=error(target, value(moved), h),
            adaquant=adaquant(target, h, step, offset, bits, plain, [list(s) for s in spans], 150),
            scales_after_gptq=best_scales(target, h, case, solved))
        live = np.diag(h) > 0
        missed = (w - value(plain)) ** 2 * np.diag(h)
        cells = [sorted(int(j) for j in np.argsort(-row, kind="stable")[:3] if live[j])
                 for row in missed]
        count = (max(1, round(0.05 * n * k)), max(1, round(0.05 * k)))
        unit = np.array(case["mantissas"], float)[:, None] * 2.0 ** -case["exponent"]
        # Inputs whose mean is far from 0.
        shift = 4 + np.arange(k) % 7
        shift[dead] = 0
        bias, beside, beside_gptq = beside_bias(target, x + shift, step, offset, bits, plain)
        case.update(
            sums=x.sum(0).tolist(), shift=shift.tolist(), bias=bias.tolist(), beside_bias=beside,
            gptq_beside_bias=beside_gptq)
        case.update(
            cells=cells, added=best_added(target, h, value(plain), cells),
            low_rank=[low_rank(target, h, rank, 0.01) for rank in range(1, min(n, k) + 1)],
            residual=outlier_quantease(
                target, h, step, offset, bits, unit, count[0], False, 30),
            outlier_columns=outlier_quantease(
                target, h, step, offset, bits, unit, count[1], True, 30))
        cases.append(case)
    priced = [priced_case(random, *case) for case in PRICED]
    print(json.dumps(
        {"generator": "solve.py", "seed": SEED, "cases": cases, "priced": priced}, separators=(",", ":")))


if __name__ == "__main__":
    main()
