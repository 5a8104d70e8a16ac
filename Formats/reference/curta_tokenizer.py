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

BYTE_BPE, SCORED_BPE, WORD, UNIGRAM, WORD_PIECE = 1, 2, 3, 4, 5
NO_CUT, GPT2, WHITESPACE, DIGITS_GPT2, LLAMA3, QWEN2, SPACES, BERT = range(8)
(PREFIX, FIRST, UNLESS_SPACE, METASPACE, COLLAPSE, STRIP_START, STRIP_END, TRIM_END, REPAIR, HANGUL,
 WORDS, CLASSES) = (1 << bit for bit in range(12))
ADD_BOS, ADD_EOS, FUSE_UNKNOWN, WHOLE_PIECES, ROUND_24 = 1, 2, 4, 8, 16
(CONCATENATE, SPACED, STRIP_AT_START, STRIP_AFTER_BOS, PIECES, CLEAN_PIECES,
 STRIP_ALL_AT_START) = range(7)
OTHER, LETTER, NUMBER, SPACE, PUNCTUATION, SPACED_OUT, DROPPED = range(7)
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


def group_length(data, i):
    """Bytes of the character group at `i`: a byte and its continuation bytes, at most four."""
    n = 1
    while n < 4 and i + n < len(data) and data[i + n] & 0xC0 == 0x80:
        n += 1
    return n


def characters(data):
    """Well-formed characters and single stray bytes, as (bytes, scalar value or None)."""
    i = 0
    while i < len(data):
        for n in (1, 2, 3, 4):
            try:
                yield data[i:i + n], ord(data[i:i + n].decode("utf-8"))
                break
            except (UnicodeDecodeError, TypeError):
                continue
        else:
            n = 1
            yield data[i:i + 1], None
        i += n


# What clean WordPiece puts no space before.
MARKS = (b".", b"?", b"!", b",", b"'m", b"'s", b"'ve", b"'re", b"n't")


