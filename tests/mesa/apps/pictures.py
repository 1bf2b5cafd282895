#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Writes pictures as PNG files, for the programs beside this one."""

import struct
import zlib

import numpy as np


def smallest_row(above, row):
    """A row of a PNG: as it is, or as differences to the pixels at the left or to those above."""
    left = np.vstack([np.zeros_like(row[:1]), row[:-1]])
    kinds = enumerate((row, row - left, row - above))
    # Small differences of either sign are what compresses.
    kind, values = min(kinds, key=lambda of: np.abs(of[1].view(np.int8).astype(int)).sum())
    return bytes([kind]) + values.tobytes()


def write_png(path, picture):
    """`picture` is an array of rows of pixels of bytes: red, green, blue, and perhaps alpha."""
    height, width, channels = picture.shape
    rows = b"".join(smallest_row(picture[max(y - 1, 0)] * np.uint8(y > 0), picture[y]) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head))
        file.write(chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))
