#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command of the numpy reference: checks a Curta file, runs it on tokens or on the images of the
vectors, prints tokens, logits, hashes."""

import argparse
import hashlib
import sys

import numpy as np

from curta_errors import CurtaError
from curta_interpreter import ImageSession, Session, load
from curta_resample import pixels_of
from curta_sampling import Random, sample


def integers(text):
    """'1,5,7' as a list."""
    return [int(part) for part in text.split(",") if part != ""]


def options():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--verify", action="store_true",
                        help="only check; prints ok or the status (exit status 0 or 2)")
    parser.add_argument("--tokens", type=integers, default=[0], help="the prompt: 1,5,7")
    parser.add_argument("--images", type=integers, metavar="SEED,H,W,...",
                        help="images as in vectors/valid/images.tsv")
    parser.add_argument("--chunk", type=int, default=0, help="tokens or images a step (default: all)")
    parser.add_argument("--greedy", type=int, default=0, metavar="N", help="tokens to add")
    parser.add_argument("--sample", type=integers, metavar="T,K,P,MIN_P,PENALTY",
                        help="temperature_q16,top_k,top_p_q16,min_p_q16,penalty_q14")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=16, help="tokens to sample")
    parser.add_argument("--window", type=int, default=64,
                        help="how many last tokens the penalty sees (0: all)")
    parser.add_argument("--hash", action="store_true",
                        help="SHA-256 of all rows of logits of all steps, int32 little-endian")
    parser.add_argument("--logits", action="store_true", help="print every row of logits")
    return parser.parse_args()


class Run:
    """One session whose every step asks for all rows, so that chunking does not change the hash."""

    def __init__(self, model, arguments):
        self.session, self.arguments = Session(model), arguments
        self.digest, self.tokens, self.last = hashlib.sha256(), [], None

    def feed(self, tokens, quiet=False):
        """Steps the tokens in chunks and prints what was asked for."""
        chunk = self.arguments.chunk or len(tokens)
        for at in range(0, len(tokens), chunk):
            part = tokens[at:at + chunk]
            rows = self.session.step(part, outputs=len(part))
            self.digest.update(rows.astype("<i4").tobytes())
            for token, row in zip(part, rows):
                self.tokens.append(token)
                if not quiet:
                    print(f"{len(self.tokens) - 1}\ttoken {token}\tbest {int(np.argmax(row))}"
                          f"\tlogit {int(row.max())}")
                if self.arguments.logits:
                    print(" ".join(str(value) for value in row.tolist()))
            self.last = rows[-1]


def run(arguments):
    """Everything but --verify."""
    work = Run(load(arguments.model), arguments)
    quiet = arguments.sample is not None or (arguments.hash and not arguments.logits)
    work.feed(arguments.tokens, quiet)
    added = []
    if arguments.sample is not None:
        source = Random(arguments.seed)
        names = ("temperature", "top_k", "top_p", "min_p", "penalty")
        rules = dict(zip(names, arguments.sample))
        for _ in range(arguments.n):
            added.append(sample(work.last, work.tokens[-arguments.window:], source.next, **rules))
            if work.session.past == work.session.context:
                break
            work.feed(added[-1:], quiet)
        print(",".join(str(token) for token in added))
    for _ in range(arguments.greedy):
        work.feed([int(np.argmax(work.last))], quiet)
    if arguments.hash:
        print(work.digest.hexdigest())


def run_images(arguments):
    """The rows of output of the images and, with --hash, their SHA-256."""
    session, numbers = ImageSession(load(arguments.model)), arguments.images
    channels = session.program.image.channels
    images = [pixels_of(*numbers[at:at + 3], channels) for at in range(0, len(numbers), 3)]
    chunk, digest = arguments.chunk or len(images), hashlib.sha256()
    for at in range(0, len(images), chunk):
        rows = session.step(images[at:at + chunk])
        digest.update(rows.astype("<i4").tobytes())
        for row in rows:
            if arguments.logits or not arguments.hash:
                print(" ".join(str(value) for value in row.tolist()))
    if arguments.hash:
        print(digest.hexdigest())


def main():
    """Exit status: 0, or 2 with the name of the status."""
    arguments = options()
    try:
        if arguments.verify:
            load(arguments.model)
            print("ok")
        elif arguments.images:
            run_images(arguments)
        else:
            run(arguments)
    except CurtaError as error:
        print(error.status)
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
