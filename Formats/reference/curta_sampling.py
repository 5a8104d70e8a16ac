# SPDX-License-Identifier: Apache-2.0
"""Sampling and random numbers: curta-arithmetic.md sections 6 and 7, in Python integers."""

import numpy as np

from curta_arithmetic import clamp32, exp30, i64, round_shift

MASK = (1 << 64) - 1


class Random:
    """xorshift64* seeded by splitmix64."""

    def __init__(self, seed):
        z = (seed + 0x9E3779B97F4A7C15) & MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        self.state = (z ^ (z >> 31)) or 1

    def next(self):
        """The next number."""
        x = self.state
        x ^= x >> 12
        x ^= x << 25 & MASK
        x ^= x >> 27
        self.state = x
        return x * 0x2545F4914F6CDD1D & MASK


def penalised(logits, recent, penalty):
    """Step 1, the repetition penalty."""
    out = i64(logits).copy()
    if penalty in (0, 16384):
        return out
    for token in set(recent):
        value = int(out[token])
        if value > 0:
            value = ((value << 14) + penalty // 2) // penalty
        else:
            value = (value * penalty + (1 << 13)) >> 14
        out[token] = clamp32(value)
    return out


def weights(logits, temperature):
    """Step 3: w of every logit."""
    k = (1549082005 + temperature // 2) // temperature
    distance = np.max(logits) - logits
    assert int(np.max(distance)) * k < 1 << 63
    return exp30(np.minimum(round_shift(distance * k, 14), 40 << 16))


def kept_ids(logits, w, top_k, top_p, min_p):
    """Step 4: the kept ids, best first."""
    order = sorted(range(len(logits)), key=lambda i: (-int(logits[i]), i))
    if top_k:
        order = order[:top_k]
    if min_p:
        order = order[:1] + [i for i in order[1:] if int(w[i]) >= min_p << 14]
    if 0 < top_p < 65536:
        total = sum(int(w[i]) for i in order)
        need, reached, count = max(1, total * top_p >> 16), 0, 0
        while reached < need:
            reached += int(w[order[count]])
            count += 1
        order = order[:count]
    return order


def sample(logits, recent, random, temperature=0, top_k=0, top_p=0, min_p=0, penalty=0):
    """The next token id; `random` is called only when the temperature is not 0."""
    logits = penalised(logits, recent, penalty)
    if temperature == 0:
        return int(np.argmax(logits))
    w = weights(logits, temperature)
    kept = sorted(kept_ids(logits, w, top_k, top_p, min_p))
    rest = random() * sum(int(w[i]) for i in kept) >> 64
    for i in kept:
        if int(w[i]) > rest:
            return i
        rest -= int(w[i])
    raise AssertionError("the weights do not reach their sum")
