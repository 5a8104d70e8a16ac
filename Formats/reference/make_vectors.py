#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes Formats/vectors: valid models, arithmetic cases, invalid files; --check reads them back and
compares the ops with float64."""

import argparse
from pathlib import Path
import sys

import check_float
from curta_errors import CurtaError
from curta_file import read_file
import vector_arithmetic
import vector_arithmetic_image
from vector_invalid import CASES
import vector_invalid_data  # noqa: F401 (registers its cases)
import vector_invalid_image  # noqa: F401
import vector_invalid_mask  # noqa: F401
import vector_invalid_ops  # noqa: F401
import vector_invalid_overlay  # noqa: F401
import vector_invalid_program  # noqa: F401
import vector_valid
import vector_vision

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
VALID_HEAD = "# file\ttoken ids (one after the other from position 0)\tSHA-256 of all rows of logits, " \
             "int32 little-endian\tidentity (directory hash)\n"
IMAGES_HEAD = "# file\timages (seed,height,width of each)\tSHA-256 of the rows of output of all images, " \
              "int32 little-endian\tidentity (directory hash)\n"
INVALID_HEAD = "# file\tstatus\twhat it tries\n"


def status_of(data):
    """The name of the status that the reference gives."""
    try:
        read_file(data)
    except CurtaError as error:
        return error.status
    return "ok"


def write(path, data):
    """Writes a file when it differs; gives whether it did."""
    data = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        return False
    path.write_bytes(data)
    return True


def arithmetic():
    """The files of vectors/arithmetic by name."""
    return {**vector_arithmetic.tables(), **vector_arithmetic_image.tables()}


def make():
    """Writes everything; gives the number of files that changed."""
    changed, lines = 0, []
    for name in vector_valid.SHAPES:
        path = VECTORS / "valid" / f"{name}.curta"
        try:
            data = vector_valid.build(name)
        except ImportError:
            sys.exit(f"{name}: needs the zstandard package, version 0.25.0; nothing more is written")
        tokens = vector_valid.tokens_for(name)
        digest, identity = vector_valid.logits_hash(data, tokens, len(tokens))
        lines.append(f"{name}.curta\t{','.join(map(str, tokens))}\t{digest}\t{identity}\n")
        changed += write(path, data)
    changed += write(VECTORS / "valid" / "expected.tsv", VALID_HEAD + "".join(lines))
    lines = []
    for name in vector_vision.SHAPES:
        data, images = vector_vision.build(name), vector_vision.images_for(name)
        digest, identity = vector_vision.rows_hash(data, images, len(images))
        fields = ",".join(str(number) for image in images for number in image)
        lines.append(f"{name}.curta\t{fields}\t{digest}\t{identity}\n")
        changed += write(VECTORS / "valid" / f"{name}.curta", data)
    changed += write(VECTORS / "valid" / "images.tsv", IMAGES_HEAD + "".join(lines))
    lines = []
    for name, (status, text, build) in sorted(CASES.items()):
        changed += write(VECTORS / "invalid" / f"{name}.curta", build())
        lines.append(f"{name}.curta\t{status}\t{text}\n")
    changed += write(VECTORS / "invalid" / "expected.tsv", INVALID_HEAD + "".join(lines))
    for name, text in arithmetic().items():
        changed += write(VECTORS / "arithmetic" / f"{name}.tsv", text)
    return changed


def rows(path):
    """The lines of a table, split."""
    return [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]


def check():
    """Reads every file of the folder; gives the number of disagreements."""
    wrong, listed = 0, {"valid": set(), "invalid": set()}
    for name, tokens, digest, identity in rows(VECTORS / "valid" / "expected.tsv"):
        listed["valid"].add(name)
        data = (VECTORS / "valid" / name).read_bytes()
        ids = [int(token) for token in tokens.split(",")]
        for chunk in (1, 3, len(ids)):
            if status_of(data) == "codec_missing":
                print(f"{name}: skipped, needs the zstandard package")
                break
            got = vector_valid.logits_hash(data, ids, chunk)
            if got != (digest, identity):
                wrong += 1
                print(f"{name}: chunk {chunk}: {got}")
    for name, images, digest, identity in rows(VECTORS / "valid" / "images.tsv"):
        listed["valid"].add(name)
        data = (VECTORS / "valid" / name).read_bytes()
        numbers = [int(number) for number in images.split(",")]
        triples = list(zip(numbers[::3], numbers[1::3], numbers[2::3]))
        for batch in (1, 3, len(triples)):
            got = vector_vision.rows_hash(data, triples, batch)
            if got != (digest, identity):
                wrong += 1
                print(f"{name}: batch {batch}: {got}")
    for name, status, _ in rows(VECTORS / "invalid" / "expected.tsv"):
        listed["invalid"].add(name)
        got = status_of((VECTORS / "invalid" / name).read_bytes())
        if got == "codec_missing":
            print(f"{name}: skipped, needs the zstandard package")
        elif got != status:
            wrong += 1
            print(f"{name}: {got}, expected {status}")
    for folder, names in listed.items():
        present = {path.name for path in (VECTORS / folder).glob("*.curta")}
        if present != names:
            wrong += 1
            print(f"{folder}: not in expected.tsv, or absent: {sorted(present ^ names)}")
    for name, text in arithmetic().items():
        if (VECTORS / "arithmetic" / f"{name}.tsv").read_text() != text:
            wrong += 1
            print(f"arithmetic/{name}.tsv differs")
    wrong += check_float.main()
    print(f"{len(listed['valid'])} valid, {len(listed['invalid'])} invalid, {wrong} wrong")
    return wrong


def main():
    """Exit status 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    if parser.parse_args().check:
        return 1 if check() else 0
    print(f"{make()} files changed")
    return 1 if check() else 0


if __name__ == "__main__":
    sys.exit(main())
