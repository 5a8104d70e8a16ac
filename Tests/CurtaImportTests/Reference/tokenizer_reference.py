# What other programs make of a text: PyPI `tokenizers`, and llama2.c's encode in plain Python.
# SPDX-License-Identifier: Apache-2.0
"""Print one JSON line per text of a seeded corpus: {"hex": text, "ids": [...], "back": hex}.

    python3 tokenizer_reference.py hf TOKENIZER_JSON SEED COUNT
    python3 tokenizer_reference.py llama2c TOKENIZER_BIN VOCABULARY SEED COUNT

`back` is the text that the same program decodes from the ids, without special tokens.
Exits with 3 where the package `tokenizers` is missing.
"""

import json
import random
import struct
import sys

WORDS = """the a and to was he she it little girl boy dog Once upon time there lived very happy
said mom big red ball park play with her his they day friend Lily Tom Ben's don't I'll we've
you're I'm he'd can't It's 'S 'LL O'Neil rock'n'roll naïve café Zürich Ångström""".split()
CODE = ["def f(x):\n    return x**2\n", "for (int i = 0; i < n; ++i) {\n\t*p++ = 0x1F;\n}\n",
        "let x: [UInt8] = []\r\n", "a_b.c->d != e::f<g>&&h||i", "{\"k\": [1, 2.5e-3, null]}\n",
        "#include <stdio.h>\n\n\n", "$PATH=~/bin:$HOME", "<|endoftext|>", "<|endof", "<s>", "</s>",
        "<0x0A>", "<unk>"]
PIECES = [chr(c) for c in (
    list(range(0x20, 0x7F)) + list(range(0xA1, 0x180)) + list(range(0x391, 0x3AA))
    + list(range(0x410, 0x450)) + list(range(0x5D0, 0x5EB)) + list(range(0x621, 0x64B))
    + list(range(0x905, 0x93A)) + list(range(0xE01, 0xE31)) + list(range(0x3041, 0x3097))
    + list(range(0x4E00, 0x4E80)) + list(range(0xAC00, 0xAC40)) + list(range(0x1F600, 0x1F640)))]
MARKS = [chr(c) for c in range(0x300, 0x330)] + ["\u200d", "\ufe0f", "\u20e3", "\u0903", "\u093f"]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇨🇭", "❤️", "3️⃣", "🤷🏿‍♂️", "\U0001f9d1\u200d\U0001f680"]
SPACES = [" ", " ", "  ", "   ", "\n", "\n\n", "\t", " \t ", "\r\n", "\u00a0", "\u3000", "\u2028",
          "\u0085", "\u2003", "\u200b", "\x0b", "\x1c", "\u1680", "\u202f", "        "]
NUMBERS = ["0", "1", "12", "2024", "3.14", "1,000", "½", "x²", "Ⅷ", "٣٤", "१२", "①", "𝟘", "Ⅻ7"]
ODD = ["\x00", "\x01", "\x7f", "\x1b[0m", "▁", "▁▁", "�", "\ufeff", "\U0010ffff", "\ue000", "''",
       "'", "'s", " 's", "''s", "'re'", "’s", "e\u0301", "é"]


def corpus(seed, count):
    """`count` texts, the same for the same seed, of up to some hundred characters."""
    draw = random.Random(seed)
    kinds = [WORDS, CODE, PIECES, MARKS, EMOJI, SPACES, NUMBERS, ODD]
    for number in range(count):
        if number < len(kinds):
            yield "".join(kinds[number])
            continue
        weights = [draw.random() ** 3 for _ in kinds]
        size = draw.choice([0, 1, 2, 3, 5, 8, 20, 60])
        text = ""
        for kind in draw.choices(kinds, weights, k=size):
            text += draw.choice(kind)
            if kind is WORDS and draw.random() < 0.7:
                text += " "
            if draw.random() < 0.05:
                text += draw.choice(text) * draw.randrange(1, 30)
        yield text


def hugging_face(path, seed, count):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit(3)
    tokenizer = Tokenizer.from_file(path)
    for text in corpus(seed, count):
        ids = tokenizer.encode(text).ids
        yield text, ids, tokenizer.decode(ids, skip_special_tokens=True).encode()


def llama2c(path, size, seed, count):
    """`encode` and `decode` of llama2.c's run.c, as they stand there."""
    with open(path, "rb") as file:
        data = file.read()
    vocab, scores, at = [], [], 4
    for _ in range(size):
        score, length = struct.unpack_from("<fi", data, at)
        vocab.append(data[at + 8:at + 8 + length])
        scores.append(score)
        at += 8 + length
    lookup = {}
    for number, piece in enumerate(vocab):
        lookup.setdefault(piece, number)

    def encode(text):
        tokens = [1]
        if text:
            tokens.append(lookup.get(b" ", -1))
        buffer = b""
        for i, byte in enumerate(text):
            if byte & 0xC0 != 0x80:
                buffer = b""
            buffer += bytes([byte])
            if i + 1 < len(text) and text[i + 1] & 0xC0 == 0x80 and len(buffer) < 4:
                continue
            if buffer in lookup:
                tokens.append(lookup[buffer])
            else:
                tokens += [b + 3 for b in buffer]
            buffer = b""
        while True:
            best_score, best_id, best_at = -1e10, -1, -1
            for i in range(len(tokens) - 1):
                number = lookup.get(vocab[tokens[i]] + vocab[tokens[i + 1]], -1)
                if number != -1 and scores[number] > best_score:
                    best_score, best_id, best_at = scores[number], number, i
            if best_at == -1:
                return tokens
            tokens[best_at:best_at + 2] = [best_id]

    def decode(tokens):
        out = b""
        for previous, token in zip(tokens, tokens[1:]):
            piece = vocab[token]
            if previous == 1 and piece[:1] == b" ":
                piece = piece[1:]
            if len(piece) == 6 and piece[:3] == b"<0x" and piece[5:] == b">":
                piece = bytes([int(piece[3:5], 16)])
            out += piece
        return out.decode("utf-8", "replace").encode()

    for text in corpus(seed, count):
        text = text.replace("\x00", "")  # a C string ends there
        ids = encode(text.encode())
        yield text, ids, decode(ids)


def main(arguments):
    if len(arguments) == 4 and arguments[0] == "hf":
        rows = hugging_face(arguments[1], int(arguments[2]), int(arguments[3]))
    elif len(arguments) == 5 and arguments[0] == "llama2c":
        rows = llama2c(arguments[1], *map(int, arguments[2:]))
    else:
        sys.exit(__doc__)
    for text, ids, back in rows:
        print(json.dumps({"hex": text.encode().hex(), "ids": ids, "back": back.hex()}))


if __name__ == "__main__":
    main(sys.argv[1:])
