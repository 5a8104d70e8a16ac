#!/usr/bin/env python3
"""GGUF files of the models of make_architectures.py, in the conventions of llama.cpp's converter.

    make_gguf.py FOLDER OUT [NAME ...]

Reads FOLDER/NAME/{config.json, model.safetensors} and writes OUT/NAME.gguf with the `gguf` package:
matrices in float16, vectors in float32, names by the package's own TensorNameMap. What
convert_hf_to_gguf.py does to the values is repeated here: q and k of Llama permuted, 1 added to the
norms of Gemma, Conv1D transposed, GPT-NeoX's heads sorted into q, k and v, divisors for scaled
rotary tables.
SPDX-License-Identifier: Apache-2.0
"""

import json
import math
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA, "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma": gguf.MODEL_ARCH.GEMMA, "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3, "gpt2": gguf.MODEL_ARCH.GPT2,
    "gpt_neox": gguf.MODEL_ARCH.GPTNEOX, "phi": gguf.MODEL_ARCH.PHI2,
    "phi3": gguf.MODEL_ARCH.PHI3, "starcoder2": gguf.MODEL_ARCH.STARCODER2,
}


def permute(weight, heads):
    """LlamaModel.permute of convert_hf_to_gguf.py."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def change(kind, config, name, value):
    heads = config.get("num_attention_heads") or config["n_head"]
    keyHeads = config.get("num_key_value_heads") or heads
    if kind in ("llama", "mistral"):
        if ".q_proj." in name:
            return permute(value, heads)
        if ".k_proj." in name:
            return permute(value, keyHeads)
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return value + np.float32(1)
    if kind == "gpt2" and any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return value.T
    if kind == "gpt_neox" and "query_key_value" in name:
        width = config["hidden_size"]
        parts = value.reshape(heads, 3, width // heads, *value.shape[1:])
        return np.concatenate([parts[:, i].reshape(-1, *value.shape[1:]) for i in range(3)])
    return value


def metadata(w, kind, c):
    heads = c.get("num_attention_heads") or c["n_head"]
    width = c.get("hidden_size") or c["n_embd"]
    rope = c.get("rope_parameters") or {}
    full = rope.get("full_attention", rope)
    w.add_block_count(c.get("num_hidden_layers") or c["n_layer"])
    w.add_context_length(c.get("max_position_embeddings") or c["n_positions"])
    w.add_embedding_length(width)
    w.add_feed_forward_length(c.get("intermediate_size") or c.get("n_inner") or 4 * width)
    w.add_head_count(heads)
    if kind not in ("gpt2", "gpt_neox"):
        w.add_head_count_kv(c.get("num_key_value_heads") or heads)
    if "rms_norm_eps" in c:
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    for name in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"):
        if name in c:
            w.add_layer_norm_eps(c[name])
    headWidth = c.get("head_dim") or width // heads
    if c.get("head_dim"):
        w.add_key_length(headWidth)
        w.add_value_length(headWidth)
    fraction = full.get("partial_rotary_factor")
    if kind != "gpt2":
        w.add_rope_dimension_count(int(headWidth * (fraction or 1)))
        w.add_rope_freq_base(full.get("rope_theta", 10000.0))
    if kind == "gpt_neox":
        w.add_parallel_residual(c["use_parallel_residual"])
    if kind == "gemma2":
        w.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        w.add_final_logit_softcapping(c["final_logit_softcapping"])
    if kind in ("gemma2", "gemma3_text", "phi3") and c.get("sliding_window"):
        w.add_sliding_window(c["sliding_window"])
    if kind == "gemma3_text":
        # Newer converters say which layers slide; older files leave it to the reader.
        w.add_sliding_window_pattern([t == "sliding_attention" for t in c["layer_types"]])
    kindOfScaling = full.get("rope_type", "default")
    context = c.get("max_position_embeddings")
    if kindOfScaling == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(full["factor"])
    elif kindOfScaling == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(full["factor"])
        w.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
    elif kindOfScaling == "llama3":
        # LlamaModel.generate_extra_tensors
        base, old = full["rope_theta"], full["original_max_position_embeddings"]
        low, high = full["low_freq_factor"], full["high_freq_factor"]
        divisors = []
        for i in range(0, headWidth, 2):
            wavelength = 2 * math.pi * base ** (i / headWidth)
            if wavelength < old / high:
                divisors.append(1.0)
            elif wavelength > old / low:
                divisors.append(full["factor"])
            else:
                smooth = (old / wavelength - low) / (high - low)
                divisors.append(1 / ((1 - smooth) / full["factor"] + smooth))
        w.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    elif kindOfScaling == "longrope":
        # Phi3MiniModel.generate_extra_tensors
        old = c["original_max_position_embeddings"]
        w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(context / old) / math.log(old)))
        w.add_rope_scaling_orig_ctx_len(old)
        w.add_tensor("rope_factors_long.weight", np.array(full["long_factor"], np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(full["short_factor"], np.float32))


def convert(folder, path):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    kind = config["model_type"]
    if kind not in ARCHITECTURES:
        return
    arch = ARCHITECTURES[kind]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    layers = config.get("num_hidden_layers") or config["n_layer"]
    names = gguf.get_tensor_name_map(arch, layers)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata(writer, kind, config)
    for name, value in sorted(load_file(os.path.join(folder, "model.safetensors")).items()):
        value = change(kind, config, name, value.astype(np.float32))
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise SystemExit(f"{kind}: no ggml name for {name}")
        value = np.ascontiguousarray(value)
        writer.add_tensor(new, value.astype(np.float16) if value.ndim > 1 else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    folder, out = sys.argv[1], sys.argv[2]
    os.makedirs(out, exist_ok=True)
    for name in sys.argv[3:] or sorted(os.listdir(folder)):
        if os.path.exists(os.path.join(folder, name, "config.json")):
            convert(os.path.join(folder, name), os.path.join(out, name + ".gguf"))


if __name__ == "__main__":
    main()
