# Reader of the tokenizer section, written from Formats/curta-tokenizer.md alone: the oracle.
# SPDX-License-Identifier: Apache-2.0
"""Encode and decode with a tokenizer section, by the plainest algorithms that are right.

    python3 curta_tokenizer.py SECTION_FILE info
    python3 curta_tokenizer.py SECTION_FILE encode TEXT [--special] [--no-bos]
    python3 curta_tokenizer.py SECTION_FILE decode ID... [--control] [--continue]
    python3 curta_tokenizer.py SECTION_FILE batch     # JSON lines in, JSON lines out

A line for `batch` is {"hex": text, "special": bool, "bos": bool} and gives a list of ids, or
{"ids": [...], "start": bool, "control": bool} and gives the bytes in hex.
Only the standard library is used. Time is quadratic in the length of a piece.
"""

import json
import struct
import sys

from curta_tokenizer_text import *  # the numbers of the page and the rules of texts

NONE = 0xFFFFFFFF

LIMITS = {
    "vocabulary": 1 << 20, "token_bytes": 1024, "ends": 64, "added": 1 << 14, "added_bytes": 128,
    "merges": 1 << 22, "ranges": 1 << 13, "map": 1 << 22, "map_bytes": 1 << 21, "map_growth": 32,
    "marks": 1 << 12, "compositions": 1 << 13, "word": 1 << 12, "text_bytes": 1 << 28,
    "rank": 1 << 31, "input": 1 << 26,
}


class Error(Exception):
    """The section is not valid; the text is the status: unsupported, overLimit, badTokenizer."""


def need(condition, status="badTokenizer"):
    if not condition:
        raise Error(status)


# What clean WordPiece puts no space before.
MARKS = (b".", b"?", b"!", b",", b"'m", b"'s", b"'ve", b"'re", b"n't")


