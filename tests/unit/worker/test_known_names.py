"""A prompt that says more than a name is drawn as a known name; a known name is drawn as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.scenes import NearestName
from limner_worker.generators.builtin.known_names import KNOWN, KnownNames, NameMatch, save_names
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.networks.weights import SHIPPED, WeightsError

TEXT = SHIPPED / "limner-text"


@pytest.fixture(scope="module")
def names() -> KnownNames:
    return KnownNames(TEXT)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(TEXT)


@pytest.fixture(scope="module")
def rule() -> NearestName:
    """The rule of the built-in model."""
    found = Catalogue.load([], "limner-flow").get("limner-flow").nearest_name
    assert found is not None
    return found


@pytest.fixture
def drawn(names: KnownNames, encoder: TextEncoder, rule: NearestName):
    def drawn(text: str) -> NameMatch | None:
        return names.find(text, encoder.encode([text])[0], rule)

    return drawn


def test_every_english_name_is_drawn_as_it_is(names: KnownNames, rule: NearestName):
    changed = [
        name
        for name, embedding in zip(names.names, names.embeddings, strict=True)
        if names.find(name, embedding, rule) is not None
    ]
    assert changed == []


@pytest.mark.parametrize("text", ["red apple", "a rocket", "cat", "blue car", "a red car", "heart", "a cup of coffee"])
def test_names_and_captions_from_training_are_drawn_as_they_are(drawn: Any, text: str):
    assert drawn(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a rocket on a wooden table next to a window", "rocket"),
        ("two rockets side by side", "rocket"),
        ("a purple guitar", "guitar"),
        ("please draw me a trombone in the snow at night", "trombone"),
        ("two apples", "green apple"),
        ("ein Geist als 3d-Figur", "ghost"),
        ("die Katze auf dem Sofa", "cat"),
        ("一只蓝色的猫", "cat"),
        ("🐙🍕", "pizza"),
        ("a cloudless happy family", "family"),
    ],
)
def test_a_sentence_is_drawn_as_the_name_it_contains(drawn: Any, text: str, name: str):
    found = drawn(text)
    assert (found.name, found.exact) == (name, False)


@pytest.mark.parametrize(
    "text", ["ein roter Apfel", "Roter Apfel.", "红苹果", "赤リンゴ", "la manzana roja", "1 red apple"]
)
def test_a_name_in_another_language_or_of_one_thing_is_drawn_as_the_english_name_and_is_exact(drawn: Any, text: str):
    found = drawn(text)
    assert found is None or (found.name, found.exact) == ("red apple", True)


def test_a_text_far_from_every_name_is_drawn_as_it_is(names: KnownNames, rule: NearestName):
    embedding = torch.nn.functional.normalize(-names.embeddings.mean(0), dim=0)
    assert float((names.embeddings @ embedding).max()) < rule.least
    assert names.find("xkcd", embedding, rule) is None


def test_a_name_is_translated_or_returned_unchanged_without_a_translation(names: KnownNames):
    assert names.translated("red apple", "de") == "roter apfel"
    assert names.translated("red apple", "en") == "red apple"
    assert names.translated("blue car", "de") == "blue car"
    assert names.translated("no such thing", "zh") == "no such thing"


def test_the_captions_file_is_optional_and_a_damaged_one_is_refused(tmp_path: Path, rule: NearestName):
    save_names(["apple"], torch.eye(1, 384), tmp_path)
    few = KnownNames(tmp_path)
    found = few.find("my apple", 0.6 * few.embeddings[0], rule)
    assert found is not None
    assert (found.name, found.exact) == ("apple", False)
    assert few.translated("apple", "de") == "apple"
    (tmp_path / KNOWN).write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="not a names file"):
        KnownNames(tmp_path)


def test_a_rule_with_a_threshold_above_1_is_refused(catalogue: Catalogue):
    card = catalogue.get("limner-flow").model_dump() | {"nearest_name": {"keep": 1.5, "least": 0.5}}
    with pytest.raises(ValidationError, match="keep"):
        ModelCard.model_validate(card)
