# SPDX-License-Identifier: Apache-2.0
"""The measuring of Tools/peers/vit-latency."""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from vit_onnx import exported, normalized, quantized


class Curta:
    """A .curta file in a process of its own."""

    def __init__(self, program, path, threads):
        self.process = subprocess.Popen([program, path, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def times(self, count):
        """Milliseconds of each of so many images."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return [int(time) / 1e6 for time in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Onnx:
    """An ONNX file in ONNX Runtime, with its own defaults."""

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options,
                                                    providers=["CPUExecutionProvider"])
        shape = self.session.get_inputs()[0].shape
        self.image = np.random.default_rng(1).standard_normal(shape, np.float32)

    def scores(self, image):
        return self.session.run(None, {"x": image})[0][0]

    def times(self, count):
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.scores(self.image)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def close(self):
        pass


def pictures(tar, count, side):
    """(class, pixels) of so many images, evenly spaced over an archive of folders of classes."""
    with tarfile.open(tar) as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
        classes = sorted({m.name.split("/")[-2] for m in members})
        for i in range(count):
            member = members[i * len(members) // count]
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
            assert image.size == (side, side), "the archive has images of another size"
            yield classes.index(member.name.split("/")[-2]), np.asarray(image)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tar", type=Path)
    parser.add_argument("program")
    parser.add_argument("curta", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    side = json.loads((options.checkpoint / "config.json").read_text())["image_size"]
    float32 = options.work / "float32.onnx"
    exported(options.checkpoint, float32)
    # Calibrated on images that are not those of the accuracy: the ones between them.
    seen = list(pictures(options.tar, 2 * options.images, side))
    calibration = [normalized(options.checkpoint, p) for _, p in seen[1::20]][:64]
    files = {"onnx_fp32": float32, **quantized(options.work, float32, calibration)}
    curta = dict(item.split("=", 1) for item in options.curta)
    result = {name: {"bytes": Path(path).stat().st_size} for name, path in {**curta, **files}.items()}

    for name, path in files.items():
        model, right = Onnx(path, 1), 0
        for label, pixels in seen[::2]:
            right += int(model.scores(normalized(options.checkpoint, pixels)).argmax()) == label
        result[name]["accuracy"] = right / options.images
    for name, path in curta.items():  # on the same images
        done = subprocess.run(["curta", "eval", path, "--images", options.tar, "--limit",
                               str(options.images), "--json"], check=True, stdout=subprocess.PIPE)
        result[name]["accuracy"] = json.loads(done.stdout)["accuracy"]

    for threads in map(int, options.threads.split(",")):
        models = {name: Curta(options.program, path, threads) for name, path in curta.items()}
        models |= {name: Onnx(path, threads) for name, path in files.items()}
        times = {name: [] for name in models}
        for model in models.values():
            model.times(20)
        for turn in range(options.rounds):
            names = list(models)[turn % len(models):] + list(models)[:turn % len(models)]
            for name in names:
                time.sleep(0.05)  # threads that spin after their work have gone to sleep
                times[name] += models[name].times(20)
            if sys.stderr.isatty():
                print(f"\r{threads} threads, round {turn + 1}", end="", file=sys.stderr, flush=True)
        for name, model in models.items():
            model.close()
            result[name][f"threads_{threads}"] = {
                "median_ms": statistics.median(times[name]), "best_ms": min(times[name])}
    print(json.dumps({"onnxruntime": onnxruntime.__version__, "runs": 20 * options.rounds, **result}))


if __name__ == "__main__":
    main()
