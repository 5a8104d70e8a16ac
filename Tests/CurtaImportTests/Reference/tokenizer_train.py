# Small tokenizers with the published configurations of families whose own files are on no registry.
# SPDX-License-Identifier: Apache-2.0
"""Train a tokenizer on this Python's own source files and on the corpus of tokenizer_reference.py.

    python3 tokenizer_train.py KIND OUT

KIND: one of those that `python3 tokenizer_train.py list` prints. OUT is a tokenizer.json, or for
the kinds sp-* a tokenizer.model. Exits with 3 where `tokenizers` or `sentencepiece` is missing.
"""

import base64
import glob
import io
import json
import os
import sys

from tokenizer_reference import corpus

try:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                            pre_tokenizers, processors, trainers)
except ImportError:
    sys.exit(3)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def texts():
    files = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:60]
    for path in files:
        with open(path, encoding="utf-8", errors="ignore") as file:
            yield from file.read().split("\n\n")
    yield from corpus(7, 4000)


def lines():
    return [line for text in texts() for line in text.split("\n") if line.strip()]


# Byte-level BPE

def byte_level(normalizer, pre_tokenizer, special, begin=None, whole=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts(), trainer)
    if begin:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))])])
    return json.loads(tokenizer.to_str())


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3():
    result = byte_level(None, split(LLAMA3), ["<|begin_of_text|>", "<|im_end|>"],
                        "<|begin_of_text|>", whole=True)
    # A token that no merge makes, so that only a whole piece becomes it.
    model = result["model"]
    model["vocab"]["Ġzqj"] = len(model["vocab"])
    return result


def qwen2():
    return byte_level(normalizers.NFC(), split(QWEN2), ["<|endoftext|>", "<|im_end|>"])


def neox():
    return byte_level(normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False),
                      ["<|endoftext|>"])


def prefixed():
    """RoBERTa's form: a space in front, <s> and </s> around, a mask that takes space."""
    special = ["<s>", "</s>", AddedToken("<mask>", lstrip=True, special=True)]
    result = byte_level(None, pre_tokenizers.ByteLevel(add_prefix_space=True), special)
    result["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0],
                                "trim_offsets": True, "add_prefix_space": True}
    for token in result["added_tokens"]:
        token["rstrip"] = token["content"] == "</s>"
    return result


# BPE on characters

