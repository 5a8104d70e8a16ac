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

BYTE_BPE, SCORED_BPE, WORD = 1, 2, 3
NO_CUT, GPT2, WHITESPACE, DIGITS_GPT2 = 0, 1, 2, 3
NO_NORMALIZER, PREFIX_SPACE, PREFIX_SPACE_METASPACE = 0, 1, 2
CONCATENATE, SPACED, STRIP_AT_START, STRIP_AFTER_BOS = 0, 1, 2, 3
OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
NONE = 0xFFFFFFFF

LIMITS = {
    "vocabulary": 1 << 20, "token_bytes": 1024, "ends": 64, "added": 4096, "added_bytes": 128,
    "merges": 1 << 22, "ranges": 1 << 13, "text_bytes": 1 << 28, "rank": 1 << 31,
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


class Tokenizer:
    def __init__(self, data):
        need(len(data) >= 64)
        (layout, self.kind, self.cut, self.normalizer, self.decoder, flags, self.bos,
         self.unknown, v, e, a, c, w, m, r, b) = struct.unpack_from("<6I2i8I", data)
        need(layout == 1, "unsupported")
        need(self.kind in (1, 2, 3), "unsupported")
        need(self.cut <= 3 and self.normalizer <= 2 and self.decoder <= 3, "unsupported")
        need(flags <= 1, "unsupported")
        need(v <= LIMITS["vocabulary"] and e <= LIMITS["ends"] and a <= LIMITS["added"]
             and c <= LIMITS["vocabulary"] and w <= LIMITS["vocabulary"]
             and m <= LIMITS["merges"] and r <= LIMITS["ranges"] and b <= LIMITS["text_bytes"],
             "overLimit")
        self.adds_bos = flags == 1
        bpe = self.kind != WORD
        at = 64

        def table(count, width=1):
            nonlocal at
            need(at + 4 * count * width <= len(data))
            flat = struct.unpack_from("<%dI" % (count * width), data, at)
            at += 4 * count * width
            return [flat[i:i + width] for i in range(0, len(flat), width)] if width > 1 else flat

        entries = table(v + 1)
        self.ends = table(e)
        added = table(a)
        byte_ids = table(256 if bpe else 0)
        chars_at = at
        chars = table(c, 2)
        words = table(w)
        merge_start = table(v + 1 if bpe else 0)
        merges = table(m, 3)
        ranges = table(r, 2)
        need(at + b == len(data))
        text = data[at:]

        need(v > 0 and -1 <= self.bos < v and -1 <= self.unknown < v)
        need(not self.adds_bos or self.bos >= 0)
        need({BYTE_BPE: self.cut != WHITESPACE, SCORED_BPE: self.cut == NO_CUT,
              WORD: self.cut == WHITESPACE}[self.kind])
        need(self.kind == SCORED_BPE or (self.normalizer == 0 and c == 0))
        need(self.kind == WORD or w == 0)
        need(self.kind != WORD or (m == 0 and self.unknown >= 0))
        need(self.cut != NO_CUT or r == 0)

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

        ascending(added)
        need(all(is_added[x] and len(self.tokens[x]) <= LIMITS["added_bytes"] for x in added))
        self.added = [(self.tokens[x], x) for x in added]

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
        after = 0
        self.ranges = []
        for first, word in ranges:
            last, kind = word & 0xFFFFFF, word >> 24
            need(after <= first <= last <= 0x10FFFF and 1 <= kind <= 3)
            self.ranges.append((first, last, kind))
            after = last + 1
        self.class_cache = {None: OTHER}

    # Encoding

    def encode(self, text, special=False, bos=True):
        ids = [self.bos] if bos and self.adds_bos else []
        start = i = 0
        while i < len(text):
            found = [(len(t), x) for t, x in self.added
                     if text.startswith(t, i) and (special or not self.control[x])]
            if found:
                size, x = max(found)
                ids += self.segment(text[start:i]) + [x]
                i = start = i + size
            else:
                i += 1
        return ids + self.segment(text[start:])

    def segment(self, text):
        if not text:
            return []
        if self.kind == WORD:
            pieces = (p for p in self.pieces(text))
            return [self.words.get(p, self.unknown) for p in pieces]
        if self.kind == BYTE_BPE:
            return [x for p in self.pieces(text) for x in self.merge(self.from_bytes(p))]
        symbols = self.from_character(b" ") if self.normalizer != NO_NORMALIZER else []
        i = 0
        while i < len(text):
            group = text[i:i + group_length(text, i)]
            i += len(group)
            if self.normalizer == PREFIX_SPACE_METASPACE and group == b"\xe2\x96\x81":
                group = b" "
            symbols += self.from_character(group)
        return self.merge(symbols)

    def from_bytes(self, data):
        ids = (self.byte_ids.get(byte, self.unknown) for byte in data)
        return [x for x in ids if x >= 0]

    def from_character(self, group):
        return [self.characters[group]] if group in self.characters else self.from_bytes(group)

    def merge(self, symbols):
        while True:
            pairs = [(self.merges[p][0], i) for i, p in enumerate(zip(symbols, symbols[1:]))
                     if p in self.merges]
            if not pairs:
                return symbols
            _, i = min(pairs)
            symbols[i:i + 2] = [self.merges[symbols[i], symbols[i + 1]][1]]

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

    # Decoding

    def decode(self, ids, start=True, control=False):
        out = b""
        for x in ids:
            need(0 <= x < len(self.tokens), "badArgument")
            token = self.tokens[x]
            if token and (control or not self.control[x]):
                shown = token
                if start and token[:1] == b" " and (
                        self.decoder == STRIP_AT_START
                        or self.decoder == STRIP_AFTER_BOS and self.byte_ids.get(0x20) != x):
                    shown = token[1:]
                if not start and self.decoder == SPACED:
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
