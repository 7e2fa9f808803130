"""Texts in any language become unit vectors whose bits depend on the text only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from limner_worker.generators.text_encoding.sentence_encoder import EncoderError, TextEncoder
from limner_worker.networks.text_head import TextHead
from limner_worker.networks.weights import SHIPPED, save_module

TEXT = SHIPPED / "limner-text"


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(TEXT)


def test_a_text_becomes_a_unit_vector_of_384_numbers(encoder: TextEncoder) -> None:
    encoded = encoder.encode(["a red apple", "rocket"])
    assert encoded.shape == (2, 384)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(cast("Any", encoded).norm(dim=1), torch.ones(2))


def test_similar_texts_have_similar_vectors(encoder: TextEncoder) -> None:
    apple, fruit, rocket = encoder.encode(["a red apple", "a ripe apple", "a rocket in space"])
    assert apple @ fruit > apple @ rocket + 0.2


@pytest.mark.parametrize(
    "text", ["红苹果", "赤リンゴ", "manzana roja", "roter Apfel", "pomme rouge", "красное яблоко", "빨간 사과"]
)
def test_translations_have_similar_vectors(encoder: TextEncoder, text: str) -> None:
    english, other, rocket = encoder.encode(["red apple", text, "rocket"])
    assert english @ other > english @ rocket + 0.25


def test_other_texts_in_a_batch_change_no_bit(encoder: TextEncoder) -> None:
    alone = encoder.encode(["crown"])
    assert torch.equal(alone, encoder.encode(["a house with a garden and a very long fence", "crown"])[1:])


def test_no_texts_give_no_rows(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


@pytest.mark.long
def test_a_text_of_any_length_and_with_any_character_is_encoded(encoder: TextEncoder) -> None:
    assert torch.isfinite(encoder.encode(["apple " * 5000, "🐱🍕", "a\0b", "ᚠᛇᚻ", " "])).all()


def test_a_missing_or_damaged_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no weights at"):
        TextEncoder(tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="not a weights file"):
        TextEncoder(tmp_path)


def test_the_head_has_a_hash_for_receipts(tmp_path: Path) -> None:
    head = TextHead(hidden=8)
    save_module(head, tmp_path / "head.safetensors", head.config)
    assert len(TextEncoder(tmp_path).sha256) == 64
