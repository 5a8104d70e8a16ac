# SPDX-License-Identifier: Apache-2.0
"""A canvas for draw.py, and the files that its pictures become. numpy is all that is needed."""

import struct
import zlib

import numpy as np

SIDE = 96   # pixels of a picture
FINE = 3    # fine pixels for each of them along a side, averaged at the end


class Canvas:
    """A picture to paint on. Places are fractions of the side, from the top left; colours 0…255."""

    def __init__(self, seed):
        self.random = np.random.RandomState(seed)  # its numbers are the same in every numpy
        n = SIDE * FINE
        self.pixels = np.zeros((n, n, 3))
        grid = (np.arange(n) + 0.5) / n
        self.x, self.y = grid[None, :], grid[:, None]

    def between(self, low, high):
        """A number drawn between two."""
        return low + (high - low) * self.random.random_sample()

    def noise(self, cells, rows=None):
        """A smooth random field of -1…1: one random number for each cell."""
        rows = rows or cells
        values = self.random.uniform(-1, 1, (rows + 2, cells + 2))
        x, y = self.x * cells, self.y * rows
        i, j = y.astype(int), x.astype(int)
        smooth = lambda t: t * t * (3 - 2 * t)
        u, v = smooth(x - j), smooth(y - i)
        top = values[i, j] * (1 - u) + values[i, j + 1] * u
        below = values[i + 1, j] * (1 - u) + values[i + 1, j + 1] * u
        return top * (1 - v) + below * v

    def paint(self, mask, colour, shade=0.0, texture=0.0, cells=24):
        """Fills where the mask is true: darker downwards by `shade`, rough by `texture`."""
        if not mask.any():
            return
        rows = np.nonzero(mask.any(1))[0]
        depth = (np.arange(len(mask)) - rows[0]) / max(1, rows[-1] - rows[0])
        light = 1 + shade * (0.5 - depth[:, None]) + texture * self.noise(cells)
        paint = np.asarray(colour, float) * light[..., None]
        self.pixels[mask] = paint[mask]

    def fade(self, top, bottom, first=0.0, last=1.0):
        """A ground that goes from one colour to another, between two heights."""
        t = np.clip((self.y - first) / (last - first), 0, 1) + 0 * self.x
        colours = np.asarray(top, float) * (1 - t[..., None]) + np.asarray(bottom) * t[..., None]
        mask = (self.y >= first) & (self.y < last) & (self.x >= 0)
        self.pixels[mask] = colours[mask]

    def roughen(self, amount, cells, rows=None, first=0.0):
        """Light and dark spots below a height."""
        field = amount * self.noise(cells, rows) * (self.y >= first)
        self.pixels += field[..., None]

    def ellipse(self, x, y, rx, ry, turn=0.0):
        """The mask of an ellipse, turned clockwise by degrees."""
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        u, v = (self.x - x) * c + (self.y - y) * s, (self.y - y) * c - (self.x - x) * s
        return (u / rx) ** 2 + (v / ry) ** 2 <= 1

    def polygon(self, *corners):
        """The mask of a polygon, by the number of edges to the right of a point."""
        inside = np.zeros(self.pixels.shape[:2], bool)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1]):
            if y0 != y1:
                crosses = (self.y >= min(y0, y1)) & (self.y < max(y0, y1))
                inside ^= crosses & (self.x < x0 + (self.y - y0) * (x1 - x0) / (y1 - y0))
        return inside

    def limb(self, width, *joints):
        """The mask of a line through points, round at its ends; `width` at each end or one."""
        first, last = width if isinstance(width, tuple) else (width, width)
        inside = np.zeros(self.pixels.shape[:2], bool)
        for i, ((x0, y0), (x1, y1)) in enumerate(zip(joints, joints[1:])):
            length = (x1 - x0) ** 2 + (y1 - y0) ** 2
            t = np.clip(((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / length, 0, 1)
            w = first + (last - first) * (i + t) / (len(joints) - 1)
            inside |= (self.x - x0 - t * (x1 - x0)) ** 2 + (self.y - y0 - t * (y1 - y0)) ** 2 \
                <= (w / 2) ** 2
        return inside

    def finished(self):
        """[SIDE][SIDE][3] bytes."""
        fine = np.clip(self.pixels, 0, 255).reshape(SIDE, FINE, SIDE, FINE, 3)
        return np.floor(fine.mean((1, 3)) + 0.5).astype(np.uint8)


def png(pixels):
    """The bytes of a PNG of 8-bit colours."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data \
        + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) \
        + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def ppm(pixels):
    """The bytes of a binary PPM."""
    return b"P6\n%d %d\n255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()


def unpacked(bytes_of_png):
    """The pixels of a PNG that `png` made."""
    width, height = struct.unpack(">II", bytes_of_png[16:24])
    size = struct.unpack(">I", bytes_of_png[33:37])[0]
    rows = zlib.decompress(bytes_of_png[41:41 + size])
    return np.frombuffer(rows, np.uint8).reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)
