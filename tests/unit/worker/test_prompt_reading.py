"""Prompts with emoji are drawn as what the emoji show, also where no description is interpreted."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner_worker
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.prompt_reading import PromptReader
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder

TEXT = Path(limner_worker.__file__).parent / "models" / "limner-text"


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(KnownNames(TEXT), TextEncoder(TEXT).encode)


def spec(prompt: str) -> JobSpec:
    return Catalogue.load([], "limner-flow").get(None).resolve(JobRequest(prompt=prompt))


@pytest.mark.parametrize("prompt", ["🍎", "🚗", "❤️", "🐶"])
def test_a_prompt_of_one_emoji_is_drawn_as_its_name(reader: PromptReader, prompt: str) -> None:
    found = reader.read(spec(prompt), 16)
    assert (found.drawn_as, found.scene) == (None, None)


def test_a_prompt_of_several_emoji_is_a_scene_of_them(reader: PromptReader) -> None:
    scene = reader.read(spec("🍎🍌"), 16).scene
    assert scene is not None
    assert [each.name for each in scene.objects] == ["red apple", "banana"]
