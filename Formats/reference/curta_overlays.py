# SPDX-License-Identifier: Apache-2.0
"""The overlays of a grid tensor, outlier columns and sparse residual: record, streams and numbers."""

from dataclasses import dataclass

import numpy as np

from curta_errors import need

OUTLIER_COLUMNS, SPARSE_RESIDUAL = 2, 3


@dataclass
class Overlay:
    """A modifier record of kind 2 or 3."""

    kind: int
    step: int   # p
    count: int  # columns or entries
    bound: int  # A

    def check(self, t, where):
        """The rules on the record for a tensor's shape."""
        most = t.columns
        if self.kind == SPARSE_RESIDUAL:
            most = t.rows * min(t.columns, 65535)
        need(self.step <= 15, "bad_tensor", f"{where}: step of an overlay")
        need(1 <= self.count <= most, "bad_tensor", f"{where}: count of an overlay")

    def stream_sizes(self, t):
        """The exact sizes in bytes of the overlay's streams."""
        if self.kind == OUTLIER_COLUMNS:
            return [4 * self.count, t.rows * self.count]
        return [2 * t.rows, self.count, self.count]

    def numbers(self, t, streams, where):
        """v * 2^p as int64 [N][K]; checks the streams."""
        def ok(condition, what):
            need(condition, "bad_payload", f"{where}: {what}")

        values = np.frombuffer(streams[-1], np.int8).astype(np.int64)
        ok(bool(np.all(values != -128)), "value -128")
        added = np.zeros((t.rows, t.columns), np.int64)
        if self.kind == OUTLIER_COLUMNS:
            columns = np.frombuffer(streams[0], "<u4").astype(np.int64)
            ok(bool(np.all(np.diff(columns) > 0)) and columns[-1] < t.columns, "list of columns")
            added[:, columns] = values.reshape(t.rows, self.count)
        else:
            counts = np.frombuffer(streams[0], "<u2").astype(np.int64)
            ok(counts.sum() == self.count, "number of entries")
            gaps, at = np.frombuffer(streams[1], np.uint8).astype(np.int64), 0
            for row, count in enumerate(counts):
                columns = np.cumsum(gaps[at:at + count] + 1) - 1
                ok(count == 0 or columns[-1] < t.columns, "column of an entry")
                added[row, columns] = values[at:at + count]
                at += count
        added <<= self.step
        ok(np.abs(added).sum(1).max() == self.bound, "largest sum of a row")
        return added
