"""Pictures as quantised latents of the built-in autoencoder: a lossy format of its own, for drawings like its own."""

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
MAX_SIDE: Final = 8192
FINEST: Final = 0.01
COARSEST: Final = 4.0
TILES_AT_ONCE: Final = 64
HEADER: Final = struct.Struct("<4s8sHHf")
"""Magic, the first bytes of the weights' SHA-256, width and height in pixels, and the quantisation step."""
MAGIC: Final = b"LMV1"


class CompressionError(ValueError):
    """What was given is no picture that can be packed, or no packed picture."""


@dataclass(frozen=True)
class Codec:
    """An autoencoder, and its name in the files that it writes."""

    autoencoder: Autoencoder
    sha256: str

    def pack(self, picture: Picture, step: float) -> bytes:
        """Pack uint8 [H, W, 3]; latents of unit variance are rounded to multiples of `step`.

        Raises CompressionError.
        """
        height, width = picture.shape[:2]
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise CompressionError(f"The picture is {width}x{height}; at most {MAX_SIDE} pixels a side can be packed.")
        if not FINEST <= step <= COARSEST:
            raise CompressionError(f"The step is {step}; it must lie between {FINEST} (fine) and {COARSEST} (coarse).")
        latents = self._encode(_tiles(picture))
        symbols = (latents / step).round().clamp(-128, 127).to(torch.int8)
        # Channel by channel: like stands beside like.
        content = symbols.permute(1, 0, 2, 3).contiguous().numpy().tobytes()
        header = HEADER.pack(MAGIC, bytes.fromhex(self.sha256)[:8], width, height, step)
        return header + zlib.compress(content, 9)

    def unpack(self, packed: bytes) -> Picture:
        """The picture, uint8 [H, W, 3], of what `pack` made. Raises CompressionError."""
        if len(packed) < HEADER.size or not packed.startswith(MAGIC):
            raise CompressionError("This is no file of `limner compress`.")
        _, made_with, width, height, step = HEADER.unpack_from(packed)
        if made_with != bytes.fromhex(self.sha256)[:8]:
            raise CompressionError("This file was packed with other weights of the autoencoder, and needs them.")
        down, across = -(-height // TILE), -(-width // TILE)
        size = down * across * 16 * 8 * 8
        reader = zlib.decompressobj()
        try:
            content = reader.decompress(packed[HEADER.size :], size)
        except zlib.error as error:
            raise CompressionError("This file is damaged.") from error
        if len(content) != size or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise CompressionError("This file is damaged: it does not hold as many latents as its size asks for.")
        symbols = torch.from_numpy(np.frombuffer(content, np.int8).reshape(16, down * across, 8, 8).copy())
        tiles = self._decode(symbols.permute(1, 0, 2, 3).float() * step)
        return _joined(tiles, down, across)[:height, :width]

    @torch.inference_mode()
    def _encode(self, tiles: Tensor) -> Tensor:
        parts = [self.autoencoder.encode(part)[0] for part in tiles.split(TILES_AT_ONCE)]
        return self.autoencoder.normalise(torch.cat(parts))

    @torch.inference_mode()
    def _decode(self, latents: Tensor) -> Tensor:
        parts = self.autoencoder.denormalise(latents).split(TILES_AT_ONCE)
        return torch.cat([self.autoencoder.decode(part) for part in parts])


def psnr(left: Picture, right: Picture) -> float:
    """Peak signal-to-noise ratio of two pictures uint8 [H, W, 3], in decibels."""
    error = np.square(left.astype(np.float64) - right.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def _tiles(picture: Picture) -> Tensor:
    """uint8 [H, W, 3] to tiles float32 [N, 3, 64, 64] in [-1, 1], row by row; what the last ones lack is repeated."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    height, width = picture.shape[:2]
    filled = F.pad(pixels, (0, -width % TILE, 0, -height % TILE), mode="replicate")
    return filled[0].unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 0, 3, 4).flatten(0, 1)


def _joined(tiles: Tensor, down: int, across: int) -> Picture:
    rows = tiles.unflatten(0, (down, across)).permute(0, 3, 1, 4, 2).reshape(down * TILE, across * TILE, 3)
    return ((rows.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
