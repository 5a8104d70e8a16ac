# What Tools/arm-instructions counts, once the programs are built.
# usage: instructions.py MODEL CPU JSON(0|1) FOLDER
# SPDX-License-Identifier: Apache-2.0

import bisect
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MODEL, CPU, JSON, NATIVE = sys.argv[1], sys.argv[2], sys.argv[3] == "1", Path(sys.argv[4])
CURTA = ".build/release/curta"


def output(*command):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"error: {command[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout


class Program:
    """A program of Tests/Native, with the names of its functions."""

    def __init__(self, name):
        self.path = NATIVE / "aarch64" / name
        functions = []
        for line in output("aarch64-linux-gnu-nm", self.path).splitlines():
            address, kind, symbol = line.split(maxsplit=2) if line[0] != " " else ("", "", "")
            if kind.lower() in ("t", "w") and not symbol.startswith("$"):  # $x, $d mark code and data
                functions.append((int(address, 16), symbol))
        functions.sort()
        self.addresses, self.symbols = zip(*functions)

    def counts(self, *arguments):
        """Instructions by function of one run."""
        with tempfile.NamedTemporaryFile("r") as counts:
            output("qemu-aarch64", "-cpu", CPU, "-plugin",
                   f"{(NATIVE / 'instructions.so').resolve()},counts={counts.name}", self.path, MODEL,
                   *arguments)
            result = collections.Counter()
            for line in counts:
                address, count = line.split()
                place = bisect.bisect(self.addresses, int(address, 16)) - 1
                result[self.symbols[place]] += int(count)
            return result


def difference(less, more, pieces):
    """Instructions of a piece by function: what two runs have in common, as loading, is gone."""
    each = {name: (more[name] - less[name]) / pieces for name in more.keys() | less.keys()}
    return collections.Counter({name: count for name, count in each.items() if count > 0})


def pieces():
    """What a model is asked for, with the instructions of one."""
    image = json.loads(output(CURTA, "inspect", MODEL, "--json"))["program"].get("image")
    if image:
        program, picture = Program("images"), f"1,{image['height']},{image['width']}"
        runs = [program.counts(",".join([picture] * count), 1, 1, 0) for count in (1, 2)]
        return {"image": difference(*runs, 1)}
    program, tokens = Program("hash"), ",".join(str(token) for token in range(1, 65))
    short, prompt, longer = (program.counts(tokens, prefill, greedy, 32, 1, 0)
                             for prefill, greedy in ((32, 1), (64, 1), (64, 17)))
    return {"prompt": difference(short, prompt, 32), "token": difference(prompt, longer, 16)}


def main():
    result = pieces()
    if JSON:
        print(json.dumps({piece: {"millions": counts.total() / 1e6,
                                  "share": {name: round(count / counts.total(), 4)
                                            for name, count in counts.most_common(20)}}
                          for piece, counts in result.items()}))
        return
    words = {"image": "an image", "prompt": "a token of a prompt of 64", "token": "a token after it"}
    for piece, counts in result.items():
        print(f"{words[piece]}, {CPU}: {counts.total() / 1e6:.2f} million instructions")
        for name, count in counts.most_common(20):
            print(f"  {100 * count / counts.total():5.1f} %  {name}")


main()
