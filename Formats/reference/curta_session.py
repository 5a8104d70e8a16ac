#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads, checks and writes saved sessions as curta-session.md has them; a command to try it."""

import argparse
from dataclasses import dataclass
import struct
import sys

import numpy as np

from curta_codecs import xxh64
from curta_errors import CurtaError, need
from curta_interpreter import Session, load
from curta_sampling import Random

MAGIC = bytes([0x89, 0x43, 0x55, 0x52, 0x54, 0x53, 0x0D, 0x0A])
HEADER = struct.Struct("<8sIIQQIIIB3sQQ")
HAS_LOGITS, INSIDE_TEXT = 1, 2
MAX_EXPONENT = 1 << 24


@dataclass
class Saved:
    """A saved session that has passed every check."""

    tokens: list
    logits: object         # int32 [vocabulary] or None
    random: int
    carry: bytes
    inside_text: bool
    caches: list           # (codes [H][P][W], m [H][P], e [H][P]) for each state


def begins_character(data):
    """Whether bytes are the beginning of a well-formed UTF-8 sequence, and not all of it."""
    if not data:
        return True
    # Some ending makes it a character. The second byte alone decides what the others may not.
    for ending in (b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\x90\x80\x80", b"\xa0\x80", b"\x90\x80"):
        try:
            if len((data + ending).decode("utf-8")) == 1:
                return True
        except UnicodeDecodeError:
            pass
    return False


def sizes(program, past, has_logits):
    """Bytes of the parts of section 2, in order."""
    return [64, 8 * len(program.states), 4 * past, 4 * program.vocabulary if has_logits else 0,
            sum(s.heads * past * (s.width + 8) for s in program.states), 8]


def read_saved(data, model, context):
    """Checks all of `data` against a checked model file; gives Saved or raises CurtaError."""
    data, program = bytes(data), model.program
    need(len(data) >= 72, "truncated", "header")
    (magic, version, flags, size, identity, past, vocabulary, states, waiting, carry, random,
     reserved) = HEADER.unpack_from(data)
    need(magic == MAGIC, "bad_magic", "header")
    need(version == 1, "bad_version", "header")
    need(len(data) >= size, "truncated", "size")
    need(len(data) <= size, "bad_layout", "bytes behind the end")
    need(xxh64(data[:-8]) == int.from_bytes(data[-8:], "little"), "bad_checksum", "hash")
    need(identity == model.identity, "wrong_model", "identity")
    need(flags <= 3, "bad_padding", "flags")
    need(reserved == 0, "bad_padding", "reserved")
    has_logits = flags & HAS_LOGITS != 0
    need(past > 0 or not has_logits, "bad_payload", "logits without tokens")
    need(random != 0, "bad_payload", "random")
    need(vocabulary == program.vocabulary, "bad_plan", "vocabulary")
    need(states == len(program.states), "bad_plan", "states")
    need(past <= context, "context_full", "past")
    parts = sizes(program, past, has_logits)
    need(size == sum(parts), "bad_size", "size")
    at = 64
    for i, state in enumerate(program.states):
        shape = struct.unpack_from("<II", data, at + 8 * i)
        need(shape == (state.heads, state.width), "bad_plan", f"state {i}")
    need(waiting <= 3 and not any(carry[waiting:]) and begins_character(carry[:waiting]),
         "bad_payload", "carry")
    inside = flags & INSIDE_TEXT != 0
    need(model.tokenizer is not None or (waiting == 0 and not inside), "bad_payload", "decoder")
    at += parts[1]
    tokens = np.frombuffer(data, "<u4", past, at)
    need(bool((tokens < vocabulary).all()), "bad_payload", "tokens")
    at += parts[2]
    logits = np.frombuffer(data, "<i4", vocabulary, at) if has_logits else None
    need(logits is None or bool((logits != -1 << 31).all()), "bad_payload", "logits")
    return Saved(tokens.tolist(), logits, random, carry[:waiting], inside,
                 read_caches(data, at + parts[3], program.states, past))


def read_caches(data, at, states, past):
    """The codes and scales of every state."""
    caches = []
    for i, state in enumerate(states):
        rows = state.heads * past
        codes = np.frombuffer(data, "i1", rows * state.width, at)
        need(bool((codes != -128).all()), "bad_payload", f"codes of state {i}")
        at += rows * state.width
        scales = np.frombuffer(data, np.dtype([("m", "<u4"), ("e", "<i4")]), rows, at)
        need(bool(((scales["m"] >= 1 << 15) & (scales["m"] < 1 << 16)
                   & (abs(scales["e"].astype(np.int64)) <= MAX_EXPONENT)).all()),
             "bad_payload", f"scales of state {i}")
        at += 8 * rows
        shape = (state.heads, past)
        caches.append((codes.reshape(*shape, state.width), scales["m"].reshape(shape),
                       scales["e"].reshape(shape)))
    return caches


def restore(saved, session):
    """Makes a fresh session what the saved one was."""
    session.past = past = len(saved.tokens)
    for cache, (codes, m, e) in zip(session.caches, saved.caches):
        cache.codes[:past] = codes.transpose(1, 0, 2)
        cache.m[:past], cache.e[:past] = m.T, e.T


def write_saved(session, tokens, logits, random, carry=b"", inside_text=False):
    """The bytes of a session that has stepped `tokens`; `logits` is its last row or None."""
    program, past = session.program, len(tokens)
    flags = (HAS_LOGITS if logits is not None else 0) | (INSIDE_TEXT if inside_text else 0)
    size = sum(sizes(program, past, logits is not None))
    out = bytearray(HEADER.pack(
        MAGIC, 1, flags, size, session.model.identity, past, program.vocabulary,
        len(program.states), len(carry), carry, random, 0))
    for state in program.states:
        out += struct.pack("<II", state.heads, state.width)
    out += np.asarray(tokens, "<u4").tobytes()
    if logits is not None:
        out += np.asarray(logits, "<i4").tobytes()
    for cache in session.caches:
        out += cache.codes[:past].transpose(1, 0, 2).astype("i1").tobytes()
        pairs = np.stack([cache.m[:past].T, cache.e[:past].T], axis=-1)
        out += pairs.astype("<i4").tobytes()
    return bytes(out + xxh64(bytes(out)).to_bytes(8, "little"))


def status(path, session):
    """"ok" or the status of the saved session at `path`."""
    try:
        with open(path, "rb") as file:
            read_saved(file.read(), session.model, session.context)
    except CurtaError as error:
        return error.status
    return "ok"


def integers(text):
    """'1,5,7' as a list."""
    return [int(part) for part in text.split(",") if part != ""]


def main():
    """Exit status: 0, or 2 with the name of the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--restore", metavar="FILE", help="a saved session to go on with")
    parser.add_argument("--context", type=int, help="positions (default: the file's)")
    parser.add_argument("--tokens", type=integers, default=[], help="tokens to step: 1,5,7")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="FILE", help="where to save afterwards")
    parser.add_argument("--check", metavar="FILE", nargs="+", help="print ok or the status of each")
    given = parser.parse_args()
    try:
        session = Session(load(given.model), given.context)
        for path in given.check or []:
            print(status(path, session))
        if given.check:
            return 0
        tokens, row, random, carry, inside = [], None, Random(given.seed).state, b"", False
        if given.restore:
            with open(given.restore, "rb") as file:
                saved = read_saved(file.read(), session.model, session.context)
            restore(saved, session)
            tokens, row, random = saved.tokens, saved.logits, saved.random
            carry, inside = saved.carry, saved.inside_text
        if given.tokens:
            row = session.step(given.tokens)[-1]
        tokens = tokens + given.tokens
        print(",".join(str(token) for token in tokens))
        print("none" if row is None else ",".join(str(x) for x in row.tolist()))
        if given.save:
            with open(given.save, "wb") as file:
                file.write(write_saved(session, tokens, row, random, carry, inside))
    except CurtaError as error:
        print(error.status)
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
