# Normal forms and pieces of the tokenizer, written from Formats/curta-tokenizer.md alone.
# SPDX-License-Identifier: Apache-2.0
"""What happens to a text before its pieces become ids: characters, normalization, cutting."""

BYTE_BPE, SCORED_BPE, WORD, UNIGRAM, WORD_PIECE = 1, 2, 3, 4, 5
NO_CUT, GPT2, WHITESPACE, DIGITS_GPT2, LLAMA3, QWEN2, SPACES, BERT = range(8)
(PREFIX, FIRST, UNLESS_SPACE, METASPACE, COLLAPSE, STRIP_START, STRIP_END, TRIM_END, REPAIR, HANGUL,
 WORDS, CLASSES) = (1 << bit for bit in range(12))
ADD_BOS, ADD_EOS, FUSE_UNKNOWN, WHOLE_PIECES, ROUND_24 = 1, 2, 4, 8, 16
(CONCATENATE, SPACED, STRIP_AT_START, STRIP_AFTER_BOS, PIECES, CLEAN_PIECES,
 STRIP_ALL_AT_START) = range(7)
OTHER, LETTER, NUMBER, SPACE, PUNCTUATION, SPACED_OUT, DROPPED = range(7)


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


class TextRules:
    """The half of a tokenizer that knows texts; the other sets the tables that it reads."""

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
