"""Logits of a Llama in float64 numpy: an independent reference of the float decoder.

    python3 decoder.py MODEL OUT TOKEN...

MODEL is a folder (config.json, model.safetensors; "curta_pairing": "interleaved" in the config
overrides the half-split rotation) or a llama2.c .bin; OUT receives float64 [tokens][vocabulary].
"""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import struct
import sys

import numpy as np


def read_safetensors(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        part = raw[8 + n + a:8 + n + b]
        if t["dtype"] == "BF16":
            v = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            v = np.frombuffer(part, {"F32": "<f4", "F16": "<f2"}[t["dtype"]])
        out[name] = v.reshape(t["shape"]).astype(np.float64)
    return out


def read_folder(path):
    c = json.load(open(os.path.join(path, "config.json")))
    w = read_safetensors(os.path.join(path, "model.safetensors"))
    heads = c["num_attention_heads"]
    m = dict(heads=heads, kv=c.get("num_key_value_heads") or heads,
             hd=c.get("head_dim") or c["hidden_size"] // heads, eps=c["rms_norm_eps"],
             base=c["rope_theta"], inter=c.get("curta_pairing") == "interleaved")
    emb = w.get("model.embed_tokens.weight", w.get("lm_head.weight"))
    m.update(emb=emb, head=emb if c["tie_word_embeddings"] else w["lm_head.weight"],
             norm=w["model.norm.weight"], layers=[])
    short = dict(n1="input_layernorm", q="self_attn.q_proj", k="self_attn.k_proj",
                 v="self_attn.v_proj", o="self_attn.o_proj", n2="post_attention_layernorm",
                 g="mlp.gate_proj", u="mlp.up_proj", d="mlp.down_proj")
    for l in range(c["num_hidden_layers"]):
        m["layers"].append({k: w[f"model.layers.{l}.{n}.weight"] for k, n in short.items()})
    return m


def read_llama2c(path):
    dim, hidden, layers, heads, kv, vocab, seq = np.fromfile(path, "<i4", 7).tolist()
    w = np.fromfile(path, "<f4", offset=28).astype(np.float64)
    at, hd, tied, vocab = 0, dim // heads, vocab > 0, abs(vocab)

    def take(*shape):
        nonlocal at
        at += int(np.prod(shape))
        return w[at - int(np.prod(shape)):at].reshape(shape)

    emb = take(vocab, dim)
    shapes = dict(n1=(dim,), q=(dim, dim), k=(kv * hd, dim), v=(kv * hd, dim), o=(dim, dim),
                  n2=(dim,), g=(hidden, dim), d=(dim, hidden), u=(hidden, dim))
    t = {k: take(layers, *s) for k, s in shapes.items()}
    norm = take(dim)
    take(seq * hd)
    return dict(heads=heads, kv=kv, hd=hd, eps=1e-5, base=10000.0, inter=True, emb=emb,
                head=emb if tied else take(vocab, dim), norm=norm,
                layers=[{k: v[l] for k, v in t.items()} for l in range(layers)])


def forward(m, tokens):
    n, hd = len(tokens), m["hd"]
    x = m["emb"][tokens]
    turn = np.exp(1j * np.outer(np.arange(n), m["base"] ** (-2.0 * np.arange(hd // 2) / hd)))

    def norm(v, g):
        return v / np.sqrt(np.mean(v ** 2, -1, keepdims=True) + m["eps"]) * g

    def rope(v):  # as complex numbers, unlike the product
        if m["inter"]:
            z = (v[..., 0::2] + 1j * v[..., 1::2]) * turn[:, None]
            return np.stack([z.real, z.imag], -1).reshape(v.shape)
        z = (v[..., :hd // 2] + 1j * v[..., hd // 2:]) * turn[:, None]
        return np.concatenate([z.real, z.imag], -1)

    mask = np.triu(np.full((n, n), -np.inf), 1)
    for w in m["layers"]:
        a = norm(x, w["n1"])
        q = rope((a @ w["q"].T).reshape(n, m["heads"], hd))
        k = rope((a @ w["k"].T).reshape(n, m["kv"], hd))
        v = (a @ w["v"].T).reshape(n, m["kv"], hd)
        out = []
        for h in range(m["heads"]):
            g = h * m["kv"] // m["heads"]
            s = q[:, h] @ k[:, g].T / np.sqrt(hd) + mask
            p = np.exp(s - s.max(-1, keepdims=True))
            out.append(p / p.sum(-1, keepdims=True) @ v[:, g])
        x = x + np.concatenate(out, -1) @ w["o"].T
        a = norm(x, w["n2"])
        g = a @ w["g"].T
        x = x + (g / (1 + np.exp(-g)) * (a @ w["u"].T)) @ w["d"].T
    return norm(x, m["norm"]) @ m["head"].T


if __name__ == "__main__":
    model, out, tokens = sys.argv[1], sys.argv[2], [int(t) for t in sys.argv[3:]]
    m = read_folder(model) if os.path.isdir(model) else read_llama2c(model)
    forward(m, tokens).astype("<f8").tofile(out)