def character_bpe(change, fallback=True):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=2500, limit_alphabet=400, show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    special = ["<unk>", "<s>", "</s>"]
    names = special + (["<0x%02X>" % i for i in range(256)] if fallback else [])
    # The corpus spells some of these, which would make merges of them.
    reserved = set(names)
    merges = [m for m in trained["merges"] if not reserved & {m[0], m[1], "".join(m)}]
    names += [t for t in sorted(trained["vocab"], key=trained["vocab"].get) if t not in names]
    result = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}
                         for i, t in enumerate(special)],
        "normalizer": None, "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                            {"type": "ByteFallback"}, {"type": "Fuse"},
                            {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": fallback, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(names)}, "merges": merges}}
    change(result)
    return result


def sequence(name, *parts):
    return {"type": "Sequence", name: list(parts)}


def mistral():
    """Llama 2 and Mistral as converted now: Metaspace, the first segment alone gets a space."""
    def change(result):
        result["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                                   "prepend_scheme": "first", "split": False}
    return character_bpe(change)


def metaspace():
    """Metaspace that cuts at spaces, merges as arrays of two, Metaspace as the decoder."""
    def change(result):
        result["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                                   "prepend_scheme": "always", "split": True}
        result["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
                             "split": True}
    return character_bpe(change, fallback=False)


def gemma():
    def change(result):
        result["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        result["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "},
                                   "behavior": "MergedWithPrevious", "invert": False}
        del result["decoder"]["decoders"][3]
        model = result["model"]
        for text in ["\n\n", "\n\n\n", "<sep>", "<user>"]:
            number = model["vocab"].setdefault(text, len(model["vocab"]))
            result["added_tokens"].append(
                {"id": number, "content": text, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": False})
        # As strings, which a merge with a line break in it can be too.
        model["merges"] = [" ".join(m) for m in model["merges"] if not any(" " in t for t in m)]
    return character_bpe(change)


# SentencePiece

def sentence_piece(**options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()), model_writer=out, minloglevel=2,
        **{"vocab_size": 3000, "character_coverage": 0.99, "max_sentence_length": 20000, **options})
    return out.getvalue()


SENTENCE_PIECE = {
    "sp-unigram": dict(model_type="unigram"),
    "sp-unigram-own": dict(model_type="unigram", byte_fallback=True, split_digits=True,
                           user_defined_symbols=["<sep>", "<user>", "Ⅷ", "Å", "the"]),
    "sp-unigram-plain": dict(model_type="unigram", normalization_rule_name="identity",
                             add_dummy_prefix=False, remove_extra_whitespaces=False,
                             allow_whitespace_only_pieces=True),
    "sp-unigram-fold": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf"),
    "sp-bpe": dict(model_type="bpe"),
    "sp-bpe-llama": dict(model_type="bpe", normalization_rule_name="identity", byte_fallback=True,
                         remove_extra_whitespaces=False, split_digits=True),
    "sp-bpe-own": dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=False,
                       remove_extra_whitespaces=False,
                       user_defined_symbols=["<sep>", "<user>", "▁▁", "▁▁▁▁", "①"]),
}


def t5(old, fallback=False):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(sentence_piece(model_type="unigram", byte_fallback=fallback))
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    vocab = [[p.piece, 0.0 if p.type != 1 else p.score] for p in model.pieces]
    end = next(i for i, p in enumerate(vocab) if p[0] == "</s>")
    special = [{"id": i, "content": p[0], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True}
               for i, p in enumerate(vocab) if model.pieces[i].type in (2, 3)]
    special.append({"id": len(vocab), "content": "<mask>", "single_word": False, "lstrip": True,
                    "rstrip": True, "normalized": False, "special": True})
    decoder = meta if not fallback else sequence(
        "decoders", {"type": "ByteFallback"}, meta)
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": precompiled if old else sequence(
            "normalizers", precompiled,
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}),
        "pre_tokenizer": sequence("pretokenizers", {"type": "WhitespaceSplit"}, meta) if old else meta,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [end], "tokens": ["</s>"]}}},
        "decoder": decoder,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": fallback}}


# WordPiece

def bert(**options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts(), trainers.WordPieceTrainer(
        vocab_size=2500, special_tokens=special, limit_alphabet=500, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return json.loads(tokenizer.to_str())


KINDS = {
    "llama3": llama3, "qwen2": qwen2, "neox": neox, "prefixed": prefixed, "mistral": mistral,
    "metaspace": metaspace, "gemma": gemma, "t5": lambda: t5(False), "t5-old": lambda: t5(True),
    "t5-bytes": lambda: t5(False, fallback=True), "bert": bert,
    "bert-cased": lambda: bert(lowercase=False, strip_accents=False),
    "bert-accents": lambda: bert(lowercase=True, strip_accents=False, handle_chinese_chars=False),
    "bert-raw": lambda: bert(clean_text=False, lowercase=False, strip_accents=True),
}


def main(arguments):
    if arguments == ["list"]:
        print("\n".join([*KINDS, *SENTENCE_PIECE]))
    elif len(arguments) == 2 and arguments[0] in SENTENCE_PIECE:
        with open(arguments[1], "wb") as file:
            file.write(sentence_piece(**SENTENCE_PIECE[arguments[0]]))
    elif len(arguments) == 2 and arguments[0] in KINDS:
        with open(arguments[1], "w", encoding="utf-8") as file:
            json.dump(KINDS[arguments[0]](), file, ensure_ascii=False)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
