"""Gradients of transformer layers in float64 numpy: an independent reference of LayerTape.

    python3 gradients.py [OUT]

Writes gradients.json (or OUT): layers of several arrangements with random parameters, rows x [tokens][width], a
matrix w of the same shape, the layer's output y, and the gradients of sum(w * y) by x and by every parameter but
the norms of heads, as central differences of the textbook form.
"""
# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import sys

import numpy as np

TOKENS, STEP = 5, 1e-5
PLAIN = dict(width=8, feed=6, heads=4, kv=2, head=4, norm="rms", activation="silu", rotary=4, half=True,
             causal=True, window=0, cap=0.0, parts=["gate"])
CASES = {
    "plain": {},
    "interleaved, a part of a head": dict(rotary=2, half=False),
    "image, layer norm, biases, gelu": dict(
        causal=False, norm="layer", activation="geluErf", rotary=0,
        parts=["query_bias", "key_bias", "value_bias", "output_bias", "up_bias", "down_bias", "norm_bias"]),
    "norms behind, quick gelu": dict(norm="layer", activation="quickGelu", parts=["norms_behind", "norm_bias"]),
    "parallel, one norm, gelu by tanh": dict(parts=["parallel", "shared_norm"], activation="geluTanh"),
    "parallel, two norms": dict(parts=["parallel", "gate"]),
    "post norms, window, cap": dict(parts=["gate", "post_norms"], window=3, cap=1.5),
    "norms of heads, biases of the gate": dict(
        parts=["gate", "head_norms", "gate_bias", "up_bias"], kv=4),
}
EPSILON, BASE = 1e-5, 100.0


def parameters(c, rng):
    p, parts = {}, c["parts"]
    d, q, k = c["width"], c["heads"] * c["head"], c["kv"] * c["head"]
    shapes = dict(query=(q, d), key=(k, d), value=(k, d), output=(d, q), gate=(c["feed"], d), up=(c["feed"], d),
                  down=(d, c["feed"]))
    for name, shape in shapes.items():
        if name != "gate" or "gate" in parts:
            p[name] = rng.uniform(-0.6, 0.6, shape)
        if name + "_bias" in parts:
            p[name + "_bias"] = rng.uniform(-0.6, 0.6, shape[0])
    norms = ["attention_norm"]
    norms += [] if "shared_norm" in parts else ["feed_forward_norm"]
    norms += ["attention_post_norm", "feed_forward_post_norm"] if "post_norms" in parts else []
    for name in norms:
        p[name] = rng.uniform(0.4, 1.6, d)
        if "norm_bias" in parts:
            p[name + "_bias"] = rng.uniform(-0.6, 0.6, d)
    if "head_norms" in parts:
        p["query_norm"], p["key_norm"] = rng.uniform(0.4, 1.6, (2, c["head"]))
    # What float32 holds.
    return {name: value.astype(np.float32).astype(np.float64) for name, value in p.items()}


def normed(x, weight, bias=None, centered=False):
    if centered:
        x = x - x.mean(-1, keepdims=True)
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight
    return y if bias is None else y + bias


def activated(x, kind):
    if kind == "silu":
        return x / (1 + np.exp(-x))
    if kind == "quickGelu":
        return x / (1 + np.exp(-1.702 * x))
    if kind == "geluTanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def turned(x, c):
    """Heads [tokens][heads][head] by their positions."""
    pairs = c["rotary"] // 2
    angle = np.arange(len(x))[:, None] * BASE ** (-2 * np.arange(pairs) / max(c["rotary"], 1))
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    y = x.copy()
    for i in range(pairs):
        a, b = (i, i + pairs) if c["half"] else (2 * i, 2 * i + 1)
        y[..., a] = x[..., a] * cos[..., i] - x[..., b] * sin[..., i]
        y[..., b] = x[..., a] * sin[..., i] + x[..., b] * cos[..., i]
    return y


def forward(c, p, x):
    parts = c["parts"]

    def norm(x, name):
        return normed(x, p[name], p.get(name + "_bias"), c["norm"] == "layer")

    def linear(x, name):
        y = x @ p[name].T
        return y + p[name + "_bias"] if name + "_bias" in p else y

    def attention(n):
        q, k, v = (linear(n, name).reshape(len(n), -1, c["head"]) for name in ("query", "key", "value"))
        if "query_norm" in p:
            q, k = normed(q, p["query_norm"]), normed(k, p["key_norm"])
        q, k = turned(q, c), turned(k, c)
        out = np.zeros_like(q)
        for h in range(c["heads"]):
            shared = h * c["kv"] // c["heads"]
            s = q[:, h] @ k[:, shared].T / math.sqrt(c["head"])
            if c["cap"]:
                s = c["cap"] * np.tanh(s / c["cap"])
            i, j = np.indices(s.shape)
            hidden = (j > i) & c["causal"] | (j <= i - c["window"]) & (c["window"] > 0)
            e = np.where(hidden, 0, np.exp(s))
            out[:, h] = e / e.sum(1, keepdims=True) @ v[:, shared]
        y = linear(out.reshape(len(n), -1), "output")
        return norm(y, "attention_post_norm") if "post_norms" in parts else y

    def feed(n):
        up = linear(n, "up")
        h = activated(linear(n, "gate"), c["activation"]) * up if "gate" in p else activated(up, c["activation"])
        y = linear(h, "down")
        return norm(y, "feed_forward_post_norm") if "post_norms" in parts else y

    if "norms_behind" in parts:
        x = norm(x + attention(x), "attention_norm")
        return norm(x + feed(x), "feed_forward_norm")
    n = norm(x, "attention_norm")
    if "parallel" in parts:
        return x + attention(n) + feed(n if "shared_norm" in parts else norm(x, "feed_forward_norm"))
    x = x + attention(n)
    return x + feed(norm(x, "feed_forward_norm"))


def gradient(outcome, value):
    """Central differences of outcome() by the elements of an array that it reads."""
    result = np.zeros(value.size)
    flat = value.reshape(-1)
    for i in range(value.size):
        old, sides = flat[i], []
        for sign in (1, -1):
            flat[i] = old + sign * STEP
            sides.append(outcome())
        flat[i] = old
        result[i] = (sides[0] - sides[1]) / (2 * STEP)
    return result


def main():
    rng = np.random.default_rng(7)
    cases = []
    for name, change in CASES.items():
        c = {**PLAIN, **change}
        p = parameters(c, rng)
        x, w = rng.uniform(-1, 1, (2, TOKENS, c["width"])).astype(np.float32).astype(np.float64)
        p["x"] = x

        def outcome():
            return (w * forward(c, p, x)).sum()

        y = forward(c, p, x)
        gradients = {key: [float(f"{g:.7g}") for g in gradient(outcome, value)] for key, value in p.items()
                     if key not in ("query_norm", "key_norm")}
        numbers = {key: np.float32(value).reshape(-1).tolist() for key, value in p.items()}
        numbers = {key: [float(f"{v:.9g}") for v in values] for key, values in numbers.items()}
        cases.append({"name": name, **c, "values": numbers, "w": [float(f"{v:.9g}") for v in w.reshape(-1)],
                      "y": [float(f"{v:.8g}") for v in y.reshape(-1)], "gradients": gradients})
    place = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "gradients.json")
    with open(place, "w") as file:
        json.dump({"cases": cases}, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
