# SPDX-License-Identifier: Apache-2.0
"""The tensors section and the streams: every rule of curta-encodings.md, and decoded numbers."""

from dataclasses import dataclass, field
import struct

import numpy as np

from curta_errors import CurtaError, need
from curta_masks import BLOCKS, Mask
from curta_overlays import OUTLIER_COLUMNS, SPARSE_RESIDUAL, Overlay

GRID, WIDE, WORDS = 1, 2, 3
MAX_TENSORS = 16384
MAX_ROWS = 1 << 24
MAX_COLUMNS = 1 << 17
PLANES = {8: (8,), 7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 4: (4,), 3: (2, 1), 2: (2,)}


@dataclass
class Tensor:
    """One descriptor; after check_payloads also its numbers."""

    name: str
    rows: int
    columns: int
    encoding: int
    bits: int
    flags: int
    group: int
    exponent: int
    data: int
    mask: Mask = None
    overlays: list = field(default_factory=list)
    codes: np.ndarray = field(default=None, repr=False)      # int64 [N][K]; words: the words
    mantissas: np.ndarray = field(default=None, repr=False)  # int64 [N]
    scales: np.ndarray = field(default=None, repr=False)     # int64 [N][G] or None
    offsets: np.ndarray = field(default=None, repr=False)    # int64 [N][G] or None
    added: np.ndarray = field(default=None, repr=False)      # v * 2^p, int64 [N][K] or None

    @property
    def groups(self):
        """G, the number of groups in a row."""
        return -(-self.columns // self.group) if self.group else 1

    def stream_sizes(self):
        """The exact decoded size in bytes of each stream, in order."""
        n, k = self.rows, self.columns
        if self.encoding == GRID:
            blocks = self.mask.code_blocks(self) if self.mask else n * -(-k // 32)
            cells = blocks if self.mask and self.mask.form == BLOCKS else n * self.groups
            sizes = [blocks * 4 * self.bits, 2 * n]
            sizes += [cells] if self.flags & 1 else []
            sizes += [2 * cells] if self.flags & 2 else []
            sizes += [self.mask.stream_size(self)] if self.mask else []
            return sum((overlay.stream_sizes(self) for overlay in self.overlays), sizes)
        return [2 * n * k, 2 * n] if self.encoding == WIDE else [4 * n * k]


def check_shape(t, where):
    """The rules on bits, flags, group and exponent for each encoding."""
    need(t.encoding not in (4, 5), "unsupported", f"{where}: reserved encoding")
    need(t.encoding in (GRID, WIDE, WORDS), "bad_tensor", f"{where}: encoding")
    grid = t.encoding == GRID
    bits = range(2, 9) if grid else (16,) if t.encoding == WIDE else (32,)
    need(t.bits in bits, "bad_tensor", f"{where}: bits")
    need(t.flags in ((0, 1, 3) if grid else (0,)), "bad_tensor", f"{where}: flags")
    need(t.group % 32 == 0 and t.group <= MAX_COLUMNS if grid else t.group == 0, "bad_tensor",
         f"{where}: group")
    limit = 0 if t.encoding == WORDS else 64
    need(-limit <= t.exponent <= limit, "bad_tensor", f"{where}: exponent")


def read_modifiers(t, records, where):
    """The modifier records of a tensor (kind, form, data, first, second); sets mask and overlays."""
    last = 0
    for kind, form, stream, first, second in records:
        need(kind in (1, OUTLIER_COLUMNS, SPARSE_RESIDUAL, 5), "bad_tensor",
             f"{where}: unknown modifier")
        need(kind != 5, "unsupported", f"{where}: reserved modifier")
        need(t.encoding == GRID and kind > last, "bad_tensor", f"{where}: modifier {kind} here")
        need(stream == t.data + len(t.stream_sizes()), "bad_tensor", f"{where}: data of a modifier")
        last = kind
        if kind == 1:
            t.mask = Mask(form, first, second)
            t.mask.check(t, where)
        else:
            t.overlays.append(Overlay(kind, form, first, second))
            t.overlays[-1].check(t, where)


def read_tensors(data, data_sizes):
    """The tensors of the section; data_sizes are the decoded sizes of the data sections."""
    need(len(data) >= 16, "bad_tensor", "tensors header")
    count, modifiers, names_size, zero = struct.unpack_from("<IIII", data)
    need(count <= MAX_TENSORS, "over_limit", "tensor count")
    need(zero == 0, "bad_padding", "tensors header")
    need(len(data) == 16 + 64 * count + 16 * modifiers + names_size, "bad_tensor",
         "size of the tensors section")
    names_at = 16 + 64 * count + 16 * modifiers
    tensors, name_sum, data_sum, modifier_sum = [], 0, 0, 0
    for number in range(count):
        where = f"tensor {number}"
        (name_offset, name_length, rows, columns, encoding, bits, flags, group, exponent, stream,
         stream_count, modifier, modifier_count, reserved) = \
            struct.unpack_from("<IIIIHBBIiIIII20s", data, 16 + 64 * number)
        need(name_offset == name_sum, "bad_tensor", f"{where}: name offset")
        need(1 <= name_length <= 255, "bad_tensor", f"{where}: name length")
        name_sum += name_length
        need(name_sum <= names_size, "bad_tensor", f"{where}: name past the end")
        raw = data[names_at + name_offset:names_at + name_sum]
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CurtaError("bad_text", f"{where}: name") from error
        need("\0" not in name, "bad_text", f"{where}: NUL in the name")
        need(rows != 0 and columns != 0, "bad_tensor", f"{where}: zero shape")
        need(rows <= MAX_ROWS and columns <= MAX_COLUMNS, "over_limit", f"{where}: shape")
        tensor = Tensor(name, rows, columns, encoding, bits, flags, group, exponent, stream)
        check_shape(tensor, where)
        need(stream == data_sum, "bad_tensor", f"{where}: data")
        need(modifier == modifier_sum, "bad_tensor", f"{where}: modifier")
        modifier_sum += modifier_count
        need(modifier_sum <= modifiers, "bad_tensor", f"{where}: modifier count")
        read_modifiers(tensor, [struct.unpack_from("<HHIII", data, 16 + 64 * count + 16 * i)
                                for i in range(modifier, modifier_sum)], where)
        need(stream_count == len(tensor.stream_sizes()), "bad_tensor", f"{where}: data count")
        data_sum += stream_count
        need(not any(reserved), "bad_padding", f"{where}: reserved")
        tensors.append(tensor)
    need(name_sum == names_size, "bad_tensor", "names left over")
    need(modifier_sum == modifiers, "bad_tensor", "modifiers left over")
    need(data_sum == len(data_sizes), "bad_tensor", "data sections left over or absent")
    for number, tensor in enumerate(tensors):
        for i, size in enumerate(tensor.stream_sizes()):
            need(data_sizes[tensor.data + i] == size, "bad_size", f"tensor {number}: stream {i}")
    return tensors


def unpack_plane(plane, bits):
    """[blocks][4 * bits] bytes of one plane to [blocks][32] values."""
    assert plane.shape[-1] == 4 * bits  # elements i, i + 4 * bits, i + 8 * bits ... share byte i
    parts = [(plane >> (bits * j)) & ((1 << bits) - 1) for j in range(8 // bits)]
    return np.concatenate(parts, axis=-1)


def unpack_codes(raw, rows, columns, bits, where):
    """The grid's codes as int64 [N][K]; checks -128 and the codes past column K."""
    blocks = -(-columns // 32)
    packed = np.frombuffer(raw, np.uint8).reshape(rows * blocks, 4 * bits)
    u, at, low = np.zeros((rows * blocks, 32), np.int64), 0, 0
    for plane in PLANES[bits]:
        part = packed[:, at:at + 4 * plane]
        u |= unpack_plane(part, plane).astype(np.int64) << low
        at, low = at + 4 * plane, low + plane
    if bits == 8:
        codes = np.where(u >= 128, u - 256, u)
        need(not np.any(codes == -128), "bad_payload", f"{where}: code -128")
    else:
        codes = u - (1 << (bits - 1))
    codes = codes.reshape(rows, blocks * 32)
    need(not np.any(codes[:, columns:]), "bad_payload", f"{where}: code past the last column")
    return codes[:, :columns].copy()


def unpack_masked(t, raw, alive, where):
    """The codes of a masked tensor as int64 [N][K], 0 where pruned."""
    codes = np.zeros(alive.shape, np.int64)
    if t.mask.form == BLOCKS:
        blocks = alive.reshape(t.rows, -1, 32)[:, :, 0]
        rows = unpack_codes(raw, int(blocks.sum()), 32, t.bits, where)
        codes.reshape(t.rows, -1, 32)[blocks] = rows
        need(not np.any(codes[:, t.columns:]), "bad_payload", f"{where}: code past the last column")
    else:
        codes[alive] = unpack_codes(raw, t.rows, t.mask.kept(t), t.bits, where).reshape(-1)
    return codes[:, :t.columns]


def spread_cells(values, blocks):
    """One value a surviving block as [N][B], 0 elsewhere."""
    cells = np.zeros(blocks.shape, np.int64)
    cells[blocks] = values
    return cells


def check_payloads(tensors, stream):
    """Decodes every stream in order (stream(i) gives the bytes) and checks its values."""
    for number, t in enumerate(tensors):
        where = f"tensor {number} ({t.name!a})"

        def array(index, kind, shape, tensor=t):
            return np.frombuffer(stream(tensor.data + index), kind).astype(np.int64).reshape(shape)

        if t.encoding == WORDS:
            t.codes = array(0, "<u4", (t.rows, t.columns))
            continue
        alive = None
        behind = t.data + 2 + (t.flags & 1) + (t.flags >> 1)
        if t.mask:
            alive = t.mask.survivors(t, stream(behind), where)
            behind += 1
            t.codes = unpack_masked(t, stream(t.data), alive, where)
        elif t.encoding == GRID:
            t.codes = unpack_codes(stream(t.data), t.rows, t.columns, t.bits, where)
        else:
            t.codes = array(0, "<i2", (t.rows, t.columns))
            need(not np.any(t.codes == -32768), "bad_payload", f"{where}: code -32768")
        t.mantissas = array(1, "<u2", (t.rows,))
        need(bool(np.all(t.mantissas)), "bad_payload", f"{where}: zero mantissa")
        by_block = t.mask is not None and t.mask.form == BLOCKS
        shape = (-1,) if by_block else (t.rows, t.groups)
        if t.flags & 1:
            t.scales = array(2, "u1", shape)
        if t.flags & 2:
            t.offsets = array(3, "<i2", shape)
            need(not np.any(t.offsets == -32768), "bad_payload", f"{where}: offset -32768")
        if by_block:
            blocks = alive.reshape(t.rows, -1, 32)[:, :, 0]
            t.scales = None if t.scales is None else spread_cells(t.scales, blocks)
            t.offsets = None if t.offsets is None else spread_cells(t.offsets, blocks)
        for overlay in t.overlays:
            count = len(overlay.stream_sizes(t))
            streams = [stream(behind + i) for i in range(count)]
            numbers = overlay.numbers(t, streams, where)
            t.added = numbers if t.added is None else t.added + numbers
            behind += count
