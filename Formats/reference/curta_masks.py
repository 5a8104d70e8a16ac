# SPDX-License-Identifier: Apache-2.0
"""The mask modifier of a grid tensor: its record, its stream, and where the survivors are."""

from dataclasses import dataclass

import numpy as np

from curta_errors import need

BLOCKS, PATTERN, COLUMNS = 1, 2, 3
STRIP = 16


@dataclass
class Mask:
    """A modifier record of kind 1."""

    form: int
    first: int
    second: int

    def check(self, t, where):
        """The rules on first and second for a tensor's shape."""
        def ok(condition, what):
            need(condition, "bad_tensor", f"{where}: {what}")

        ok(self.form in (BLOCKS, PATTERN, COLUMNS), "form of the mask")
        strips, blocks = -(-t.rows // STRIP), -(-t.columns // 32)
        if self.form == BLOCKS:
            ok(self.first >= 1, "no survivors")
            ok(self.second <= min(blocks, self.first), "survivors of the last strip")
            ok(self.first - self.second <= (strips - 1) * blocks, "too many survivors")
            ok(t.flags & 1 == 0 or t.group == 32, "group of a tensor with a block mask")
            return
        ok(t.flags & 2 == 0, "group offsets with this mask")
        if self.form == PATTERN:
            ok(self.second in (2, 4, 8, 16, 32) and 1 <= self.first < self.second, "n of m")
            ok(t.columns % self.second == 0, "columns not a multiple of m")
        else:
            ok(self.second == 0 and self.first <= t.columns <= 32 * self.first, "kept columns")

    def stream_size(self, t):
        """The exact size in bytes of the mask's stream."""
        blocks = -(-t.columns // 32)
        if self.form == BLOCKS:
            return (-(-t.rows // STRIP) * blocks + 7) // 8
        return 4 * t.rows * blocks if self.form == PATTERN else 4 * self.first

    def kept(self, t):
        """Of pattern and columns: K', the survivors of a row."""
        return t.columns // self.second * self.first if self.form == PATTERN else self.first

    def code_blocks(self, t):
        """The number of blocks of 32 codes that are stored."""
        if self.form == BLOCKS:
            last = t.rows - (t.rows - 1) // STRIP * STRIP
            return STRIP * (self.first - self.second) + last * self.second
        return t.rows * -(-self.kept(t) // 32)

    def survivors(self, t, raw, where):
        """bool [N][B * 32]: which cells survive; checks the stream."""
        def ok(condition, what):
            need(condition, "bad_payload", f"{where}: {what}")

        blocks = -(-t.columns // 32)
        if self.form == BLOCKS:
            strips = -(-t.rows // STRIP)
            bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
            ok(not bits[strips * blocks:].any(), "bits past the last block")
            grid = bits[:strips * blocks].reshape(strips, blocks).astype(bool)
            ok(grid.sum() == self.first, "number of survivors")
            ok(grid[-1].sum() == self.second, "survivors of the last strip")
            return np.repeat(np.repeat(grid, STRIP, 0)[:t.rows], 32, 1)
        alive = np.zeros((t.rows, blocks * 32), bool)
        if self.form == PATTERN:
            alive[:] = np.unpackbits(np.frombuffer(raw, np.uint8),
                                     bitorder="little").reshape(alive.shape)
            ok(not alive[:, t.columns:].any(), "bits past the last column")
            each = alive[:, :t.columns].reshape(-1, self.second).sum(1)
            ok(bool(np.all(each == self.first)), "survivors of a group of columns")
        else:
            columns = np.frombuffer(raw, "<u4").astype(np.int64)
            ok(bool(np.all(np.diff(columns) > 0)) and columns[-1] < t.columns, "list of columns")
            alive[:, columns] = True
        return alive
