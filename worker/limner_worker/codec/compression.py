"""A lossy format: quantised latents of the built-in autoencoder, for drawings like those that it was trained on."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_worker.generators.base import Picture
from limner_worker.networks.autoencoder import Autoencoder

TILE: Final = 64
"""Side of a tile in pixels: the size that the autoencoder works on."""
MAX_SIDE: Final = 8192
MIN_STEP: Final = 0.01
MAX_STEP: Final = 4.0
STEPS: Final = tuple(float(np.float32(step)) for step in (MIN_STEP, MAX_STEP))
"""The limits as a header has them."""
TILES_AT_ONCE: Final = 64
"""Tiles in one call of the autoencoder."""
HEADER: Final = struct.Struct("<4s8sHHf")
"""Magic, the first bytes of the weights' SHA-256, width and height in pixels, and the quantisation step."""
MAGIC: Final = b"LMV1"


class CompressionError(ValueError):
    """The picture cannot be packed, or the data is not a valid packed picture."""


@dataclass(frozen=True)
class Codec:
    """Packs and unpacks pictures with an autoencoder. `sha256`, of its weights in hex, identifies it in the files."""

    autoencoder: Autoencoder
    sha256: str

    def pack(self, picture: Picture, step: float) -> bytes:
        """Pack a picture uint8 [H, W, 3]; its latents, of unit variance, are rounded to multiples of `step`.

        Raises CompressionError for a picture or a step outside the limits.
        """
        height, width = picture.shape[:2]
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise CompressionError(f"The picture is {width}x{height}; each side must have 1 to {MAX_SIDE} pixels.")
        if not MIN_STEP <= step <= MAX_STEP:
            raise CompressionError(f"The step is {step}; it must be between {MIN_STEP} (fine) and {MAX_STEP} (coarse).")
        latents = self._encode(_split_tiles(picture))
        symbols = (latents / step).round().clamp(-128, 127).to(torch.int8)
        # Channel by channel: similar values are adjacent, so zlib compresses them better.
        content = symbols.permute(1, 0, 2, 3).contiguous().numpy().tobytes()
        header = HEADER.pack(MAGIC, bytes.fromhex(self.sha256)[:8], width, height, step)
        return header + zlib.compress(content, 9)

    def unpack(self, packed: bytes) -> Picture:
        """Return the picture, uint8 [H, W, 3], that `pack` packed. Raises CompressionError for any other data."""
        if len(packed) < HEADER.size or not packed.startswith(MAGIC):
            raise CompressionError("This is not a file of `limner compress`.")
        _, made_with, width, height, step = HEADER.unpack_from(packed)
        if made_with != bytes.fromhex(self.sha256)[:8]:
            raise CompressionError(
                "This file was packed with other weights of the autoencoder, which are needed to unpack it."
            )
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and STEPS[0] <= step <= STEPS[1]):
            raise CompressionError("This file is damaged: its header has a size or a step that no file has.")
        down, across = -(-height // TILE), -(-width // TILE)
        content = _decompressed(packed[HEADER.size :], down * across * 16 * 8 * 8)
        symbols = torch.as_tensor(np.frombuffer(content, np.int8).reshape(16, down * across, 8, 8).copy())
        tiles = self._decode(symbols.permute(1, 0, 2, 3).float() * step)
        return _join_tiles(tiles, down, across)[:height, :width]

    @torch.inference_mode()
    def _encode(self, tiles: Tensor) -> Tensor:
        parts = [self.autoencoder.encode(part)[0] for part in torch.split(tiles, TILES_AT_ONCE)]
        return self.autoencoder.normalise(torch.cat(parts))

    @torch.inference_mode()
    def _decode(self, latents: Tensor) -> Tensor:
        parts = torch.split(self.autoencoder.denormalise(latents), TILES_AT_ONCE)
        return torch.cat([self.autoencoder.decode(part) for part in parts])


def _decompressed(content: bytes, size: int) -> bytes:
    """Return the `size` bytes that zlib packed. Raises CompressionError if they are more or fewer."""
    reader = zlib.decompressobj()
    try:
        unpacked = reader.decompress(content, size)
        more = b"" if reader.eof else reader.decompress(reader.unconsumed_tail, 1)
    except zlib.error as error:
        raise CompressionError("This file is damaged.") from error
    if len(unpacked + more) != size or not reader.eof or reader.unused_data:
        raise CompressionError("This file is damaged: the number of its latents does not match its size.")
    return unpacked


def psnr(left: Picture, right: Picture) -> float:
    """Return the peak signal-to-noise ratio of two pictures uint8 [H, W, 3], in decibels."""
    error = np.square(left.astype(np.float64) - right.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def _split_tiles(picture: Picture) -> Tensor:
    """Split uint8 [H, W, 3] row by row into tiles float32 [N, 3, 64, 64] in [-1, 1], padded with their edges."""
    pixels = torch.as_tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    height, width = picture.shape[:2]
    filled = F.pad(pixels, (0, -width % TILE, 0, -height % TILE), mode="replicate")
    return filled[0].unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 0, 3, 4).flatten(0, 1)


def _join_tiles(tiles: Tensor, down: int, across: int) -> Picture:
    rows = tiles.reshape(down, across, 3, TILE, TILE).permute(0, 3, 1, 4, 2).reshape(down * TILE, across * TILE, 3)
    return ((rows.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