class Tokenizer(TextRules):
    def __init__(self, data):
        need(len(data) >= 100)
        (layout, self.kind, self.cut, self.steps, self.decoder, flags, self.bos, self.eos,
         self.unknown, self.unknown_score, self.word_limit, v, e, a, normalized, c, w, m, r, n, k, o,
         nb, self.growth, b) = struct.unpack_from("<6I4i15I", data)
        need(layout == 1, "unsupported")
        need(1 <= self.kind <= 5, "unsupported")
        need(self.cut <= 7 and self.steps < 1 << 12 and self.decoder <= 6, "unsupported")
        need(flags < 1 << 5, "unsupported")
        need(self.word_limit <= LIMITS["word"] and v <= LIMITS["vocabulary"]
             and e <= LIMITS["ends"] and a <= LIMITS["added"]
             and c <= LIMITS["vocabulary"] and w <= LIMITS["vocabulary"]
             and m <= LIMITS["merges"] and r <= LIMITS["ranges"] and n <= LIMITS["map"]
             and k <= LIMITS["marks"] and o <= LIMITS["compositions"] and nb <= LIMITS["map_bytes"]
             and self.growth <= LIMITS["map_growth"] and b <= LIMITS["text_bytes"], "overLimit")
        need(normalized <= a)
        self.adds_bos = bool(flags & ADD_BOS)
        self.adds_eos = bool(flags & ADD_EOS)
        self.fuses = bool(flags & FUSE_UNKNOWN)
        self.whole = bool(flags & WHOLE_PIECES)
        self.rounds = bool(flags & ROUND_24)
        bpe = self.kind in (BYTE_BPE, SCORED_BPE)
        at = 100

        def table(count, width=1):
            nonlocal at
            need(at + 4 * count * width <= len(data))
            flat = struct.unpack_from("<%dI" % (count * width), data, at)
            at += 4 * count * width
            return [flat[i:i + width] for i in range(0, len(flat), width)] if width > 1 else flat

        entries = table(v + 1)
        self.ends = table(e)
        added = table(a)
        byte_ids = table(256 if bpe or self.kind == UNIGRAM else 0)
        chars_at = at
        chars = table(c, 2)
        words = table(w)
        scores = [x - (x >> 31 << 32) for x in table(w if self.kind == UNIGRAM else 0)]
        merge_start = table(v + 1 if bpe else 0)
        merges = table(m, 3)
        ranges = table(r, 2)
        self.map = table(n)
        marks = table(k, 2)
        compositions = table(o, 3)
        need(at + nb + b == len(data))
        self.replacements = data[at:at + nb]
        text = data[at + nb:]

        need(v > 0 and all(-1 <= x < v for x in (self.bos, self.eos, self.unknown)))
        need(not self.adds_bos or self.bos >= 0)
        need(not self.adds_eos or self.eos >= 0)
        need(not self.rounds or self.kind == UNIGRAM)
        need(not self.whole or bpe)
        need(self.cut in {BYTE_BPE: (0, 1, 3, 4, 5, 6), SCORED_BPE: (0, 6), UNIGRAM: (0, 6),
                          WORD: (2, 7), WORD_PIECE: (2, 7)}[self.kind])
        need(self.kind == SCORED_BPE or c == 0)
        need(not bpe or self.whole or w == 0)
        need(bpe or m == 0)
        need(self.kind not in (WORD, WORD_PIECE) or self.unknown >= 0)
        need(self.kind == UNIGRAM or self.unknown_score == 0)
        need(self.kind == WORD_PIECE or self.word_limit == 0)

        offsets = [x & 0x3FFFFFFF for x in entries]
        need(offsets[0] == 0 and entries[v] == b)
        need(all(0 <= q - p <= LIMITS["token_bytes"] for p, q in zip(offsets, offsets[1:])))
        self.tokens = [text[p:q] for p, q in zip(offsets, offsets[1:])]
        is_added = [x >> 30 & 1 for x in entries[:v]]
        self.control = [x >> 31 for x in entries[:v]]
        need(all(p or not q for p, q in zip(is_added, self.control)))
        need(sum(is_added) == a)
        need(all(x < v for x in self.ends) and list(self.ends) == sorted(set(self.ends)))

        def ascending(ids):
            need(all(x < v for x in ids))
            texts = [self.tokens[x] for x in ids]
            need(all(texts) and all(p < q for p, q in zip(texts, texts[1:])))

        need(all(x >> 26 == 0 for x in added))
        numbers = [x & 0xFFFFFF for x in added]
        ascending(numbers[:a - normalized])
        ascending(numbers[a - normalized:])
        need(all(is_added[x] and len(self.tokens[x]) <= LIMITS["added_bytes"] for x in numbers))
        groups = [(self.tokens[x], x, bool(word >> 24 & 1), bool(word >> 25 & 1))
                  for x, word in zip(numbers, added)]
        self.raw_added, self.normalized_added = groups[:a - normalized], groups[a - normalized:]

        def plain(x):
            need(x < v and not self.control[x])
            return self.tokens[x]

        self.byte_ids = {}
        for byte, x in enumerate(byte_ids):
            if x != NONE:
                need(plain(x) == bytes([byte]))
                self.byte_ids[byte] = x
        self.characters = {}
        keys = [data[chars_at + 8 * i:chars_at + 8 * i + 4] for i in range(c)]
        need(all(p < q for p, q in zip(keys, keys[1:])))
        for key, (_, x) in zip(keys, chars):
            token = plain(x)
            need(1 <= len(token) <= 4 and token.ljust(4, b"\0") == key)
            need(group_length(token, 0) == len(token))
            self.characters[token] = x
        ascending(words)
        self.words = {plain(x): x for x in words}
        self.scores = dict(zip(words, scores))
        self.longest_word = max(map(len, self.words), default=0)

        self.merges = {}
        if bpe:
            need(merge_start[0] == 0 and merge_start[v] == m)
            need(all(p <= q for p, q in zip(merge_start, merge_start[1:])))
            for left in range(v):
                rights = merges[merge_start[left]:merge_start[left + 1]]
                need(all(p[0] < q[0] for p, q in zip(rights, rights[1:])))
                for right, merged, rank in rights:
                    need(right < v and rank < LIMITS["rank"])
                    need(self.tokens[left] and self.tokens[right])
                    need(self.tokens[left] + self.tokens[right] == plain(merged))
                    self.merges[left, right] = rank, merged
        self.ranges = self.check_ranges(ranges, 6)
        self.marks = self.check_ranges(marks, 255)
        self.class_cache = {None: OTHER}
        self.mark_cache = {None: 0}
        self.check_map()
        pairs = [(first, second) for first, second, _ in compositions]
        need(all(p < q for p, q in zip(pairs, pairs[1:])))
        need(all(x < 0x110000 and not 0xD800 <= x < 0xE000 for t in compositions for x in t))
        need(all(len(chr(z).encode()) <= len((chr(x) + chr(y)).encode()) for x, y, z in compositions))
        self.compositions = {(x, y): z for x, y, z in compositions}

    @staticmethod
    def check_ranges(table, most):
        after = 0
        out = []
        for first, word in table:
            last, kind = word & 0xFFFFFF, word >> 24
            need(after <= first <= last <= 0x10FFFF and 1 <= kind <= most)
            out.append((first, last, kind))
            after = last + 1
        return out

    def check_map(self):
        i = 0
        self.nodes = {}
        while i < len(self.map):
            word = self.map[i]
            count, value = word & 0x1FF, word >> 9 & 0x3FFFFF
            need(word >> 31 == 1 and i + count < len(self.map))
            text = None
            if value:
                need(value - 1 < len(self.replacements))
                size = self.replacements[value - 1]
                need(value + size <= len(self.replacements))
                text = self.replacements[value:value + size]
            edges = self.map[i + 1:i + 1 + count]
            need(all(x >> 31 == 0 for x in edges))
            keys = [x >> 23 for x in edges]
            need(all(p < q for p, q in zip(keys, keys[1:])))
            targets = [x & 0x7FFFFF for x in edges]
            need(all(i < x < len(self.map) and self.map[x] >> 31 == 1 for x in targets))
            self.nodes[i] = text, dict(zip(keys, targets))
            i += 1 + count

    # Encoding

    def encode(self, text, special=False, bos=True):
        ids = [self.bos] if bos and self.adds_bos else []
        for start, end, x in self.split_added(text, self.raw_added, special):
            ids += [x] if x is not None else self.segment(text[start:end], start == 0, special)
        return ids + ([self.eos] if bos and self.adds_eos else [])

    def split_added(self, text, tokens, special):
        """(start, end, id or None) of the added tokens of one group and what lies between them."""
        start = i = 0
        while i < len(text):
            found = [(len(t), x, left, right) for t, x, left, right in tokens
                     if text.startswith(t, i) and (special or not self.control[x])]
            if not found:
                i += 1
                continue
            size, x, left, right = max(found)
            first, end = i, i + size
            while left and first > start:
                unit, scalar = list(characters(text[start:first]))[-1]
                if self.class_of(scalar) != SPACE:
                    break
                first -= len(unit)
            if right:
                for unit, scalar in characters(text[end:]):
                    if self.class_of(scalar) != SPACE:
                        break
                    end += len(unit)
            if start < first:
                yield start, first, None
            yield first, end, x
            i = start = end
        if start < len(text):
            yield start, len(text), None

    def segment(self, text, is_first, special):
        text = self.normalize(text, is_first)
        ids = []
        for start, end, x in self.split_added(text, self.normalized_added, special):
            ids += [x] if x is not None else self.part(text[start:end])
        return ids

    def part(self, text):
        ids = []
        for piece in self.pieces(text):
            if self.kind == WORD:
                ids.append(self.words.get(piece, self.unknown))
            elif self.kind == UNIGRAM:
                ids += self.unigram(piece)
            elif self.kind == WORD_PIECE:
                ids += self.word_piece(piece)
            elif self.whole and piece in self.words:
                ids.append(self.words[piece])
            else:
                ids += self.merge(self.symbols(piece))
        return ids

    def symbols(self, piece):
        symbols, waiting, i = [], False, 0
        while i < len(piece):
            size = group_length(piece, i) if self.kind == SCORED_BPE else 1
            group = piece[i:i + size]
            i += size
            known = self.characters if self.kind == SCORED_BPE else {
                group: self.byte_ids.get(group[0])}
            if known.get(group) is not None:
                symbols += [self.unknown] * waiting + [known[group]]
                waiting = False
            elif self.kind == SCORED_BPE and all(byte in self.byte_ids for byte in group):
                symbols += [self.byte_ids[byte] for byte in group]
            else:
                symbols += [self.unknown] * (waiting and not self.fuses)
                waiting = self.unknown >= 0
        return symbols + [self.unknown] * waiting

    def rounded(self, value):
        """The nearest number of 24 significant bits, half to even."""
        extra = abs(value).bit_length() - 24
        if not self.rounds or extra <= 0:
            return value
        kept, rest = divmod(abs(value), 1 << extra)
        kept += 2 * rest > 1 << extra or (2 * rest == 1 << extra and kept % 2)
        return (kept << extra) * (1 if value > 0 else -1)

    def unigram(self, piece):
        best = {0: (0, None, None)}
        place = 0

        def offer(end, score, x):
            score = self.rounded(best[place][0] + score)
            if end not in best or score > best[end][0]:
                best[end] = score, place, x

        for unit, _ in characters(piece):
            alone = False
            for end in range(place + 1, min(len(piece), place + self.longest_word) + 1):
                x = self.words.get(piece[place:end])
                if x is not None:
                    offer(end, self.scores[x], x)
                    alone = alone or end == place + len(unit)
            if not alone:
                offer(place + len(unit), self.unknown_score, None)
            place += len(unit)
        path, end = [], len(piece)
        while end > 0:
            _, start, x = best[end]
            path.append((piece[start:end], x))
            end = start
        ids, run = [], []
        for text, x in reversed([(None, NONE)] + path):
            if x is None:
                run.append(text)
                continue
            if run:
                data = b"".join(run)
                if all(byte in self.byte_ids for byte in data):
                    ids += [self.byte_ids[byte] for byte in data]
                elif self.unknown >= 0:
                    ids += [self.unknown] * (1 if self.fuses else len(run))
                run = []
            ids.append(x)
        return ids[:-1]

    def word_piece(self, piece):
        if len(list(characters(piece))) > self.word_limit:
            return [self.unknown]
        ids, i = [], 0
        while i < len(piece):
            front = b"##" if i else b""
            ends = [end for end in range(len(piece), i, -1) if front + piece[i:end] in self.words]
            if not ends:
                return [self.unknown]
            ids.append(self.words[front + piece[i:ends[0]]])
            i = ends[0]
        return ids

    def merge(self, symbols):
        while True:
            pairs = [(self.merges[p][0], i) for i, p in enumerate(zip(symbols, symbols[1:]))
                     if p in self.merges]
            if not pairs:
                return symbols
            _, i = min(pairs)
            symbols[i:i + 2] = [self.merges[symbols[i], symbols[i + 1]][1]]

    # Decoding

    def decode(self, ids, start=True, control=False):
        out = b""
        for x in ids:
            need(0 <= x < len(self.tokens), "badArgument")
            token = self.tokens[x]
            if token and (control or not self.control[x]):
                shown = token
                if start and token[:1] == b" ":
                    if self.decoder == STRIP_AT_START or (
                            self.decoder == STRIP_AFTER_BOS and self.byte_ids.get(0x20) != x):
                        shown = token[1:]
                    elif self.decoder == STRIP_ALL_AT_START:
                        shown = token.lstrip(b" ")
                if not start and self.decoder in (PIECES, CLEAN_PIECES) and token[:2] == b"##":
                    shown = token[2:]
                elif not start and (self.decoder in (SPACED, PIECES)
                                    or self.decoder == CLEAN_PIECES and not token.startswith(MARKS)):
                    out += b" "
                out += shown
                start = False
            if x == self.bos and self.decoder == STRIP_AFTER_BOS:
                start = True
        return out.decode("utf-8", "replace").encode("utf-8")


