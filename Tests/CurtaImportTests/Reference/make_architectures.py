#!/usr/bin/env python3
"""Tiny random models of every architecture, with the logits that `transformers` gives.

    make_architectures.py OUT [NAME ...]

Writes OUT/NAME/{config.json, model.safetensors, expected.bin}. The weights are random but fixed by
a seed, and are representable in float16, which they are stored in; the logits are of float32.
expected.bin: u32 tokens, u32 vocabulary, i32[tokens] ids, f32[tokens][vocabulary] logits.
SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import struct
import sys
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import transformers as hf  # noqa: E402

VOCABULARY = 32
TOKENS = 24  # beyond every window below
BASE = dict(vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
            pad_token_id=0)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.2], long_factor=[1.5, 4.0],
            rope_theta=10000.0)


def rope(kind, **fields):
    return dict(rope_type=kind, rope_theta=10000.0, **fields)


def gemma3(**fields):
    """Two rotary tables, a window in three of four layers."""
    return hf.Gemma3TextConfig(
        **{**BASE, "num_hidden_layers": 4}, num_key_value_heads=2, head_dim=8, sliding_window=6,
        query_pre_attn_scalar=10, **fields,
        layer_types=["sliding_attention", "sliding_attention", "full_attention",
                     "sliding_attention"],
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
            sliding_attention=dict(rope_type="default", rope_theta=1e4)))


def models():
    """Name and a function that makes the model."""
    llama = lambda **f: hf.LlamaForCausalLM(hf.LlamaConfig(**{**BASE, "num_key_value_heads": 2, **f}))
    neox = lambda **f: hf.GPTNeoXForCausalLM(
        hf.GPTNeoXConfig(**{**BASE, "num_attention_heads": 2, "intermediate_size": 40}, **f))
    phi3 = lambda **f: hf.Phi3ForCausalLM(hf.Phi3Config(**{**BASE, "num_key_value_heads": 2, **f}))
    return {
        "llama": lambda: llama(tie_word_embeddings=True, head_dim=6),
        "llama-bias": lambda: llama(attention_bias=True, mlp_bias=True),
        "llama-llama3": lambda: llama(
            num_attention_heads=2, num_key_value_heads=1,
            rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=16)),
        "llama-linear": lambda: llama(rope_parameters=rope("linear", factor=4.0)),
        "llama-dynamic": lambda: llama(
            max_position_embeddings=16, rope_parameters=rope("dynamic", factor=2.0)),
        "llama-yarn": lambda: llama(
            num_attention_heads=2, num_key_value_heads=2,
            rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16)),
        "mistral": lambda: hf.MistralForCausalLM(
            hf.MistralConfig(**BASE, num_key_value_heads=2, head_dim=6, sliding_window=5)),
        "qwen2": lambda: hf.Qwen2ForCausalLM(
            hf.Qwen2Config(**BASE, num_key_value_heads=2, use_sliding_window=True,
                           sliding_window=7, max_window_layers=1, tie_word_embeddings=True)),
        "qwen3": lambda: hf.Qwen3ForCausalLM(
            hf.Qwen3Config(**BASE, num_key_value_heads=2, head_dim=8)),
        "gemma": lambda: hf.GemmaForCausalLM(
            hf.GemmaConfig(**BASE, num_key_value_heads=1, head_dim=6)),
        "gemma2": lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(**{**BASE, "num_hidden_layers": 3}, num_key_value_heads=2, head_dim=6,
                            sliding_window=6, query_pre_attn_scalar=9,
                            attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
        "gemma3_text": lambda: hf.Gemma3ForCausalLM(gemma3()),
        "gemma3": lambda: hf.Gemma3ForConditionalGeneration(hf.Gemma3Config(
            text_config=gemma3(), mm_tokens_per_image=1, boi_token_index=5, eoi_token_index=6,
            image_token_index=7,
            vision_config=dict(hidden_size=4, intermediate_size=4, num_hidden_layers=1,
                               num_attention_heads=1, image_size=8, patch_size=8))),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=15, n_layer=2, n_head=3,
                          n_inner=20, bos_token_id=1, eos_token_id=2)),
        "gpt_neox": lambda: neox(),
        "gpt_neox-serial": lambda: neox(
            use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True,
            hidden_act="gelu_fast",
            rope_parameters=dict(rope_type="default", rope_theta=500.0,
                                 partial_rotary_factor=0.5)),
        "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**BASE, partial_rotary_factor=0.5)),
        "phi3": lambda: phi3(sliding_window=9),
        "phi3-longrope": lambda: phi3(rope_parameters=LONG, original_max_position_embeddings=16),
        "starcoder2": lambda: hf.Starcoder2ForCausalLM(
            hf.Starcoder2Config(**BASE, num_key_value_heads=2, sliding_window=8)),
    }


def randomise(model, seed):
    """Weights of a size at which every part of the model matters, all float16 numbers."""
    generator = torch.Generator().manual_seed(seed)
    isGemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() < 2:
                isNorm = name.endswith("weight")
                value = (0.0 if isGemma or not isNorm else 1.0) + 0.25 * noise
            elif "embed" in name or "wte" in name or "wpe" in name:
                value = 0.7 * noise
            else:
                value = noise * (1.6 / p.shape[-1] ** 0.5)
            p.copy_(value.half().float())


def write(out, name, make):
    torch.manual_seed(0)
    model = make().float().eval()
    model.set_attn_implementation("eager")
    randomise(model, zlib.crc32(name.encode()))
    ids = [(i * i * 5 + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    model.half().save_pretrained(folder)
    if name == "gemma3":
        drop_vision_shape(folder)
    for extra in os.listdir(folder):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(folder, extra))
    with open(os.path.join(folder, "expected.bin"), "wb") as f:
        f.write(struct.pack("<II", TOKENS, logits.shape[-1]))
        f.write(struct.pack(f"<{TOKENS}i", *ids))
        f.write(logits.contiguous().numpy().astype("<f4").tobytes())
    print(f"{name}: largest logit {logits.abs().max():.3f}, deviation {logits.std():.3f}")


def drop_vision_shape(folder):
    """As google's own files: the text part's class has no defaults of ours to fall back on."""
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    config["vision_config"] = {"model_type": "siglip_vision_model"}
    with open(path, "w") as f:
        json.dump(config, f, indent=1)


def main():
    out, names = sys.argv[1], sys.argv[2:]
    for name, make in models().items():
        if not names or name in names:
            write(out, name, make)


if __name__ == "__main__":
    main()