class Tokenizer:
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

    # Normalization

    def normalize(self, text, is_first):
        steps = self.steps
        prefixed = steps & PREFIX and (is_first or not steps & FIRST)
        out = b" " if prefixed else b""
        kept = 0
        after_space = bool(steps & STRIP_START)
        begins_word = True
        i = 0
        if not text:
            return b""

        def write(data, is_match=True):
            nonlocal out, kept, after_space, begins_word
            if is_match and steps & (COLLAPSE | STRIP_START):
                if after_space:
                    data = data.lstrip(b" ")
                if data:
                    after_space = bool(steps & COLLAPSE) and data.endswith(b" ")
            for unit, scalar in characters(data):
                meta = scalar == 0x2581 and steps & METASPACE
                space = self.class_of(scalar) == SPACE
                if steps & WORDS:
                    if space:
                        begins_word = True
                        continue
                    if begins_word and not meta:
                        out += b" "
                    begins_word = False
                out += b" " if meta else unit
                if not (space if steps & TRIM_END else out.endswith(b" ")):
                    kept = len(out)

        while i < len(text):
            unit, scalar = next(characters(text[i:]))
            kind = self.class_of(scalar) if steps & CLASSES else OTHER
            if kind == DROPPED:
                i += len(unit)
                continue
            out += b" " * (kind == SPACED_OUT)
            size, replacement = self.longest(text, i)
            if size:
                write(replacement)
            elif scalar is None and steps & REPAIR:
                write("\uFFFD".encode())
            elif scalar is not None and steps & HANGUL and 0xAC00 <= scalar < 0xAC00 + 11172:
                index = scalar - 0xAC00
                jamo = [0x1100 + index // 588, 0x1161 + index % 588 // 28]
                jamo += [0x11A7 + index % 28] if index % 28 else []
                write("".join(map(chr, jamo)).encode())
            else:
                write(unit)
            out += b" " * (kind == SPACED_OUT)
            i += size or len(unit)
        if steps & (STRIP_END | TRIM_END):
            out = out[:kept]
        front, out = out[:1 if prefixed else 0], out[1 if prefixed else 0:]
        if not out:
            return b""
        out = self.compose(self.reorder(out))
        return out if steps & UNLESS_SPACE and out.startswith(b" ") else front + out

    def longest(self, text, start):
        """Size and replacement of the longest source of the map at `start`."""
        found, node, i = (0, b""), 0, start
        while self.nodes and i < len(text) and text[i] in self.nodes[node][1]:
            node = self.nodes[node][1][text[i]]
            i += 1
            if self.nodes[node][0] is not None:
                found = i - start, self.nodes[node][0]
        return found

    def mark_of(self, scalar):
        if scalar not in self.mark_cache:
            self.mark_cache[scalar] = next(
                (k for first, last, k in self.marks if first <= scalar <= last), 0)
        return self.mark_cache[scalar]

    def reorder(self, text):
        out, run = [], []
        for unit, scalar in characters(text):
            if self.mark_of(scalar):
                run.append((self.mark_of(scalar), unit))
            else:
                out += [u for _, u in sorted(run, key=lambda pair: pair[0])] + [unit]
                run = []
        return b"".join(out + [u for _, u in sorted(run, key=lambda pair: pair[0])])

    def pair(self, a, b):
        if 0x1100 <= a < 0x1113 and 0x1161 <= b < 0x1176:
            return 0xAC00 + ((a - 0x1100) * 21 + b - 0x1161) * 28
        if 0xAC00 <= a < 0xAC00 + 11172 and (a - 0xAC00) % 28 == 0 and 0x11A7 < b < 0x11C3:
            return a + b - 0x11A7
        return self.compositions.get((a, b))

    def compose(self, text):
        if not self.compositions:
            return text
        out, starter, last = [], None, 0  # last: class of the last character after the starter
        for unit, scalar in characters(text):
            if scalar is None:
                out.append(unit)
                starter = None
                continue
            mark = self.mark_of(scalar)
            blocked = starter is None or (starter != len(out) - 1 and last >= mark)
            composed = None if blocked else self.pair(out[starter], scalar)
            if composed is not None:
                out[starter] = composed
                continue
            out.append(scalar)
            last = mark
            if mark == 0:
                starter = len(out) - 1
        return b"".join(x if isinstance(x, bytes) else chr(x).encode() for x in out)

    # Cutting

    def class_of(self, scalar):
        if scalar not in self.class_cache:
            self.class_cache[scalar] = next(
                (k for first, last, k in self.ranges if first <= scalar <= last), OTHER)
        return self.class_cache[scalar]

    def pieces(self, text):
        units = [(data, self.class_of(scalar)) for data, scalar in characters(text)]
        if self.cut == NO_CUT:
            return [text]
        if self.cut == WHITESPACE:
            return self.split(units, lambda kind: kind == SPACE, keep=False)
        if self.cut == GPT2:
            return self.gpt2(units)
        if self.cut == SPACES:
            starts = [i for i in range(1, len(text)) if text[i] == 0x20]
            return [text[i:j] for i, j in zip([0] + starts, starts + [len(text)])] if text else []
        if self.cut == BERT:
            out = []
            for run in self.split(units, lambda kind: kind in (SPACE, PUNCTUATION), keep=True):
                if isinstance(run, list):
                    out.append(b"".join(data for data, _ in run))
                elif self.class_of(ord(run.decode())) == PUNCTUATION:
                    out.append(run)
            return out
        if self.cut in (LLAMA3, QWEN2):
            return self.llama3(units, 3 if self.cut == LLAMA3 else 1)
        out = []
        for run in self.split(units, lambda kind: kind == NUMBER, keep=True):
            out += self.gpt2(run) if isinstance(run, list) else [run]
        return out

    @staticmethod
    def split(units, is_border, keep):
        """Runs between border characters: as lists with the borders kept, else as bytes."""
        out, run = [], []
        for unit in units + [(b"", None)]:
            if unit[1] is None or is_border(unit[1]):
                if run:
                    out.append(run if keep else b"".join(data for data, _ in run))
                run = []
                if keep and unit[1] is not None:
                    out.append(unit[0])
            else:
                run.append(unit)
        return out

    @staticmethod
    def gpt2(units):
        out, i = [], 0
        chars = [data for data, _ in units]
        kinds = [kind for _, kind in units]
        while i < len(units):
            j = i
            contraction = next(
                (n for n, t in ((2, b"'s"), (2, b"'t"), (3, b"'re"), (3, b"'ve"), (2, b"'m"),
                                (3, b"'ll"), (2, b"'d")) if b"".join(chars[i:i + n]) == t), 0)
            k = i + (chars[i] == b" ")
            if contraction:
                j = i + contraction
            elif k < len(units) and kinds[k] != SPACE:
                j = k
                while j < len(units) and kinds[j] == kinds[k]:
                    j += 1
            else:
                while j < len(units) and kinds[j] == SPACE:
                    j += 1
                if j < len(units) and j - i > 1:
                    j -= 1
            out.append(b"".join(chars[i:j]))
            i = j
        return out

    @staticmethod
    def llama3(units, most):
        out, i = [], 0
        chars = [data for data, _ in units] + [b"", b"", b""]
        kinds = [kind for _, kind in units]

        def run(k, kind):
            while k < len(kinds) and kinds[k] == kind:
                k += 1
            return k

        def breaks(k):
            return k < len(kinds) and chars[k] in (b"\r", b"\n")

        while i < len(kinds):
            three = [c.lower() for c in chars[i:i + 3]]
            after = run(i + 1, LETTER)
            other = run(i + (chars[i] == b" "), OTHER)
            if three[0] == b"'" and (three[1] in (b"s", b"t", b"m", b"d")
                                     or chars[i + 1] == "\u017f".encode()):
                j = i + 2
            elif three[0] == b"'" and three[1] + three[2] in (b"re", b"ve", b"ll"):
                j = i + 3
            elif kinds[i] == LETTER or (
                    after > i + 1 and kinds[i] != NUMBER and not breaks(i)):
                j = after
            elif kinds[i] == NUMBER:
                j = min(run(i, NUMBER), i + most)
            elif other > i + (chars[i] == b" "):
                j = other
                while breaks(j):
                    j += 1
            elif kinds[i] == SPACE:
                end = run(i, SPACE)
                ends = [k + 1 for k in range(i, end) if breaks(k)]
                j = ends[-1] if ends else end if end == len(kinds) or end == i + 1 else end - 1
            else:
                j = i + 1
            out.append(b"".join(chars[i:j]))
            i = j
        return out

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
