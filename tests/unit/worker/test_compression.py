"""The codec packs and unpacks pictures of any size as latents and refuses damaged files."""

from __future__ import annotations

import zlib
from typing import Any, cast

import numpy as np
import pytest
import torch

from limner_worker.codec.compression import HEADER, MAGIC, MAX_STEP, MIN_STEP, Codec, CompressionError, psnr
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


def header(codec: Codec, width: int, height: int, step: float) -> bytes:
    return HEADER.pack(MAGIC, bytes.fromhex(codec.sha256)[:8], width, height, step)


@pytest.mark.parametrize(
    ("width", "height", "step"),
    [
        (0, 64, 0.25), (64, 0, 0.25), (8193, 64, 0.25), (64, 65535, 0.25),
        (64, 64, 0.0), (64, 64, -1.0), (64, 64, 9.0), (64, 64, float("inf")), (64, 64, float("nan")),
    ],
)  # fmt: skip
def test_a_header_that_no_file_has_is_refused_before_anything_is_unpacked(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, width: int, height: int, step: float
) -> None:
    monkeypatch.setattr(zlib, "decompressobj", lambda: pytest.fail("unpacked"))
    with pytest.raises(CompressionError, match="damaged"):
        codec.unpack(header(codec, width, height, step) + zlib.compress(bytes(16 * 8 * 8)))


@pytest.mark.parametrize("extra", [-1, 1, 1 << 20])
def test_a_file_with_fewer_or_more_latents_than_its_size_is_refused(codec: Codec, extra: int) -> None:
    with pytest.raises(CompressionError, match="number of its latents"):
        codec.unpack(header(codec, 64, 64, 0.25) + zlib.compress(bytes(16 * 8 * 8 + extra)))


@pytest.mark.parametrize(("kept", "added"), [(-1, b""), (None, b"more")])
def test_a_file_that_ends_too_early_or_too_late_is_refused(codec: Codec, kept: int | None, added: bytes) -> None:
    content = zlib.compress(bytes(16 * 8 * 8))[:kept] + added
    with pytest.raises(CompressionError, match="number of its latents"):
        codec.unpack(header(codec, 64, 64, 0.25) + content)


@pytest.mark.parametrize("step", [MIN_STEP, MAX_STEP])
def test_the_finest_and_the_coarsest_step_are_unpacked(codec: Codec, step: float) -> None:
    assert codec.unpack(codec.pack(picture(64, 64), step)).shape == (64, 64, 3)


def test_psnr_matches_its_definition() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black + 10) == pytest.approx(20 * np.log10(25.5))