def batch(tokenizer):
    for line in sys.stdin:
        item = json.loads(line)
        if "ids" in item:
            text = tokenizer.decode(
                item["ids"], item.get("start", True), item.get("control", False))
            print(json.dumps(text.hex()))
        else:
            print(json.dumps(tokenizer.encode(
                bytes.fromhex(item["hex"]), item.get("special", False), item.get("bos", True))))


def main(arguments):
    options = {x for x in arguments if x.startswith("--")}
    words = [x for x in arguments if x not in options]
    if len(words) < 2 or words[1] not in ("info", "encode", "decode", "batch"):
        sys.exit(__doc__)
    with open(words[0], "rb") as file:
        tokenizer = Tokenizer(file.read())
    if words[1] == "info":
        print(json.dumps({"kind": tokenizer.kind, "tokens": len(tokenizer.tokens),
                          "merges": len(tokenizer.merges), "ranges": len(tokenizer.ranges),
                          "bos": tokenizer.bos, "ends": list(tokenizer.ends)}))
    elif words[1] == "encode":
        text = " ".join(words[2:]).encode("utf-8", "surrogateescape")
        print(json.dumps(tokenizer.encode(text, "--special" in options, "--no-bos" not in options)))
    elif words[1] == "decode":
        text = tokenizer.decode([int(x) for x in words[2:]], "--continue" not in options,
                                "--control" in options)
        sys.stdout.buffer.write(text + b"\n")
    else:
        batch(tokenizer)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Error as error:
        sys.exit("not a valid tokenizer section: %s" % error)
