# What other programs make of a text: PyPI `tokenizers` and `sentencepiece`, llama2.c's encode.
# SPDX-License-Identifier: Apache-2.0
"""Print one JSON line per text of a seeded corpus: {"hex": text, "ids": [...], "back": hex}.

    python3 tokenizer_reference.py hf TOKENIZER_JSON SEED COUNT [OPTION...]
    python3 tokenizer_reference.py sp TOKENIZER_MODEL SEED COUNT [OPTION...]
    python3 tokenizer_reference.py llama2c TOKENIZER_BIN VOCABULARY SEED COUNT

`back` is the text that the same program decodes from the ids, without special tokens, but with
them for the option `control`. The option `plain` leaves out what SentencePiece and `tokenizers` do
differently in the same model: U+2581, `<0x0A>`, marks after compatibility characters; `bytes`
adds bytes that are not UTF-8. Exits with 3 where a package is missing.
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
MARKED = ["e\u0301", "a\u0308\u0304", "o\u0323\u0302", "q\u0307\u0323", "q\u0323\u0307", "A\u030a",
          "\u1e69", "s\u0307\u0323", "\u0344", "\u0f71\u0f72\u0f74", "\u09c7\u09be", "\u0bc6\u0bbe",
          "\u05e9\u05bc\u05c1", "\u0627\u0654", "\u064a\u0654", "\u212b", "\u2126", "\u0340",
          "\u1fbe", "\u0390", "\u0958", "\u2adc", "\uf900", "\ufb1d", "\U0001d15f", "a\u0345\u0301",
          "\u0301\u0301", "\u0327\u0301\u0327", "ΐ", "ǆ", "ǅ", "İ", "ß", "ŉ", "ﬁ", "Å", "ế", "ṩ"]
HANGUL = ["한국어", "가각", "\u1112\u1161\u11ab", "\u1100\u1161", "\u1100\u1161\u11a8\u11a8", "가\u11a8",
          "각\u11a8", "\u1161\u11a8", "ㅎㅏㄴ", "뷁", "힣", "\u1100\u1100\u1161", "가\u0301\u11a8"]
IDEOGRAPHS = ["中文字符", "日本語のテキスト", "カタカナ", "ｶﾞ", "々〆", "你好，世界！", "𠀀𪜀", "㍿", "①②", "Ｆｕｌｌ"]
RIGHT = ["שלום עולם", "مرحبا بالعالم", "שָׁלוֹם", "اَلسَّلَامُ", "\u202bRTL\u202c", "\u200f", "ﷺ", "ﻻ", "٣٫١٤"]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇨🇭", "❤️", "3️⃣", "🤷🏿‍♂️", "\U0001f9d1\u200d\U0001f680"]
SPACES = [" ", " ", "  ", "   ", "\n", "\n\n", "\t", " \t ", "\r\n", "\u00a0", "\u3000", "\u2028",
          "\u0085", "\u2003", "\u200b", "\x0b", "\x1c", "\u1680", "\u202f", "        ", " \n ", "\n  "]
NUMBERS = ["0", "1", "12", "2024", "3.14", "1,000", "½", "x²", "Ⅷ", "٣٤", "१२", "①", "𝟘", "Ⅻ7", "123456"]
ODD = ["\x00", "\x01", "\x7f", "\x1b[0m", "▁", "▁▁", "�", "\ufeff", "\U0010ffff", "\ue000", "''",
       "'", "'s", " 's", "''s", "'re", "’s", "'LL", "'\u017f", "'S", "'Ve", "[CLS]", "[unused1]", "##a",
       "<mask>", "<|im_end|>", "...", "?!", "<sep>", "<user>"]
# What `tokenizers` replaces by grapheme clusters, which the original does not, and what it takes
# for a piece though it stands for something else.
UNLIKE = ["▁", "▁▁", "<0x0A>", "\x00", "ｶﾞ", "가각", "3️⃣"]


def corpus(seed, count, plain=False):
    """`count` texts, the same for the same seed, of up to some hundred characters."""
    draw = random.Random(seed)
    kinds = [WORDS, CODE, PIECES, MARKS, EMOJI, SPACES, NUMBERS, ODD, MARKED, HANGUL, IDEOGRAPHS,
             RIGHT]
    if plain:
        kinds = [[p for p in kind if p not in UNLIKE] for kind in kinds
                 if kind not in (MARKS, EMOJI, MARKED, HANGUL, RIGHT)]
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
            # In a run, splits have equal sums, and what `tokenizers` reads of a score from JSON can be
            # off by its last bit.
            if not plain and draw.random() < 0.05:
                text += draw.choice(text) * draw.randrange(1, 30)
        yield text


def hugging_face(path, seed, count, options):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit(3)
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in corpus(seed, count, "plain" in options):
        ids = tokenizer.encode(text).ids
        back = tokenizer.decode(ids, skip_special_tokens="control" not in options)
        yield text.encode(), ids, back.encode()


def sentence_piece(path, seed, count, options):
    try:
        import sentencepiece
    except ImportError:
        sys.exit(3)
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    draw = random.Random(seed)
    for text in corpus(seed, count):
        data = text.encode()
        if "bytes" in options and draw.random() < 0.3:
            for _ in range(draw.randrange(1, 4)):
                at = draw.randrange(len(data) + 1)
                data = data[:at] + bytes([draw.randrange(128, 256)]) + data[at:]
        ids = model.encode(data)
        back = b""
        if model.unk_id() not in ids:
            back = model.decode(ids).encode()
        yield data, ids, back


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
        yield text.encode(), ids, decode(ids)


def main(arguments):
    if len(arguments) >= 4 and arguments[0] in ("hf", "sp"):
        program = hugging_face if arguments[0] == "hf" else sentence_piece
        rows = program(arguments[1], int(arguments[2]), int(arguments[3]), arguments[4:])
    elif len(arguments) == 5 and arguments[0] == "llama2c":
        rows = llama2c(arguments[1], *map(int, arguments[2:]))
    else:
        sys.exit(__doc__)
    for text, ids, back in rows:
        print(json.dumps({"hex": text.hex(), "ids": ids, "back": back.hex()}))


if __name__ == "__main__":
    main(sys.argv[1:])
