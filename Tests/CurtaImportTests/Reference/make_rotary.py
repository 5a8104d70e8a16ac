#!/usr/bin/env python3
"""Rotary tables of `transformers` for configurations as they stand in config.json, old and new.

    make_rotary.py > rotary.json

Each case has the fields of a config.json, the context of the run (null: what the model has when it
is made), the frequencies, and the attention factor.
SPDX-License-Identifier: Apache-2.0
"""

import copy
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import transformers as hf  # noqa: E402
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: E402
from transformers.models.gemma3 import modeling_gemma3  # noqa: E402
from transformers.models.gpt_neox import modeling_gpt_neox  # noqa: E402
from transformers.models.llama import modeling_llama  # noqa: E402
from transformers.models.phi import modeling_phi  # noqa: E402
from transformers.models.phi3 import modeling_phi3  # noqa: E402
from transformers.models.qwen2 import modeling_qwen2  # noqa: E402

EMBEDDINGS = {
    "llama": modeling_llama.LlamaRotaryEmbedding, "qwen2": modeling_qwen2.Qwen2RotaryEmbedding,
    "phi": modeling_phi.PhiRotaryEmbedding, "phi3": modeling_phi3.Phi3RotaryEmbedding,
    "gpt_neox": modeling_gpt_neox.GPTNeoXRotaryEmbedding,
    "gemma3_text": modeling_gemma3.Gemma3RotaryEmbedding,
}
LONG = dict(short_factor=[1.0 + i / 8 for i in range(8)], long_factor=[1.5 + i for i in range(8)])
LLAMA3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)


def cases():
    def llama(context=None, **fields):
        return "llama", context, dict(head_dim=16, max_position_embeddings=4096, **fields)

    yarn = dict(type="yarn", factor=4.0, original_max_position_embeddings=1024)
    yield llama()
    yield llama(rope_theta=500000.0, rope_scaling=None)
    yield llama(rope_parameters=dict(rope_type="default", rope_theta=1e6))
    yield llama(rope_scaling=dict(type="linear", factor=4.0))
    yield llama(rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=77.0))
    yield llama(rope_scaling=dict(type="dynamic", factor=2.0))
    yield llama(16384, rope_scaling=dict(type="dynamic", factor=2.0))
    yield llama(5000, rope_parameters=dict(rope_type="dynamic", factor=8.0, rope_theta=1e5))
    yield llama(rope_scaling=yarn)
    yield llama(rope_scaling={**yarn, "beta_fast": 16, "beta_slow": 2}, rope_theta=1e6)
    yield llama(rope_scaling={**yarn, "attention_factor": 1.25})
    yield llama(rope_scaling={**yarn, "mscale": 0.7, "mscale_all_dim": 1.1})
    yield llama(rope_parameters=dict(rope_type="yarn", factor=32.0, rope_theta=150000.0,
                                     original_max_position_embeddings=512, truncate=False))
    yield llama(rope_theta=500000.0, rope_scaling=LLAMA3)
    yield "llama", None, dict(head_dim=64, max_position_embeddings=131072,
                              rope_parameters={**LLAMA3, "rope_theta": 500000.0})
    for context in (None, 4096, 1000):
        yield llama(context, rope_scaling=dict(
            rope_type="longrope", factor=4.0, original_max_position_embeddings=1024, **LONG))
    yield "qwen2", None, dict(
        max_position_embeddings=32768, rope_theta=1e6,
        rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=8192))
    for context in (4096, 131072):
        yield "phi3", context, dict(
            max_position_embeddings=131072, original_max_position_embeddings=4096,
            rope_scaling=dict(type="longrope", **LONG))
    yield "gpt_neox", None, dict(rotary_pct=0.25, rotary_emb_base=10000)
    yield "gpt_neox", None, dict(rotary_pct=1.0, rotary_emb_base=500)
    yield "gpt_neox", None, dict()
    yield "phi", None, dict(partial_rotary_factor=0.5, rope_theta=1e4)
    yield "phi", None, dict()
    yield "phi", None, dict(rope_theta=1e4, partial_rotary_factor=0.5,
                            rope_scaling=dict(type="linear", factor=2.0))
    gemma = dict(head_dim=16, max_position_embeddings=8192, sliding_window_pattern=2)
    yield "gemma3_text", None, dict(
        **gemma, rope_theta=1e6, rope_local_base_freq=10000, rope_scaling=dict(
            rope_type="linear", factor=8.0))
    yield "gemma3_text", None, dict(**gemma)
    yield "gemma3_text", None, dict(**gemma, rope_parameters=dict(
        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=2e6),
        sliding_attention=dict(rope_type="default", rope_theta=3e4)))


def table(kind, context, config):
    """Frequencies and attention factor of one table, or of two."""
    if kind == "gemma3_text":
        embedding = EMBEDDINGS[kind](config)
        return [[getattr(embedding, f"{layer}_inv_freq").tolist(),
                 float(getattr(embedding, f"{layer}_attention_scaling"))]
                for layer in ("full_attention", "sliding_attention")]
    rope = config.rope_parameters["rope_type"]
    if context is not None or rope == "longrope":
        # Where the run is not longer than the model, this is what the model has as well.
        seq = context if context is not None else config.max_position_embeddings
        frequencies, factor = ROPE_INIT_FUNCTIONS[rope](config, None, seq_len=seq)
    else:
        embedding = EMBEDDINGS[kind](config)
        frequencies, factor = embedding.inv_freq, embedding.attention_scaling
    return [[frequencies.tolist(), float(factor)]]


def main():
    result = []
    for kind, context, fields in cases():
        shape = dict(model_type=kind, vocab_size=32, hidden_size=64, intermediate_size=24,
                     num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        fields = {**shape, **fields}
        kinds = copy.deepcopy({k: v for k, v in fields.items() if k != "model_type"})
        config = hf.AutoConfig.for_model(kind, **kinds)
        result.append(dict(config=fields, context=context, tables=table(kind, context, config)))
    print("[\n" + ",\n".join(json.dumps(case) for case in result) + "\n]")


if __name__ == "__main__":
    main()
