"""The codec packs and unpacks pictures of any size as latents and refuses damaged files."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from limner_worker.codec.compression import HEADER, Codec, CompressionError, psnr
from limner_worker.networks.autoencoder import Autoencoder


@pytest.fixture(scope="module")
def codec() -> Codec:
    cast("Any", torch).manual_seed(0)
    return Codec(Autoencoder(wide=16, deep=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1)).eval(), "ab" * 32)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (65, 130)])
def test_unpacking_restores_the_size_of_any_picture(codec: Codec, size: tuple[int, int]) -> None:
    assert codec.unpack(codec.pack(picture(*size), 0.25)).shape == (*size, 3)


def test_each_tile_is_decoded_independently(codec: Codec) -> None:
    original = picture(128, 64)
    whole, lower = codec.unpack(codec.pack(original, 0.01)), codec.unpack(codec.pack(original[64:], 0.01))
    assert np.abs(whole[64:].astype(int) - lower.astype(int)).max() <= 3  # the last bits depend on the batch size


def test_a_coarser_step_gives_a_smaller_file(codec: Codec) -> None:
    assert len(codec.pack(picture(64, 64), 1.0)) < len(codec.pack(picture(64, 64), 0.05))


@pytest.mark.parametrize("step", [0.0, 9.0, float("nan")])
def test_an_invalid_step_is_refused(codec: Codec, step: float) -> None:
    with pytest.raises(CompressionError, match="between"):
        codec.pack(picture(64, 64), step)


def test_a_foreign_or_truncated_file_or_one_of_other_weights_is_refused(codec: Codec) -> None:
    packed = codec.pack(picture(64, 64), 0.25)
    with pytest.raises(CompressionError, match="not a file of"):
        codec.unpack(b"\x89PNG")
    with pytest.raises(CompressionError, match="damaged"):
        codec.unpack(packed[:-40])
    with pytest.raises(CompressionError, match="damaged"):
        codec.unpack(packed[: HEADER.size] + b"nonsense")
    with pytest.raises(CompressionError, match="other weights"):
        Codec(codec.autoencoder, "cd" * 32).unpack(packed)


def test_psnr_matches_its_definition() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black + 10) == pytest.approx(20 * np.log10(25.5))
