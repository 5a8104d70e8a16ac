"""Small layers and what is left of them after pruning, in float64 numpy: pruned.json for PruningTests.

    python3 prune.py > pruned.json

Blocks: every removal that is still possible is tried, and what is left is solved anew by least
squares with H (no inverse is updated), so that the loss of each step is a difference of two minima.
Patterns: SparseGPT as its authors' code does it, with the Cholesky factor of the inverse.
"""
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np

DAMPING = 0.01
STRIP, BLOCK = 16, 32
# name, rows, columns, tokens
LAYERS = [("even", 32, 96, 300), ("ragged", 21, 70, 300), ("few tokens", 16, 64, 20),
          ("small", 3, 40, 64)]
PATTERNS = [(2, 4), (1, 2), (5, 8)]


def short(values, digits=7):
    """Numbers of a few digits, which are then exact in the file."""
    return np.vectorize(lambda x: float(f"{x:.{digits}g}"))(values)


def damped(h):
    return h + DAMPING * np.mean(np.diag(h)) * np.eye(len(h))


def minimum(w, h, kept):
    """The least-squares solution on the columns that are kept, and its error."""
    v = np.zeros_like(w)
    if len(kept):
        v[:, kept] = np.linalg.solve(h[np.ix_(kept, kept)], (w @ h)[:, kept].T).T
    d = w - v
    return v, float(((d @ h) * d).sum())


def columns_of(blocks, k):
    return [c for b in blocks for c in range(b * BLOCK, min((b + 1) * BLOCK, k))]


def strip_order(w, h):
    """Blocks in the order in which they go, and what each adds to the error."""
    k = w.shape[1]
    left, order, losses, before = list(range(-(-k // BLOCK))), [], [], 0.0
    while left:
        tried = [(minimum(w, h, columns_of([b for b in left if b != gone], k))[1], gone)
                 for gone in left]
        error, gone = min(tried)
        order.append(gone)
        losses.append(error - before)
        left.remove(gone)
        before = error
    return order, losses


def sparsegpt(w, h, n, m, wanda):
    """Weights after pruning n of m, by columns."""
    u = np.linalg.cholesky(np.linalg.inv(damped(h))).T
    fixed = np.abs(w) * np.sqrt(np.diag(h))
    w, keep = w.copy(), np.zeros(w.shape, bool)
    for j in range(w.shape[1]):
        if j % m == 0:
            part = slice(j, j + m)
            score = fixed[:, part] if wanda else np.abs(w[:, part]) / np.diag(u)[part]
            for row, place in enumerate(np.argsort(-score, axis=1, kind="stable")[:, :n]):
                keep[row, j + place] = True
        value = np.where(keep[:, j], w[:, j], 0)
        wrong = (w[:, j] - value) / u[j, j]
        w[:, j:] -= np.outer(wrong, u[j, j:])
        w[:, j] = value
    return w, keep


def column_order(w, h, count):
    """The columns that are left when `count` stay, and the weights on them."""
    left = list(range(w.shape[1]))
    while len(left) > count:
        _, gone = min((minimum(w, h, [c for c in left if c != j])[1], j) for j in left)
        left.remove(gone)
    return left, minimum(w, h, left)[0]


def main():
    r = np.random.default_rng(20260101)
    cases = []
    for name, n, k, tokens in LAYERS:
        x = r.standard_normal((tokens, k // 3)) @ r.standard_normal((k // 3, k))
        x += r.standard_normal((tokens, k))
        x[:, 3::17] *= 8
        w = short(r.standard_normal((n, k)) / np.sqrt(k), 5).astype(np.float32).astype(float)
        h = short(x.T @ x / tokens)
        hd = damped(h)
        strips = []
        for first in range(0, n, STRIP):
            part = w[first:first + STRIP]
            order, losses = strip_order(part, hd)
            kept = [b for b in range(-(-k // BLOCK)) if b not in order[:(len(order) + 1) // 2]]
            v, _ = minimum(part, hd, columns_of(sorted(kept), k))
            strips.append({"order": order, "losses": losses, "kept": sorted(kept),
                           "solved": short(v.ravel(), 6).tolist()})
        patterns = []
        for a, b in PATTERNS:
            if k % b:
                continue
            for wanda in (False, True):
                v, keep = sparsegpt(w, h, a, b, wanda)
                patterns.append({"n": a, "m": b, "wanda": wanda, "values": short(v.ravel(), 6).tolist(),
                                 "survives": "".join(map(str, keep.ravel().astype(int)))})
        left, v = column_order(w, hd, k * 3 // 5)
        columns = {"kept": left, "values": short(v.ravel(), 6).tolist()}
        cases.append({"name": name, "rows": n, "columns": k, "tokens": tokens,
                      "weights": short(w.ravel(), 5).tolist(), "moments": h.ravel().tolist(),
                      "strips": strips, "keepList": columns, "patterns": patterns if n * k < 1500 else patterns[:2]})
    text = json.dumps({"cases": cases}, separators=(",", ":"))
    print(text)


if __name__ == "__main__":
    main()
